"""Distributions, against scipy."""

from __future__ import annotations

import random

import pytest
from scipy import stats

from tidegate.core.stats.distributions import beta_cdf, beta_quantile, coin_at_most, t_cdf, t_quantile

CHANCE = random.Random(7)
SHAPES = [(CHANCE.uniform(0.2, 400), CHANCE.uniform(0.2, 400), CHANCE.random()) for _ in range(300)]


def test_beta_is_scipys():
    for a, b, x in SHAPES:
        assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), abs=1e-11)
        assert beta_quantile(x, a, b) == pytest.approx(stats.beta.ppf(x, a, b), abs=1e-10)
    assert (beta_cdf(-1, 2, 2), beta_cdf(0, 2, 2), beta_cdf(1, 2, 2)) == (0, 0, 1)


def test_students_t_is_scipys():
    for free in (1, 2, 5, 29.5, 400):
        for t in (-40, -2.2, -0.1, 0, 0.3, 1.96, 12):
            assert t_cdf(t, free) == pytest.approx(stats.t.cdf(t, free), rel=1e-9)
        for share in (0.001, 0.025, 0.5, 0.8, 0.975, 0.9999):
            assert t_quantile(share, free) == pytest.approx(stats.t.ppf(share, free), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("heads", "of"), [(0, 1), (3, 20), (10, 20), (20, 20), (480, 1000), (1400, 3000), (-1, 5)])
def test_a_coin_is_scipys(heads, of):
    assert coin_at_most(heads, of) == pytest.approx(stats.binom.cdf(heads, of, 0.5), rel=1e-10)
