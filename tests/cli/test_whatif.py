"""What levers would have saved, in the terminal: of a log, and of a gateway that is running."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.house import House
from tidegate.cli import main

LINE = {"at": "2026-11-26T10:00:00+00:00", "target": "main/gpt-4o", "input_tokens": 1000, "output_tokens": 100}


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["whatif", *words])


def log(folder: Path, *lines: object) -> str:
    file = folder / "calls.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return str(file)


def test_a_log_of_anybodys_is_priced_by_the_list(tmp_path: Path):
    asked = {"messages": [{"role": "user", "content": "hi"}]}
    done = run("--log", log(tmp_path, LINE | asked, LINE | asked), "--cheap", "openai/gpt-4o-mini", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["cost_usd"] == 0.007
    by = {one["name"]: one for one in found["levers"]}
    assert by["exact cache"]["saved_least_usd"] == by["exact cache"]["saved_most_usd"] == 0.0035
    assert by["a smaller model"]["saved_most_usd"] == pytest.approx(0.007 - 2 * 0.00021)
    assert by["semantic cache"]["saved_most_usd"] is None


def test_a_person_is_told_what_each_figure_rests_on(tmp_path: Path):
    said = run("--log", log(tmp_path, LINE)).output
    assert "unknown" in said and "whether it was the same, this log does not say" in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no json\n", "line 1"),
        ('{"at": "2026-11-26T10:00:00", "input_tokens": "many"}\n', "input_tokens"),
        ('\n{"at": "yesterday"}\n', "line 2"),
        ('{"model": "x"}\n', "at"),
    ],
)
def test_a_line_that_is_no_call_is_named(tmp_path: Path, text: str, why: str):
    file = tmp_path / "bad.jsonl"
    file.write_text(text)
    done = run("--log", str(file))
    assert done.exit_code == 1 and why in done.output


def test_a_log_that_is_not_there_and_a_model_that_nobody_sells_are_named(tmp_path: Path):
    assert "No such file" in run("--log", str(tmp_path / "none.jsonl")).output
    done = run("--log", log(tmp_path, LINE), "--cheap", "openai/nothing")
    assert done.exit_code == 1 and "openai/gpt-4o-mini" in done.output


def test_an_empty_log_is_told_too(tmp_path: Path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "0 calls" in run("--log", str(empty)).output


def test_without_a_log_or_a_key_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    for name in ("TIDEGATE_KEY", "TIDEGATE_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert "--log FILE" in run().output


async def test_a_gateways_own_ledger_and_its_export_say_the_same(house: House, tmp_path: Path):
    house.provider("main").always("hi", usage={"prompt_tokens": 1500, "completion_tokens": 250})
    for user in ("ann", "bob", "bob"):
        await house.ask(user=user)
    async with house.serve() as url:
        where = ["--url", url, "--key", house.key]
        done = await asyncio.to_thread(CliRunner().invoke, main, ["whatif", "--json", *where])
        lines = await asyncio.to_thread(CliRunner().invoke, main, ["requests", "list", "--json", *where])
        bad = await asyncio.to_thread(CliRunner().invoke, main, ["whatif", "--cheap", "nobody/nothing", *where])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert (found["calls"], found["cost_usd"]) == (3, 0.006)
    assert bad.exit_code == 1 and "HTTP 400" in bad.output
    file = log(tmp_path, *map(json.loads, lines.output.splitlines()))
    exported = json.loads((await asyncio.to_thread(run, "--log", file, "--json")).output)
    assert (exported["calls"], exported["cost_usd"]) == (3, 0.006)
    assert exported["levers"][0]["calls"] == found["levers"][0]["calls"] == 2
