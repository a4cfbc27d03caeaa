"""Who answers, given what each would be good for, and one promise about all of them together."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.upstream.tiers.choice import Chances, Promise, chosen, price_of

TWO, THREE = (0.1, 1.0), (0.05, 0.2, 1.0)


def crowd(tiers: int, seed: int = 1) -> list[Chances]:
    """Questions from easy to hard: later tiers are better, most of all at those in the middle."""
    chance = random.Random(seed)
    return [sorted(chance.random() for _ in range(tiers)) for _ in range(400)]


def test_at_no_price_the_best_answers_and_at_a_high_one_the_cheapest() -> None:
    assert chosen((0.6, 0.9), TWO, price=0.0) == 1 and chosen((0.6, 0.9), TWO, price=1.0) == 0
    assert chosen((0.6, 0.8, 0.9), THREE, price=0.3) == 1


def test_of_two_that_are_as_good_the_cheaper_answers() -> None:
    assert chosen((0.8, 0.8), TWO, price=0.0) == 0


def test_a_tier_that_is_not_allowed_never_answers() -> None:
    assert chosen((0.1, 0.99), TWO, price=0.0, allowed=(0,)) == 0
    assert chosen((0.9, 0.1, 0.2), THREE, price=9.0, allowed=(1, 2)) == 1


@pytest.mark.parametrize("costs", [TWO, THREE])
@pytest.mark.parametrize("share", [0.8, 0.9, 0.95, 1.0])
def test_quality_is_kept_and_no_more_is_paid_than_that_takes(costs: tuple[float, ...], share: float) -> None:
    seen = crowd(len(costs))
    price = price_of(seen, costs, Promise("quality", share))
    best = sum(one[-1] for one in seen)

    def quality(price: float) -> float:
        return sum(one[chosen(one, costs, price)] for one in seen) / best

    assert quality(price) >= share and quality(price * 1.2 + 0.01) <= quality(price)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_last_tier_gets_no_more_than_its_share(share: float) -> None:
    seen = crowd(2)
    price = price_of(seen, TWO, Promise("strong_share", share))
    strong = sum(chosen(one, TWO, price) for one in seen) / len(seen)
    assert share - 0.01 <= strong <= share


def test_no_more_is_spent_than_allowed() -> None:
    seen = crowd(3)
    price = price_of(seen, THREE, Promise("max_cost", 0.3))
    spent = sum(THREE[chosen(one, THREE, price)] for one in seen) / len(seen)
    assert 0.28 <= spent <= 0.3


def test_where_nothing_was_seen_quality_has_no_price() -> None:
    assert price_of([], TWO, Promise("quality", 0.5)) == 0.0


def test_tiers_of_one_cost_break_nothing() -> None:
    assert chosen((0.5, 0.7), (1.0, 1.0), price_of(crowd(2), (1.0, 1.0), Promise("quality", 0.9))) == 1


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=30), st.floats(0, 1))
def test_a_promise_about_quality_always_holds_for_what_was_seen(seen: list[Chances], share: float) -> None:
    price = price_of(seen, THREE, Promise("quality", share))
    got = sum(one[chosen(one, THREE, price)] for one in seen)
    assert got >= share * sum(one[-1] for one in seen) - 1e-9
