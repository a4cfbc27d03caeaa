"""The bench of routing: what a router is worth, on questions whose answers anybody can count."""

from __future__ import annotations

import numpy as np
import pytest
from bench.routing import COSTS, Routed, intervals, promises, worth

CHANCE = np.random.default_rng(1)
GOOD = (CHANCE.random((4_000, 2)) < (0.6, 0.9)).astype(np.float32)


def test_a_router_without_a_clue_recovers_half_of_the_gap_on_average() -> None:
    found = worth(GOOD, CHANCE.random(len(GOOD)))
    share = (0.95 * 0.9 - 0.6) / 0.3
    assert found["apgr"] == pytest.approx(0.5, abs=0.03)
    assert found["strong_at_95"] == pytest.approx(share, abs=0.05)
    assert found["saved_at_95"] == pytest.approx((1 - found["strong_at_95"]) * (1 - COSTS[0]))


def test_one_that_knows_every_answer_asks_the_strong_model_only_where_that_helps() -> None:
    found = worth(GOOD, GOOD[:, 1] - GOOD[:, 0])
    assert found["apgr"] > 1 and found["strong_at_95"] == pytest.approx(0.95 * 0.9 - 0.6, abs=0.02)


def test_the_interval_holds_the_figure() -> None:
    gains = CHANCE.random(len(GOOD))
    low, high = intervals(GOOD, gains)["apgr_interval"]
    assert low < worth(GOOD, gains)["apgr"] < high


def test_quality_that_was_asked_for_is_counted_in_answers() -> None:
    chances = np.stack([0.3 + 0.6 * CHANCE.random(len(GOOD)), np.full(len(GOOD), 0.9)], axis=1)
    good = (CHANCE.random(GOOD.shape) < chances).astype(np.float32)
    kept = dict(promises(good, Routed(np.arange(len(good)), chances, [(chances, chances)])))
    assert kept["promised_95"] == pytest.approx(0.955, abs=0.015)
    assert kept["promised_90_saved"] > kept["promised_95_saved"] > kept["promised_98_saved"] > 0.1
