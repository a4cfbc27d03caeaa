from __future__ import annotations

from typing import Any

import pytest

from tests.jobs.evals.scorers.looking import look
from tidegate.core.scores import Case, Score
from tidegate.jobs.evals.scorers.python import Config, Python


def scorer(function: Any, **fields: Any) -> Python:
    made = Python(Config("mine:function", **fields))
    made.join(lambda door, name: function)
    return made


async def waits(case: Case, text: str) -> bool:
    return text == case.id


@pytest.mark.parametrize(
    ("function", "pass_at", "value", "passed"),
    [
        (lambda case, text: text == "a", None, 1.0, True),
        (waits, None, 1.0, True),
        (lambda case, text: 0.4, None, 0.4, None),
        (lambda case, text: 4, 5.0, 4.0, False),
        (lambda case, text: Score(scorer="", value=2.0, passed=True), None, 2.0, True),
    ],
)
async def test_a_function_says_whether_or_how_good(function: Any, pass_at: float | None, value: float, passed: Any):
    score = await look(scorer(function, pass_at=pass_at), "a")
    assert (score.value, score.passed) == (value, passed)


async def test_anything_else_is_no_score():
    with pytest.raises(ValueError, match="it returned str"):
        await look(scorer(lambda case, text: "good"), "a")
