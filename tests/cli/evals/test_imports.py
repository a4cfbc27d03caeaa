"""tidegate eval import and tidegate eval case, as one types them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.house import TWO_PROVIDERS, House
from tidegate.cli import main


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["eval", *words])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_of_another_tool_becomes_a_suite(here: Path):
    (here / "samples.jsonl").write_text('{"input": "Sky?", "ideal": "blue"}\n{"input": "x"}\n', encoding="utf-8")
    done = run("import", "samples.jsonl", "--from", "openai")
    assert done.exit_code == 0, done.output
    assert "left out: sample 2: has no ideal answer" in done.output
    assert "samples.suite.yaml: 2 cases; ask them with: tidegate eval run samples.suite.yaml" in done.output
    again = run("import", "samples.jsonl", "--from", "openai")
    assert again.exit_code == 3 and "is there already" in again.output


def test_what_cannot_be_read_is_told(here: Path):
    assert run("import", "none.csv", "--from", "csv").exit_code == 3
    done = run("import", "none.csv", "--from", "excel")
    assert done.exit_code == 3 and "'excel' is not one of" in done.output


async def stored(house: House, here: Path, *words: str) -> tuple[str, Result]:
    reply = await house.ask("How long?", stream=False)
    said = json.dumps({"request_id": reply.id, "thumbs": "down", "correction": "14 days"}).encode()
    assert (await house.begin(path="/v1/feedback", body=said).reply()).status == 201
    async with house.serve() as url:
        asked = ["case", str(reply.id), "--suite", "suite.yaml", "--url", url, "--key", house.key, *words]
        return str(reply.id), await asyncio.to_thread(run, *asked)


STORES = TWO_PROVIDERS.replace("order: 2}]", "order: 2}]\n    store: {prompts: true, replies: true}")


async def test_a_thumb_down_becomes_a_case(build_house, here: Path):
    house = await build_house(STORES)
    id, done = await stored(house, here)
    assert done.exit_code == 0, done.output
    text = await asyncio.to_thread((here / "suite.yaml").read_text, "utf-8")
    assert f"- id: {id}" in text and "reference: 14 days" in text and "- thumbs-down" in text


async def test_a_request_that_is_not_kept_is_told(house, here: Path):
    _, done = await stored(house, here)
    assert done.exit_code == 3 and "nothing that was said in" in done.output


async def test_a_suite_that_would_be_broken_stays_as_it_was(build_house, here: Path):
    house = await build_house(STORES)
    before = "scorers: [{type: contains}]\ncases:\n- {id: a, input: x, expected_elements: [y]}\n"
    await asyncio.to_thread((here / "suite.yaml").write_text, before, "utf-8")
    _, done = await stored(house, here)
    assert done.exit_code == 3 and "nothing was added" in done.output and "no words to look for" in done.output
    assert await asyncio.to_thread((here / "suite.yaml").read_text, "utf-8") == before
