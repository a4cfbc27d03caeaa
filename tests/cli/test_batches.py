"""A file in a terminal: asked line by line, with a bar, and results beside it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner, Result

from tests.house import House
from tidegate.cli import main


async def run(house: House, *words: str) -> Result:
    async with house.serve() as url:
        asked = ["batch", *words, "--url", url, "--key", house.key]
        return await asyncio.to_thread(CliRunner().invoke, main, asked)


async def test_every_line_of_a_file_is_asked_and_its_results_stand_beside_it(house, tmp_path: Path):
    house.provider("main").always("hello")
    file = tmp_path / "questions.jsonl"
    file.write_text('What is this?\n\n{"messages": [{"role": "user", "content": "hi"}], "custom_id": "second"}\n')
    done = await run(house, "run", str(file), "--route", "fast")
    assert done.exit_code == 0, done.output
    assert "completed: 2 of 2 answered; results are in" in done.output
    results = [json.loads(line) for line in (tmp_path / "questions.results.jsonl").read_text().splitlines()]
    assert [one["custom_id"] for one in results] == ["line-1", "second"]
    listed = await run(house, "list")
    assert "completed: 2 of 2 answered" in listed.output
    id = listed.output.split()[0]
    assert json.loads((await run(house, "show", id)).output)["status"] == "completed"
    assert "completed" in (await run(house, "cancel", id)).output


async def test_a_line_without_an_answer_is_told_and_is_no_success(house, tmp_path: Path):
    file = tmp_path / "batch.jsonl"
    file.write_text('{"custom_id": "a", "url": "/v1/embeddings", "body": {"model": "fast"}}\nhi\n')
    done = await run(house, "run", str(file), "--route", "fast", "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "1 of 2 answered, 1 without an answer" in done.output and "line 1: asks /v1/embeddings" in done.output


async def test_who_is_asked_must_be_said(house, tmp_path: Path):
    file = tmp_path / "questions.txt"
    file.write_text("hi\n")
    assert "line 1 names no model; say who is asked: --route NAME" in (await run(house, "run", str(file))).output
