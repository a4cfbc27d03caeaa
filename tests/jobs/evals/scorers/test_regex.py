from __future__ import annotations

import pytest

from tests.jobs.evals.scorers.looking import look
from tidegate.jobs.evals.scorers.regex import Config, Regex


@pytest.mark.parametrize(
    ("config", "text", "passed"),
    [
        (Config(r"\d+"), "it takes 14 days", True),
        (Config(r"\d+"), "it takes days", False),
        (Config(r"\d+", whole=True), " 14\n", True),
        (Config(r"\d+", whole=True), "14 days", False),
        (Config(r"\d+", absent=True), "days", True),
        (Config(r"(?i)REFUND"), "refund", True),
        (Config("x"), "\ud800x", True),
        (Config("(a+)+$"), "a" * 50_000 + "b", False),
    ],
)
async def test_a_pattern_is_looked_for(config: Config, text: str, passed: bool):
    assert (await look(Regex(config), text)).passed is passed


@pytest.mark.parametrize("pattern", ["(", r"(?=x)", r"(x)\1"])
def test_a_pattern_that_is_none_is_told(pattern: str):
    with pytest.raises(ValueError, match="pattern: "):
        Regex(Config(pattern))
