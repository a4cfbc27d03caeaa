"""Agreement: against statsmodels, scipy and the example that everybody checks with."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import inter_rater

from tidegate.core.stats.agreement import alpha, kappa, quadratic_kappa, ranks, spearman

CHANCE = random.Random(3)


def said(n: int, points: int, often: float) -> list[tuple[int, int]]:
    ours = [CHANCE.randrange(points) for _ in range(n)]
    return [(one, one if CHANCE.random() < often else CHANCE.randrange(points)) for one in ours]


@pytest.mark.parametrize(("n", "points", "often"), [(40, 2, 0.9), (200, 2, 0.0), (300, 3, 0.5), (500, 10, 0.7)])
def test_kappa_and_its_interval_are_those_of_statsmodels(n, points, often):
    pairs = said(n, points, often)
    cells = np.zeros((points, points))
    for one, other in pairs:
        cells[one, other] += 1
    theirs = inter_rater.cohens_kappa(cells)
    assert kappa(pairs) == pytest.approx((theirs.kappa, theirs.kappa_low, theirs.kappa_upp), abs=1e-9)
    weighted = inter_rater.cohens_kappa(cells, wt="quadratic")
    assert quadratic_kappa(pairs) == pytest.approx((weighted.kappa, weighted.kappa_low, weighted.kappa_upp), abs=1e-9)


def test_where_one_thing_only_was_said_there_is_no_kappa():
    assert kappa([("pass", "pass")] * 20).value is None
    assert quadratic_kappa([(7.0, 7.0)] * 20).value is None
    assert kappa([]).value is None
    assert kappa([("pass", "pass")] * 19 + [("fail", "pass")]).value == 0, "always the same word is chance"


EXAMPLE = (  # Krippendorff (2011), Computing Krippendorff's alpha-reliability: four observers, twelve units
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def test_alpha_is_that_of_krippendorffs_example():
    units = [[int(one) for one in unit if one != "."] for unit in zip(*(row.split() for row in EXAMPLE), strict=True)]
    assert alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert alpha(units, "points") == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_fleiss_kappa_but_for_the_size_of_the_sample():
    units = [[CHANCE.choice("abc") for _ in range(4)] if CHANCE.random() < 0.4 else ["a"] * 4 for _ in range(60)]
    table = np.array([[Counter(unit)[name] for name in "abc"] for unit in units])
    theirs = inter_rater.fleiss_kappa(table, "fleiss")
    of = 60 * 4
    assert alpha(units) == pytest.approx(1 - (1 - theirs) * (of - 1) / of, abs=1e-9)


def test_of_people_who_never_met_nothing_is_known():
    assert alpha([["pass"], ["fail"]]) is None
    assert alpha([["pass", "pass"]] * 5) is None


def test_spearman_is_scipys():
    for n, noise in ((5, 3.0), (80, 1.0), (300, 9.0)):
        pairs = [(one, round(one + CHANCE.gauss(0, noise))) for one in (CHANCE.randrange(12) for _ in range(n))]
        theirs = stats.spearmanr(*zip(*pairs, strict=True))
        assert spearman(pairs) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-9, abs=1e-12)
    assert ranks([3, 1, 3, 2]) == list(stats.rankdata([3, 1, 3, 2]))


def test_of_few_or_of_one_value_there_is_no_correlation():
    assert spearman([(1, 2), (2, 3)]).value is None
    assert spearman([(1, 2), (1, 3), (1, 4)]).value is None
    assert spearman([(1, 2), (2, 3), (3, 4)]) == (1, 0)
