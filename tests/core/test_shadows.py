"""How does an answer that nobody saw compare with the one that was given?"""

from __future__ import annotations

import random

import pytest

from tidegate.core.experiments import Assigned
from tidegate.core.shadows import Estimate, Pair, compared, key_of, purse


def pair(unit: str = "ann", arm: str = "b", **fields) -> Pair:
    said = {"failed": False, "took_us": 100, "control_took_us": 100, "cost_nusd": 10, "control_cost_nusd": 10}
    return Pair(Assigned("t.1", 0, arm, unit), **{**said, **fields})


def test_a_pair_is_compared_with_itself_and_not_with_others():
    """Calls differ by a hundredfold, and the shadow takes half as long again each time."""
    chance, pairs = random.Random(3), []
    for at in range(40):
        took = round(1000 * chance.lognormvariate(0, 2))
        pairs.append(pair(f"u{at}", took_us=took * 3, control_took_us=took * 2, cost_nusd=took, control_cost_nusd=took))
    (found,) = compared(pairs)
    assert found.latency.value == pytest.approx(1.5) and found.latency.low == pytest.approx(1.5)
    assert found.cost == Estimate(1.0, 1.0, 1.0) and (found.pairs, found.units) == (40, 40)


def test_a_unit_with_many_calls_has_one_voice():
    (found,) = compared([*(pair("ann", score=1.0) for _ in range(99)), pair("bob", score=0.0)])
    assert found.score.value == 0.5 and (found.better, found.worse) == (99, 1)


def test_of_one_unit_there_is_no_interval_and_of_nothing_nothing():
    (found,) = compared([pair(took_us=200), pair(took_us=200, cost_nusd=None)])
    assert found.latency == Estimate(pytest.approx(2.0)) and found.score == Estimate()
    assert compared([]) == []


def test_what_failed_says_nothing_of_times():
    (found,) = compared([pair(f"u{at}", failed=at < 5, took_us=1 if at < 5 else 100) for at in range(50)])
    assert found.failed.value == 0.1 and found.failed.low < 0.1 < found.failed.high
    assert found.latency.value == pytest.approx(1.0)


def test_each_arm_on_its_own():
    assert [one.arm for one in compared([pair(arm="c"), pair(arm="b")])] == ["b", "c"]


def test_what_they_may_cost_is_a_budget_of_a_key():
    level = purse("t.1", 2.0, 0.5)
    assert level.id == key_of("t.1") == "shadow:t.1"
    assert [(one.nusd, one.per) for one in level.budgets] == [(500_000_000, "day"), (2_000_000_000, "total")]
    assert [one.per for one in purse("t.1", None, 0.5).budgets] == ["day"]
