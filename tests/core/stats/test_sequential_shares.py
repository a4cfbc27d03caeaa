"""Rare failures: exactly as often wrong as promised, by enumeration and by chance, at 1 % against 99 %."""

from __future__ import annotations

import math
import os
from itertools import product

import numpy as np
import pytest
from scipy import stats

from tidegate.core.stats.sequential_shares import Lot, evidence_above, evidence_below, high, low, stakes_above

SEEDS = 5_000 if os.environ.get("TIDEGATE_SEQUENTIAL") else 400


def lot(chance: float, arm: int, control: int, none: int) -> Lot:
    return Lot(chance, none, {1.0: arm}, {1.0: control})


@pytest.mark.parametrize(("chance", "arm", "control"), [(0.5, 8, 3), (0.01, 4, 40), (0.3, 0, 5)])
def test_against_no_difference_it_is_whose_failures_they_are(chance, arm, control):
    """As likely as binomials say: the failed units that had the arm, of all that failed."""
    of = arm + control
    bets = [chance + stake for stake in stakes_above(chance)]
    ratios = [stats.binom.pmf(arm, of, bet) / stats.binom.pmf(arm, of, chance) for bet in bets]
    assert evidence_above([lot(chance, arm, control, 1_000)], 0.0) == pytest.approx(math.log(np.mean(ratios)), abs=1e-9)


@pytest.mark.parametrize("chance", [0.02, 0.5, 0.9])
@pytest.mark.parametrize(("usual", "apart"), [(0.1, 0.0), (0.1, 0.05), (0.3, -0.1)])
def test_a_stake_grows_by_nothing_on_average_where_the_difference_is_what_is_bet_against(chance, usual, apart):
    of = 6
    kinds = [chance * (usual + apart), (1 - chance) * usual]
    kinds.append(1 - sum(kinds))
    for evidence in (evidence_above, evidence_below):
        mean = sum(
            stats.multinomial.pmf((arm, control, of - arm - control), of, kinds)
            * math.exp(evidence([lot(chance, arm, control, of - arm - control)], apart))
            for arm, control in product(range(of + 1), repeat=2)
            if arm + control <= of
        )
        assert mean == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("chance", "rate"), [(0.01, 0.02), (0.5, 0.02), (0.5, 0.003)])
def test_looked_at_after_every_unit_it_is_wrong_as_seldom_as_it_says(chance, rate):
    """Evidence depends on counts alone, so that it is looked at where one of them changes."""
    alpha, of, draw, wrong = 0.05, 3_000, np.random.default_rng(2), 0
    for _ in range(SEEDS):
        failed = int(draw.binomial(of, rate))
        arms = np.cumsum(draw.random(failed) < chance)
        wrong += any(
            evidence_above([lot(chance, int(arm), at + 1 - int(arm), 0)], 0.0) > -math.log(alpha)
            for at, arm in enumerate(arms)
        )
    assert wrong / SEEDS <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / SEEDS)


def test_the_interval_holds_the_truth_and_narrows():
    draw, widths = np.random.default_rng(4), []
    for of in (500, 5_000, 50_000):
        arm, control = (int(draw.binomial(of // 2, rate)) for rate in (0.03, 0.02))
        lots = [lot(0.5, arm, control, of - arm - control)]
        ends = low(lots, 0.025), high(lots, 0.025)
        assert ends[0] < 0.01 < ends[1]
        assert evidence_above(lots, ends[0]) == pytest.approx(-math.log(0.025), abs=0.01)
        assert evidence_below(lots, ends[1]) == pytest.approx(-math.log(0.025), abs=0.01)
        widths.append(ends[1] - ends[0])
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.01


def test_without_a_failure_the_bound_is_near_the_rule_of_three():
    """95 % surely below 3/n, if it is looked at once; here always, and beside a control that might have failed."""
    assert 3 / 1_000 < high([lot(0.5, 0, 0, 2_000)], 0.05) < 8 / 1_000
    assert 3 / 1_000 < high([lot(0.01, 0, 0, 100_000)], 0.05) < 6 / 1_000
    assert high([], 0.05) == 1.0 and low([], 0.05) == -1.0


def test_stages_add_up_and_parts_of_a_failure_count_in_part():
    one, other = lot(0.05, 4, 20, 900), lot(0.5, 9, 5, 300)
    assert evidence_above([one, other], 0) > max(evidence_above([one], 0), evidence_above([other], 0))
    assert 0 < evidence_above([Lot(0.5, 300, {0.5: 9}, {})], 0) < evidence_above([Lot(0.5, 300, {1.0: 9}, {})], 0)
