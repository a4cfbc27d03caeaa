"""POST /api/evaluate: one answer, scored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.house import House, Reply
from tests.jobs.evals.judging import JudgeServer, Prompt, said
from tests.jobs.evals.test_judge import CONFIG, RUBRIC

SCORERS = [{"type": "contains"}]


@pytest.fixture
async def judged(build_house: Any) -> AsyncIterator[House]:
    async with judges(build_house) as house:
        yield house


@asynccontextmanager
async def judges(build_house: Any) -> AsyncIterator[House]:
    def verdict(prompt: Prompt) -> str:
        answer = prompt.texts["ANSWER"]
        return said(prompt.code, evidence=answer, scores={"accuracy": 9 if "14 days" in answer else 2})

    server = JudgeServer(verdict)
    await server.start()
    try:
        yield await build_house(CONFIG.format(address=server.address))
    finally:
        await server.aclose()


async def evaluate(house: House, key: str | None = None, **asked: Any) -> Reply:
    body = json.dumps({"scorers": SCORERS} | asked).encode()
    return await house.begin(path="/api/evaluate", body=body, key=key).reply()


async def test_an_answer_is_scored_and_nobody_is_asked(house):
    reply = await evaluate(house, answer="within 14 days", expected_elements=["14 days", "refund"])
    found = reply.events[0]
    assert (reply.status, found["passed"], found["cost_usd"]) == (200, False, 0)
    assert found["scores"] == [
        {
            "scorer": "contains", "outcome": "scored", "value": 0.5, "passed": False, "advisory": False,
            "why": "without 'refund'", "judge": "",
        }
    ]  # fmt: skip
    assert await house.rows() == []


async def test_a_model_answers_and_another_judges_each_with_a_row(judged):
    judged.provider("main").says("It takes 14 days.")
    asked = [{"role": "assistant", "content": "Hi {{name}}!"}]
    reply = await evaluate(
        judged, input="How long?", turns=asked, model="fast", scorers=[*SCORERS, RUBRIC], expected_elements=["14 days"]
    )
    found = reply.events[0]
    assert found["answer"] == "It takes 14 days." and found["passed"] is True
    assert {one["scorer"]: one["value"] for one in found["scores"]} == {
        "contains": 1, "quality.accuracy": 9, "quality": 9,
    }  # fmt: skip
    assert [one["advisory"] for one in found["scores"]] == [False, True, True]
    rows = await judged.rows()
    assert {(row.route, row.kind, row.purpose) for row in rows} == {
        ("fast", "eval", "evaluation"), ("judge", "eval", "evaluation"),
    }  # fmt: skip
    costs = {row.route: row.cost_nusd / 1e9 for row in rows}
    assert (found["cost_usd"], found["judging_usd"]) == (costs["fast"], costs["judge"])
    assert b"Hi {{name}}!" in judged.provider("main").requests[0].body


async def test_whoever_lets_models_work_needs_the_scope(judged):
    plain, _ = await judged.app.gateway.auth.create("plain", "test", admin=False)
    assert (await evaluate(judged, plain, answer="x", expected_elements=["x"])).status == 200
    for asked in ({"model": "fast", "input": "hi", "expected_elements": ["x"]}, {"answer": "x", "scorers": [RUBRIC]}):
        reply = await evaluate(judged, plain, **asked)
        assert reply.status == 403 and "--scope eval" in reply.error.message
    may, _ = await judged.app.gateway.auth.create("may", "test", admin=False, scopes=("eval",))
    assert (await evaluate(judged, may, answer="x", scorers=[RUBRIC])).status == 200
    (row,) = await judged.rows()
    assert row.key_id in may  # whoever asks pays


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"expected_elements": ["x"]}, "answer, model: say one of the two"),
        ({"answer": "x"}, "there are no words to look for"),
        ({"answer": "x", "scorers": []}, "scorers: List should have at least 1 item"),
        ({"answer": "x", "scorers": [{"type": "contians"}]}, "did you mean 'contains'?"),
        ({"answer": "x", "scorers": [{"type": "python", "function": "os:system"}]}, "no scorer 'python' over the API"),
        ({"answer": "x", "scorers": [{"type": "os:system"}]}, "no scorer 'os:system' over the API"),
        ({"answer": "x", "scorers": [{"type": "schema"}]}, "no scorer 'schema' over the API"),
        ({"answer": "x", "scorers": [{"type": "rubric", "model": ["j"], "criteria": [{"name": "a"}]}]}, "anchors"),
        ({"answer": "x", "scorers": [{"type": "regex", "pattern": "("}]}, "pattern: "),
        ({"model": "fast", "expected_elements": ["x"]}, "nothing is asked"),
        ({"answer": "x", "sorcerers": []}, "sorcerers: Extra inputs are not permitted"),
    ],
)
async def test_what_makes_no_sense_is_told(house, asked: dict[str, Any], told: str):
    reply = await evaluate(house, **asked)
    assert reply.status == 400 and told in reply.error.message


async def test_a_judge_that_cannot_be_asked_gives_no_score(judged):
    reply = await evaluate(judged, answer="x", scorers=[RUBRIC | {"model": ["jugde"]}])
    (score,) = reply.events[0]["scores"]
    assert (score["outcome"], score["value"]) == ("failed", None) and "did you mean 'judge'?" in score["why"]


@pytest.mark.parametrize("field", ["answer", "input", "reference", "context", "expected_elements"])
async def test_half_a_character_is_no_mistake_of_ours(judged, field: str):
    """A lone surrogate: JSON can say it, and no text in UTF-8 has it."""
    odd = "\ud800x"
    asked: dict[str, Any] = {
        "answer": "x",
        "expected_elements": ["x"],
        field: [odd] if field == "expected_elements" else odd,
    }
    reply = await evaluate(judged, scorers=[*SCORERS, {"type": "regex", "pattern": "x"}, RUBRIC], **asked)
    assert reply.status in (200, 400), reply.body
