"""Judges are asked through the gateway: they have rows, are paid once, and can be heard again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.house import House
from tests.jobs.evals.conftest import Found, no_embedding, prepared, run
from tests.jobs.evals.judging import JudgeServer, Prompt, said
from tidegate.core.scores import Case
from tidegate.jobs.evals.journal import begin
from tidegate.jobs.evals.judge import as_string
from tidegate.jobs.evals.recording import Recording
from tidegate.jobs.evals.run import Means, go
from tidegate.jobs.evals.suite import Ready

CONFIG = """
logs: {{calls: false}}
providers:
  main: {{type: scripted, price: {{input: 1, output: 2}}}}
  judges: {{type: openai, base_url: "{address}", price: {{input: 10, output: 20}}}}
routes:
  fast: {{targets: [{{provider: main, model: m}}]}}
  judge: {{targets: [{{provider: judges, model: j}}]}}
"""
RUBRIC = {"type": "rubric", "name": "quality", "model": ["judge"]} | {
    "criteria": [{"name": "accuracy", "anchors": {"1": "wrong", "10": "right"}}]
}


def kind(prompt: Prompt) -> str:
    """8 for who says a friendly word, else 3."""
    answer = prompt.texts["ANSWER"]
    return said(prompt.code, evidence=answer, scores={"accuracy": 8 if "welcome" in answer else 3})


@asynccontextmanager
async def judged(build_house, verdict=kind) -> AsyncIterator[House]:
    server = JudgeServer(verdict)
    await server.start()
    try:
        yield await build_house(CONFIG.format(address=server.address))
    finally:
        await server.aclose()


async def test_a_judge_is_asked_through_the_gateway_and_its_cost_stands_apart(build_house, out: Path):
    async with judged(build_house) as house:
        found = await run(house, prepared("you are welcome", "go away", scorers=(RUBRIC,)), out)
        rows = {row.id: row for row in await house.rows()}
        costs = {name: sum(row.cost_nusd for row in rows.values() if row.route == name) for name in ("fast", "judge")}
    by_case = {one.case: one for one in found.results.answers}
    assert [one.value for one in by_case["you are welcome"].scores] == [8, 8]
    assert [one.value for one in by_case["go away"].scores] == [3, 3]
    assert sum(one.cost_nusd for one in by_case.values()) == costs["fast"] > 0
    assert sum(one.judging_nusd for one in by_case.values()) == costs["judge"] > 0
    assert {row.kind for row in rows.values()} == {"eval"}
    assert all(one.advisory and one.scorer.startswith("quality") for each in by_case.values() for one in each.scores)
    assert [one.passed for one in by_case.values()] == [None, None]  # nobody who may say so has said


async def test_a_judge_with_a_card_decides(build_house, out: Path):
    async with judged(build_house) as house:
        suite = prepared("you are welcome", "go away", scorers=(RUBRIC,))
        found = await run(house, suite, out, may_gate=lambda judge: judge.startswith("judge/"))
    assert {one.case: one.passed for one in found.results.answers} == {"you are welcome": True, "go away": False}


async def test_verdicts_that_were_paid_for_are_not_bought_again(build_house, out: Path):
    async with judged(build_house) as house:
        suite = prepared("a", "b", scorers=(RUBRIC, RUBRIC | {"name": "again"}))
        await run(house, suite, out)
        out.write_bytes(out.read_bytes().splitlines(keepends=True)[0])  # it was killed before an answer was written
        found = await run(house, suite, out)
        rows = await house.rows()
    answers = found.results.answers
    assert len(rows) == 12 and sum(row.cost_nusd > 0 for row in rows) == 6
    assert sum(row.cost_nusd for row in rows) == sum(one.cost_nusd + one.judging_nusd for one in answers)


async def heard_again(found: Found, suite: Ready, out: Path) -> Found:
    suite = suite._replace(suite=suite.suite)
    before = found.results.run
    journal = await asyncio.to_thread(begin, out, before)
    try:
        recording = Recording(found.results, suite.suite.parameters)
        halt = await go(suite, journal, Means(recording, recording, no_embedding))
        return Found(journal.results, halt)
    finally:
        journal.close()


async def test_a_replay_asks_nobody_and_finds_the_same(build_house, out: Path, tmp_path: Path):
    suite = prepared("you are welcome", "go away", scorers=(RUBRIC, {"type": "contains"}), repeats=2)
    async with judged(build_house) as house:
        found = await run(house, suite, out)
    again = await heard_again(found, suite, tmp_path / "again.jsonl")  # the house is closed
    scores = [{(one.case, one.repeat): one.scores for one in each.results.answers} for each in (found, again)]
    assert scores[0] == scores[1] and again.results.missing == []


async def test_what_is_asked_otherwise_than_it_was_recorded_has_no_answer(build_house, out: Path, tmp_path: Path):
    async with judged(build_house) as house:
        found = await run(house, prepared("a", "b", scorers=(RUBRIC,)), out)
    other = RUBRIC | {"criteria": [{"name": "accuracy", "anchors": {"1": "bad", "10": "good"}}]}
    again = await heard_again(found, prepared("a", Case(id="b", input="c"), scorers=(other,)), tmp_path / "again.jsonl")
    by_case = {one.case: one for one in again.results.answers}
    assert by_case["b"].error == "not_recorded"
    assert [(one.outcome, one.value) for one in by_case["a"].scores] == [("failed", None)]
    assert "was not asked this when it was recorded" in by_case["a"].scores[0].why


def test_a_string_of_json_is_one_line_and_reads_as_it_was():
    for text in ['a"b\nc<end>', "\u202e\u2066\u2028\x85\x00\x7f", "\U000e0041\ud800", "größer, 大きい 🙂"]:
        line = as_string(text)
        assert len(line.splitlines()) == 1 and line.isprintable() and "<" not in line
        assert json.loads(line) == text
    assert as_string("größer, 大きい 🙂") == '"größer, 大きい 🙂"'
