"""The order in which targets are asked: by strategy, by what is known of them, and by a die that the test throws."""

from __future__ import annotations

import random
from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stages.test_routes import provider
from tidegate.core.call import Route, Strategy, Target
from tidegate.upstream.router import plan

MAIN = provider("main")


class About(NamedTuple):
    busy: int = 0
    took_s: float | None = None
    first_s: float | None = None


def route(strategy: Strategy, *targets: Target) -> Route:
    return Route("fast", targets, 60.0, strategy=strategy)


def target(model: str, weight: int = 1, order: int = 1) -> Target:
    return Target(MAIN, model, weight, order)


def order(route: Route, known: dict[str, About] | None = None, rand: float = 0.5) -> str:
    return "".join(one.model for one in plan(route, lambda one: (known or {}).get(one.model, About()), lambda: rand))


def test_in_order_is_as_they_stand() -> None:
    assert order(route("ordered", target("a"), target("b", order=2), target("c", order=2))) == "abc"


def test_a_lower_order_goes_first_with_every_strategy() -> None:
    strategies: tuple[Strategy, ...] = ("weighted", "least_busy", "fastest")
    for strategy in strategies:
        planned = order(route(strategy, target("a"), target("b"), target("c", order=2), target("d", order=3)))
        assert set(planned[:2]) == {"a", "b"} and planned[2:] == "cd"


def test_weights_are_shares_of_being_first() -> None:
    weights = route("weighted", target("a", 3), target("b", 1), target("c", 0))
    die = random.Random(7)
    plans = [plan(weights, lambda _: About(), die.random) for _ in range(4_000)]
    first = Counter(planned[0].model for planned in plans)
    assert first["a"] / 4_000 == pytest.approx(0.75, abs=0.03) and first["c"] == 0
    assert all(planned[-1].model == "c" for planned in plans), "weight 0 is asked when nobody else answers"


def test_of_two_by_chance_the_less_busy_is_asked() -> None:
    three = route("least_busy", target("a"), target("b"), target("c"))
    known = {"a": About(9, 1.0), "b": About(1, 1.0), "c": About(0, 1.0)}
    assert order(three, known, rand=0.0) == "bca", "c was not looked at, and stands by for its turn"
    assert order(three, known, rand=0.4) == "cba"


def test_busy_is_how_many_times_how_long() -> None:
    two = route("least_busy", target("a"), target("b"))
    assert order(two, {"a": About(1, 4.0), "b": About(3, 1.0)}) == "ba"


def test_a_target_that_nobody_has_asked_counts_as_the_quickest() -> None:
    two = route("least_busy", target("a"), target("b"))
    assert order(two, {"a": About(1, 0.5)}) == "ba"
    assert order(route("fastest", target("a"), target("b")), {"a": About(first_s=0.1)}) == "ba"


def test_the_fastest_is_asked_first_and_now_and_then_another() -> None:
    three = route("fastest", target("a"), target("b"), target("c"))
    known = {"a": About(first_s=0.3), "b": About(first_s=0.1), "c": About(first_s=0.2)}
    assert order(three, known) == "bca"
    die = random.Random(7)
    first = Counter(plan(three, lambda one: known[one.model], die.random)[0].model for _ in range(4_000))
    assert first["b"] / 4_000 == pytest.approx(0.95, abs=0.02) and first["a"] > 20 and first["c"] > 20


@given(
    st.sampled_from(["ordered", "weighted", "least_busy", "fastest"]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_every_target_is_in_the_plan_once(strategy: Strategy, given: list[tuple[int, int]], die: random.Random) -> None:
    targets = sorted((target(str(at), *one) for at, one in enumerate(given)), key=lambda one: one.order)
    planned = plan(route(strategy, *targets), lambda _: About(1, 0.5, 0.5), die.random)
    assert sorted(one.model for one in planned) == sorted(one.model for one in targets)
    assert [one.order for one in planned] == sorted(one.order for one in targets)
