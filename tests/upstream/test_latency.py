"""How long it takes lately: a mean that moves, and quantiles of what was seen last."""

from __future__ import annotations

import pytest

from tidegate.upstream.latency import KEPT, MIN_SAMPLES, Latency


def after(*seconds: float) -> Latency:
    latency = Latency()
    for one in seconds:
        latency.add(one)
    return latency


def test_the_mean_follows_what_comes() -> None:
    assert after(1.0).mean_s == 1.0
    assert after(1.0, 2.0).mean_s == pytest.approx(1.2)
    assert after(1.0, *[2.0] * 30).mean_s == pytest.approx(2.0, abs=0.01)


def test_a_quantile_of_a_few_is_not_known() -> None:
    assert after(*[1.0] * (MIN_SAMPLES - 1)).quantile(0.95) is None
    assert after(*[1.0] * MIN_SAMPLES).quantile(0.95) == 1.0


def test_of_a_hundred_five_are_above_the_95th() -> None:
    assert after(*map(float, range(100))).quantile(0.95) == 95.0


def test_what_is_long_ago_is_forgotten() -> None:
    assert after(*[9.0] * KEPT, *[1.0] * KEPT).quantile(0.99) == 1.0
