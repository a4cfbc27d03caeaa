"""Bounds that may be looked at always: against numerical integrals, scipy, and chance itself."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from tidegate.core.stats.sequential import bar, bar_both, log_evidence, t_of_z, z_of_t

SEEDS = 5_000 if os.environ.get("TIDEGATE_SEQUENTIAL") else 400
LOOKS = 2_000


@pytest.mark.parametrize("z", [-3.0, 0.0, 1.7, 4.2])
@pytest.mark.parametrize("gain", [0.1, 3.0, 80.0])
def test_evidence_is_a_bet_spread_over_effects_above_nothing(z, gain):
    def bet(effect: float) -> float:  # in units of the size that is looked for; what is known has the variance 1/gain
        return float(2 * stats.norm.pdf(effect) * math.exp(effect * z * math.sqrt(gain) - effect * effect * gain / 2))

    theirs = integrate.quad(bet, 0, 12, limit=500, points=[max(0.0, z / math.sqrt(gain))])[0]
    assert log_evidence(z, gain) == pytest.approx(math.log(theirs), abs=1e-6)


@given(st.floats(1e-3, 1e6), st.floats(1e-4, 0.4))
def test_the_bar_is_where_the_evidence_is_enough(gain, alpha):
    z = bar(gain, alpha)
    assert log_evidence(z, gain) == pytest.approx(-math.log(alpha), abs=1e-6)


@given(st.floats(1e-2, 1e4), st.floats(1.01, 10), st.sampled_from([0.05, 0.01, 0.001]))
def test_more_units_narrow_a_bound_and_more_confidence_widens_it(gain, times, alpha):
    assert bar(gain * times, alpha) / math.sqrt(gain * times) < bar(gain, alpha) / math.sqrt(gain)
    assert bar(gain, alpha / 2) > bar(gain, alpha)
    assert bar_both(gain * times, alpha) / math.sqrt(gain * times) < bar_both(gain, alpha) / math.sqrt(gain)


def test_both_sides_cost_little_more_than_one_with_half_the_risk():
    for gain in (1.0, 10.0, 1_000.0):
        assert bar(gain, 0.025) == pytest.approx(bar_both(gain, 0.05), rel=0.01)
    assert bar(0, 0.05) == bar_both(0, 0.05) == math.inf


@pytest.mark.parametrize("free", [8, 20, 100, 5_000])
@pytest.mark.parametrize("t", [-4.0, -1.0, 0.0, 0.5, 2.5, 5.0])
def test_few_units_are_as_students_t(free, t):
    theirs = stats.norm.ppf(stats.t.cdf(t, free)) if t < 0 else stats.norm.isf(stats.t.sf(t, free))
    assert z_of_t(t, free) == pytest.approx(theirs, rel=0.01, abs=1e-9)
    assert t_of_z(z_of_t(t, free), free) == pytest.approx(t, rel=1e-9)


@pytest.mark.parametrize("tails", ["normal", "heavy"])
def test_a_bound_is_crossed_as_seldom_as_it_says_however_often_somebody_looks(tails):
    alpha, chance = 0.05, np.random.default_rng(11)
    drawn = chance.normal(0, 1, (SEEDS, LOOKS)) if tails == "normal" else chance.exponential(1, (SEEDS, LOOKS)) - 1
    looks = np.arange(1, LOOKS + 1)
    means = np.cumsum(drawn, axis=1) / looks
    spread = np.sqrt(np.maximum(np.cumsum(drawn * drawn, axis=1) / looks - means**2, 1e-9) / looks)
    from_20 = slice(20, None)
    bars = np.array([bar(look * 0.1**2, alpha) for look in looks])
    crossed = ((means / spread)[:, from_20] > bars[from_20]).any(axis=1).mean()
    assert crossed <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / SEEDS)
    peeked = ((means / spread)[:, from_20] > 1.645).any(axis=1).mean()
    assert peeked > 4 * alpha, "a plain p-value is not"
