from __future__ import annotations

import pytest

from tests.jobs.evals.scorers.looking import case, look
from tidegate.jobs.evals.scorers.contains import Config, Contains


@pytest.mark.parametrize(
    ("config", "text", "value", "why"),
    [
        (Config(), "A Refund takes 14 days", 1.0, ""),
        (Config(), "A refund", 0.5, "without '14 days'"),
        (Config(case_sensitive=True), "A Refund takes 14 days", 0.5, "without 'refund'"),
        (Config(all=("x",)), "y", 0.0, "without 'x'"),
        (Config(any=("x", "y")), "Y", 1.0, ""),
        (Config(any=("x", "y")), "z", 0.0, "with none of 'x', 'y'"),
        (Config(none=("sorry",), all=("x",)), "Sorry, x", 0.5, "with 'sorry'"),
        (Config(all=("straße",)), "STRASSE", 1.0, ""),
    ],
)
async def test_words_are_looked_for(config: Config, text: str, value: float, why: str):
    score = await look(Contains(config), text, of=case(expected_elements=("refund", "14 days")))
    assert (score.value, score.passed, score.why) == (value, value == 1, why)


def test_without_words_there_is_nothing_to_look_for():
    assert "no words" in (Contains(Config()).lacks(case()) or "")
    assert Contains(Config(none=("x",))).lacks(case()) is None
