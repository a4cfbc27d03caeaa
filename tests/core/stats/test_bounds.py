"""Bounds: against known quantiles, and against chance itself."""

from __future__ import annotations

import random

import pytest

from tidegate.core.stats import mean_upper, mean_within, share_between


@pytest.mark.parametrize(
    ("count", "confidence", "exact"),
    # Quantiles of Gamma(count, 1), as scipy.stats.gamma.ppf gives them.
    [(2, 0.9, 3.8897), (3, 0.9, 5.3223), (10, 0.9, 14.2060), (10, 0.95, 15.7052), (100, 0.9, 113.0399)],
)
def test_an_upper_bound_of_a_mean_is_that_of_the_gamma_distribution(count, confidence, exact):
    assert mean_upper(count, confidence) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("true", [0.01, 0.1, 0.5])
def test_a_share_lies_between_its_bounds_as_often_as_they_say(true):
    chance = random.Random(1)
    outside = 0
    for _ in range(2000):
        low, high = share_between(sum(chance.random() < true for _ in range(200)), 200, 0.95)
        outside += not low <= true <= high
    assert outside / 2000 < 0.13


def test_of_nothing_seen_a_share_may_be_anything():
    assert share_between(0, 0, 0.95) == (0.0, 1.0)
    assert share_between(0, 50, 0.95)[0] == 0.0
    assert share_between(50, 50, 0.95)[1] == 1.0


@pytest.mark.parametrize("limit", [1.0, 10.0, 100.0])
def test_a_mean_within_a_limit_leaves_room_for_chance(limit):
    mean = mean_within(limit, 0.95)
    assert 0 < mean < limit
    assert mean + 1.645 * mean**0.5 == pytest.approx(limit, rel=0.001)
