from __future__ import annotations

import pytest

from tests.jobs.evals.scorers.looking import look
from tidegate.jobs.evals.scorers.cost import Config, Cost


@pytest.mark.parametrize(
    ("nusd", "value", "passed"), [(250_000, 0.75, True), (1_000_000, 0.0, True), (1_000_001, 0.0, False)]
)
async def test_an_answer_may_cost_so_much(nusd: int, value: float, passed: bool):
    score = await look(Cost(Config(0.001)), cost_nusd=nusd)
    assert (score.value, score.passed) == (value, passed)


async def test_what_has_no_price_has_no_score():
    score = await look(Cost(Config(1)), cost_nusd=None)
    assert (score.outcome, score.value) == ("failed", None)
