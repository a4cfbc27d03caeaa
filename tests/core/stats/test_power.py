"""What could have been found: against statsmodels, and found as often as it says."""

from __future__ import annotations

import random

import pytest
from statsmodels.stats.power import NormalIndPower, TTestPower

from tidegate.core.stats.paired import mcnemar
from tidegate.core.stats.power import cases_for, fewest, power_of, smallest_drop, smallest_shift


@pytest.mark.parametrize(("shift", "n", "deviation"), [(0.1, 40, 0.5), (0.5, 200, 2.0), (0.01, 1000, 0.3)])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_power_and_cases_are_those_of_statsmodels(shift, n, deviation, alpha):
    theirs = NormalIndPower()
    assert power_of(shift, n, deviation, alpha) == pytest.approx(
        theirs.power(shift / deviation, n, alpha, ratio=0), abs=1e-9
    )
    needed = theirs.solve_power(shift / deviation, None, alpha, 0.8, ratio=0)
    assert cases_for(shift, deviation, alpha) == pytest.approx(needed, rel=1e-4), "but for the other tail"


@pytest.mark.parametrize("n", [15, 50, 400])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_smallest_shift_is_that_of_a_t_test(n, alpha):
    theirs = TTestPower().solve_power(None, n, alpha, 0.8)
    assert smallest_shift(n, 2.0, alpha) == pytest.approx(2 * theirs, rel=0.02)


def test_too_few_cases_find_nothing():
    assert fewest(0.05) == 6
    assert smallest_shift(5, 1.0) is None and smallest_drop(5, 0.1) is None
    assert mcnemar(5, 0).exact > 0.05 >= mcnemar(6, 0).exact
    assert smallest_drop(7, 0.9) is None


@pytest.mark.parametrize(("n", "noise"), [(30, 0.0), (100, 0.0), (100, 0.1), (400, 0.2)])
def test_the_smallest_drop_is_found_four_times_of_five(n, noise):
    drop, chance, found, rounds = smallest_drop(n, (noise + 1 / n) ** 0.5), random.Random(2), 0, 500
    assert drop is not None
    for _ in range(rounds):
        dice = [chance.random() for _ in range(n)]
        lost = sum(one < drop + noise / 2 for one in dice)
        gained = sum(one > 1 - noise / 2 for one in dice)
        found += lost > gained and mcnemar(lost, gained).mid <= 0.05
    assert found / rounds > 0.8 - 2 * (0.16 / rounds) ** 0.5
