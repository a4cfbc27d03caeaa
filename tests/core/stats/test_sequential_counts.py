"""Sample ratios: against scipy's Dirichlet, and against chance."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from scipy import stats

from tidegate.core.stats.sequential_counts import WEIGHT, log_evidence, mixed

SEEDS = 5_000 if os.environ.get("TIDEGATE_SEQUENTIAL") else 300


@pytest.mark.parametrize(
    ("counts", "chances"), [((50, 50), (0.5, 0.5)), ((970, 30), (0.99, 0.01)), ((10, 20, 3), (0.6, 0.3, 0.1))]
)
def test_it_is_how_much_likelier_any_other_way_of_giving_out_is(counts, chances):
    of = sum(counts)
    spread = stats.dirichlet_multinomial.logpmf(counts, WEIGHT * np.array(chances), of)
    assert log_evidence(counts, chances) == pytest.approx(
        spread - stats.multinomial.logpmf(counts, of, chances), abs=1e-8
    )


def test_looked_at_after_every_unit_it_seldom_tells_what_is_not_so():
    alpha, wrong, draw = 0.05, 0, np.random.default_rng(5)
    for _ in range(SEEDS):
        arms = np.cumsum(draw.random(1_000) < 0.05)
        wrong += any(
            log_evidence((at + 1 - int(arm), int(arm)), (0.95, 0.05)) > -math.log(alpha)
            for at, arm in enumerate(arms)
            if at % 5 == 0
        )
    assert wrong / SEEDS <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / SEEDS)


def test_what_is_wrong_is_told():
    assert log_evidence((5_000, 4_500), (0.5, 0.5)) > math.log(1_000)
    assert log_evidence((5_000, 4_950), (0.5, 0.5)) < 0
    assert log_evidence((10, 1), (1.0, 0.0)) == math.inf and log_evidence((10, 0), (1.0, 0.0)) == pytest.approx(0)


def test_several_tests_are_one_that_is_as_good_as_their_mean():
    assert mixed([math.log(9.0), math.log(1.0)]) == pytest.approx(math.log(5.0))
    assert mixed([]) == 0 and mixed([0.0, math.inf]) == math.inf
