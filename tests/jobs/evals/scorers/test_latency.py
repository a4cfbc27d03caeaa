from __future__ import annotations

import pytest

from tests.jobs.evals.scorers.looking import look
from tidegate.core.values import Duration
from tidegate.jobs.evals.scorers.latency import Config, Latency


@pytest.mark.parametrize(("took_ms", "value", "passed"), [(500, 0.75, True), (2000, 0.0, True), (2001, 0.0, False)])
async def test_an_answer_may_take_so_long(took_ms: float, value: float, passed: bool):
    score = await look(Latency(Config(Duration(2))), latency_ms=took_ms)
    assert (score.value, score.passed) == (value, passed)


def test_no_time_at_all_is_a_mistake():
    with pytest.raises(ValueError, match="longer than nothing"):
        Latency(Config(Duration(0)))
