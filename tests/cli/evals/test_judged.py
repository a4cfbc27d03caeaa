"""A run with a judge from a terminal: recorded once, heard again without anybody, and decided by a card."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.house import House
from tests.jobs.evals.judging import JudgeServer
from tests.jobs.evals.test_deck import calibrated
from tests.jobs.evals.test_judge import CONFIG, kind
from tidegate.cli import main
from tidegate.jobs.evals.results import read

SUITE = """\
subject: route:fast
scorers:
  - type: rubric
    name: quality
    model: judge
    criteria: [{name: accuracy, anchors: {1: wrong, 10: right}}]
cases:
  - {id: kind, input: you are welcome}
  - {id: rude, input: go away}
"""


@pytest.fixture
async def house(build_house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.chdir(tmp_path)
    await asyncio.to_thread((tmp_path / "suite.yaml").write_text, SUITE, "utf-8")
    server = JudgeServer(kind)
    await server.start()
    yield await build_house(CONFIG.format(address=server.address))
    await server.aclose()


async def run(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, ["eval", "run", "suite.yaml", *words])


async def test_what_was_recorded_is_heard_again_and_a_card_lets_the_judge_decide(house: House, tmp_path: Path):
    async with house.serve() as url:
        done = await run("--url", url, "--key", house.key, "--out", "run.jsonl")
    assert done.exit_code == 0, done.output
    assert "0 passed, 0 failed, 2 with nobody who may decide" in done.output
    assert "quality: mean 5.5 of 2, 1 of 2 passed (advisory: this judge may not decide)" in done.output

    judge = (await asyncio.to_thread(read, tmp_path / "run.jsonl")).answers[0].scores[0].judge
    await asyncio.to_thread(calibrated, tmp_path, judge, wrong=2)
    done = await run("--replay", "run.jsonl", "--out", "again.jsonl", "--cards", "cards")
    assert done.exit_code == 1, done.output
    assert "1 passed, 1 failed, 0 with nobody who may decide" in done.output and "advisory" not in done.output

    text = await asyncio.to_thread((tmp_path / "run.jsonl").read_text, "utf-8")
    run_id = (await asyncio.to_thread(read, tmp_path / "run.jsonl")).run.id
    await asyncio.to_thread((tmp_path / "else.jsonl").write_text, text.replace(run_id, "0" * 32), "utf-8")
    done = await run("--replay", "run.jsonl", "--out", "else.jsonl", "--cards", "cards")
    assert done.exit_code == 3 and "else.jsonl is of another run than the one that is replayed" in done.output

    other = SUITE.replace("10: right", "10: perfect")  # another rubric is another judge, and was not asked
    await asyncio.to_thread((tmp_path / "suite.yaml").write_text, other, "utf-8")
    done = await run("--replay", "run.jsonl", "--out", "other.jsonl", "--cards", "cards")
    assert done.exit_code == 0 and "quality: no score (advisory: this judge may not decide), 2 failed" in done.output


async def test_where_who_decides_gives_no_score_nothing_has_passed(house: House, tmp_path: Path):
    suite = SUITE.replace("model: judge", "model: jugde")  # nobody answers to that name
    await asyncio.to_thread((tmp_path / "suite.yaml").write_text, suite, "utf-8")
    async with house.serve() as url:
        asked = ("--url", url, "--key", house.key, "--cards", "cards", "--out", "run.jsonl")
        done = await run(*asked)
    assert done.exit_code == 3 and "did you mean 'judge'?" in done.output
