from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import TWO_PROVIDERS
from tests.jobs.evals.conftest import prepared, run
from tests.jobs.evals.scorers.looking import look
from tidegate.core.scores import Case
from tidegate.jobs.evals.scorers.guards import Config, Guards


@pytest.mark.parametrize(
    ("config", "guards", "passed"),
    [
        (Config(), (), True),
        (Config(), ("pii=pass", "secrets.output=pass"), True),
        (Config(), ("pii=mask",), False),
        (Config(only=("secrets",)), ("pii=mask", "secrets.output=pass"), True),
        (Config(only=("secrets",)), ("secrets.output=block",), False),
        (Config(wanted=True), ("injection=block",), True),
        (Config(wanted=True), ("injection=pass",), False),
    ],
)
async def test_what_guards_have_found_is_wanted_or_not(config: Config, guards: tuple[str, ...], passed: bool):
    assert (await look(Guards(config), guards=guards)).passed is passed


async def test_a_question_that_was_blocked_can_be_right(build_house, tmp_path: Path):
    house = await build_house(TWO_PROVIDERS + "guardrails: {input: [{type: pii, action: block}]}\n")
    case = Case(id="a", input="write to a@b.com", expected_elements=("x",))
    wanted = ({"type": "contains"}, {"type": "guards", "wanted": True})
    found = await run(house, prepared(case, scorers=wanted), tmp_path / "one.jsonl")
    (answer,) = found.results.answers
    assert (
        answer.passed is True
        and answer.guards == ("pii=block",)
        and [one.scorer for one in answer.scores] == ["guards"]
    )
    found = await run(house, prepared(case, scorers=({"type": "contains"},)), tmp_path / "two.jsonl")
    assert found.results.answers[0].error == "guardrail_blocked"
    assert found.results.answers[0].passed is False
