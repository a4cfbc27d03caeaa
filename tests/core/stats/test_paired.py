"""Changes of the same cases: against scipy and statsmodels, and against chance itself."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as theirs_mcnemar
from statsmodels.stats.multitest import multipletests

from tidegate.core.stats.paired import benjamini_hochberg, bootstrap, flipped, mcnemar, sign_test

CHANCE = random.Random(5)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (5, 0), (3, 3), (9, 2), (40, 61), (700, 620)])
def test_mcnemar_is_that_of_statsmodels(lost, gained):
    ours = mcnemar(lost, gained)
    theirs = theirs_mcnemar([[10, lost], [gained, 20]], exact=True).pvalue if lost + gained else 1
    assert ours.exact == pytest.approx(min(theirs, 1), abs=1e-9)
    less, of = min(lost, gained), lost + gained
    mid = 2 * stats.binom.cdf(less, of, 0.5) - stats.binom.pmf(less, of, 0.5) if of else 1
    assert ours.mid == pytest.approx(mid, abs=1e-9)


def test_the_sign_test_is_scipys():
    differences = [CHANCE.gauss(0.3, 1) for _ in range(60)] + [0.0] * 5
    above = sum(one > 0 for one in differences)
    assert sign_test(differences) == pytest.approx(stats.binomtest(above, 60).pvalue, abs=1e-9)


def theirs_flipped(differences: list[float], draws: int) -> float:
    found = stats.permutation_test(
        (np.array(differences),), np.sum, permutation_type="samples", n_resamples=draws, rng=np.random.default_rng(1)
    )
    return float(found.pvalue)


def test_every_combination_of_few_signs_is_scipys():
    for n in (3, 7, 12):
        differences = [round(CHANCE.gauss(0.4, 1), 1) for _ in range(n)]
        assert flipped(differences) == pytest.approx(theirs_flipped(differences, 10**6), abs=1e-9)
    assert flipped([]) == 1 == flipped([0.0, 0.0])


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_drawn_signs_are_scipys_but_for_chance(shift):
    for differences in (
        [CHANCE.gauss(shift, 1) for _ in range(60)],
        [float(CHANCE.choice((-2, -1, 0, 0, 1, 2)) + (CHANCE.random() < shift)) for _ in range(200)],
    ):
        theirs = theirs_flipped(differences, 9_999)
        off = 4 * (2 * max(theirs, 0.001) / (1_000 if theirs > 0.09 else 9_999)) ** 0.5
        assert flipped(differences) == pytest.approx(theirs, abs=off)


def test_a_bootstrapped_interval_is_scipys_but_for_chance():
    values = [CHANCE.expovariate(1) for _ in range(80)]
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert bootstrap(values, draws=4_000) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert bootstrap([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_the_same_draws_every_time():
    values = [CHANCE.gauss(0.2, 1) for _ in range(50)]
    assert flipped(values) == flipped(values) and bootstrap(values) == bootstrap(values)


@pytest.mark.parametrize("n", [1, 2, 9, 60])
def test_benjamini_and_hochberg_are_those_of_statsmodels(n):
    ps = [CHANCE.random() ** 3 for _ in range(n)]
    assert benjamini_hochberg(ps) == pytest.approx(list(multipletests(ps, method="fdr_bh")[1]), abs=1e-12)
    assert benjamini_hochberg([]) == []
