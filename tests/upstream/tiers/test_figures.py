"""What was said of answers, in figures: whoever was drawn by lot stands for those who were not."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from tests.contracts.test_lessons_contract import lesson
from tidegate.core.ports import Lesson
from tidegate.upstream.tiers.figures import found, has_drifted, mean


def one(call: str, good: float, **fields: Any) -> Lesson:
    return msgspec.structs.replace(lesson(call), good=good, **fields)


def pair(call: str, got: float, beside: float, *, tiers: tuple[str, str] = ("small", "large"), share: float = 0.01):
    first = one(call, got, tier=tiers[0], source="shadow", share=share)
    return first, msgspec.structs.replace(first, good=beside, tier=tiers[1], served=False)


def test_an_answer_that_was_drawn_once_in_a_hundred_counts_a_hundred_times() -> None:
    assert mean([(0.0, 0.01), (1.0, 1.0)]).value == pytest.approx(1 / 101)


def test_the_mean_is_that_of_all_though_bad_answers_are_drawn_more_often() -> None:
    chance = random.Random(4)
    drawn = []
    for _ in range(20_000):
        good = float(chance.random() < 0.9)
        share = 0.02 if good else 0.2
        if chance.random() < share:
            drawn.append((good, share))
    estimate = mean(drawn)
    assert sum(good for good, _ in drawn) / len(drawn) < 0.6, "as they lie, they look much worse"
    assert estimate.low < 0.9 < estimate.high and estimate.high - estimate.low < 0.1


@pytest.mark.parametrize("true", [0.5, 0.9, 0.98])
def test_the_interval_holds_the_true_value_nearly_always(true: float) -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(400):
        some = [(float(chance.random() < true), chance.choice((0.01, 0.02))) for _ in range(150)]
        estimate = mean(some)
        held += estimate.low <= true <= estimate.high
    assert held >= 370


def test_what_people_say_and_what_was_drawn_are_never_added_up() -> None:
    told = found([one("a", 0.0), one("b", 1.0), one("a", 1.0, source="judge", share=0.05)])
    assert {source: (each.value, each.of) for source, each in told.quality.items()} == {
        "said": (0.5, 2),
        "judge": (1, 1),
    }
    assert told.regret is None and told.overpaid is None


def test_an_answer_that_nobody_saw_is_no_part_of_what_clients_got() -> None:
    told = found([*pair("a", 1.0, 0.0), one("b", 0.0, source="cascade", served=False)])
    assert list(told.quality) == ["shadow"] and told.quality["shadow"].of == 1


def test_regret_is_what_the_better_one_of_two_would_have_been_more() -> None:
    told = found([*pair("a", 0.0, 1.0), *pair("b", 1.0, 0.0), *pair("c", 0.5, 1.0), one("d", 0.0, source="shadow")])
    assert told.regret is not None and told.regret.of == 3 and told.regret.value == pytest.approx(0.5)


def test_what_the_cheaper_one_would_have_answered_as_well_was_overpaid() -> None:
    dear = ("large", "small")
    told = found([*pair("a", 1.0, 1.0, tiers=dear), *pair("b", 1.0, 0.0, tiers=dear), *pair("c", 1.0, 1.0)])
    assert told.overpaid is not None and told.overpaid.value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("strange", "of", "told"), [(5, 100, False), (20, 100, False), (50, 60, False), (30, 100, True), (90, 400, False)]
)
def test_drift_is_more_strange_questions_than_chance_brings(strange: int, of: int, told: bool) -> None:
    assert has_drifted(strange, of) is told
