from __future__ import annotations

import pytest

from tests.jobs.evals.scorers.looking import case, look
from tidegate.jobs.evals.scorers.equality import Config, Equality


@pytest.mark.parametrize(
    ("config", "text", "passed"),
    [
        (Config("The End"), " the  end\n", True),
        (Config("The End", case_sensitive=True), "the end", False),
        (Config("a b", "exact"), "a  b", False),
        (Config('{"a": 1, "b": [2]}', "json"), '{"b":[2],"a":1.0}', True),
        (Config('{"a": 1}', "json"), '{"a": 1', False),
        (Config("1000", "number"), " 1,000.0 ", True),
        (Config("3.14", "number", tolerance=0.01), "3.1416", True),
        (Config("3", "number"), "three", False),
        (Config(), "as it is", True),
    ],
)
async def test_an_answer_is_compared(config: Config, text: str, passed: bool):
    assert (await look(Equality(config), text, of=case(reference="As it is"))).passed is passed


def test_what_cannot_be_compared_with_is_told_before():
    assert "nothing to compare" in (Equality(Config()).lacks(case()) or "")
    assert "the reference is no json" in (Equality(Config(read="json")).lacks(case(reference="{")) or "")
    with pytest.raises(ValueError, match="could not convert"):
        Equality(Config("x", "number"))
