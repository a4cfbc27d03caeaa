"""Sensitivity, specificity and the corrected share: against statsmodels, and against chance itself."""

from __future__ import annotations

import random

import pytest
from statsmodels.stats.proportion import proportion_confint

from tidegate.core.stats.screening import Screening, clopper_pearson, corrected, wilson


@pytest.mark.parametrize(("hits", "of"), [(0, 9), (9, 9), (1, 40), (95.5, 100), (310, 640), (4999, 5000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_intervals_are_those_of_statsmodels(hits, of, confidence):
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "beta")):
        assert ours(hits, of, confidence)[1:] == pytest.approx(
            proportion_confint(hits, of, 1 - confidence, method), abs=1e-9
        )


def test_of_nobody_nothing_is_known():
    assert wilson(0, 0) == (None, 0, 1) == clopper_pearson(0, 0)
    assert Screening(0, 0, 5, 5).sensitivity() == (None, 0, 1)
    assert corrected(5, 10, Screening(0, 0, 5, 5)).value is None
    assert corrected(0, 0, Screening(9, 1, 9, 1)).value is None


def test_a_judge_that_may_be_at_chance_corrects_nothing():
    assert corrected(60, 100, Screening(5, 5, 5, 5)) == (None, None, None)
    assert corrected(60, 100, Screening(2, 8, 2, 8)) == (None, None, None)


def test_a_share_is_corrected_as_rogan_and_gladen_say():
    found = corrected(70, 100, Screening(90, 10, 80, 20))
    assert found.value == pytest.approx((0.7 + 0.8 - 1) / (0.9 + 0.8 - 1))
    assert found.low < found.value < found.high
    assert corrected(5, 100, Screening(90, 10, 80, 20)).value == 0, "no share is below nothing"


@pytest.mark.parametrize(("true", "hit", "calm"), [(0.7, 0.9, 0.8), (0.95, 0.85, 0.7), (0.5, 0.95, 0.95)])
def test_the_true_share_lies_in_the_interval_as_often_as_it_says(true, hit, calm):
    chance, inside, rounds = random.Random(11), 0, 600
    for _ in range(rounds):
        so, not_so = (sum(chance.random() < share for _ in range(60)) for share in (hit, calm))
        passed = sum(chance.random() < (hit if chance.random() < true else 1 - calm) for _ in range(150))
        found = corrected(passed, 150, Screening(so, 60 - so, not_so, 60 - not_so))
        inside += found.low is not None and found.low <= true <= found.high
    assert inside / rounds > 0.95 - 3 * (0.95 * 0.05 / rounds) ** 0.5
