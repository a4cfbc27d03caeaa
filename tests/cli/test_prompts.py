"""Prompts from a terminal, and files in a repository both ways."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner, Result

from tests.house import House
from tidegate.cli import main


class Terminal:
    def __init__(self, url: str, key: str) -> None:
        self._more = ("--url", url, "--key", key)

    async def run(self, *words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, ["prompts", *words, *self._more])

    async def says(self, *words: str) -> str:
        done = await self.run(*words)
        assert done.exit_code == 0, done.output
        return done.output


@pytest.fixture
async def at(house: House):
    async with house.serve() as url:
        yield Terminal(url, house.key)


async def test_a_prompt_is_made_shown_changed_and_rolled_back(at: Terminal):
    assert "there is no prompt yet" in await at.says("list")
    assert (await at.says("new", "greet", "--text", "Hello {{name}}", "--label", "production")).startswith("greet@1  ")
    await at.says("new", "greet", "--text", "Hi {{name}}", "--note", "shorter", "--label", "staging")
    assert "production: 1  staging: 2" in await at.says("list")
    shown = await at.says("show", "greet@2")
    assert "shorter" in shown and shown.endswith("Hi {{name}}\n")
    assert "Hello {{name}}" in await at.says("show", "greet")
    assert "-Hello {{name}}\n+Hi {{name}}\n" in await at.says("diff", "greet")
    assert await at.says("diff", "greet", "1", "production") == "greet@1 and greet@1 say the same\n"
    assert await at.says("label", "greet", "production", "staging") == "greet: production → 2; before, 1\n"
    assert await at.says("label", "greet", "production", "1", "--why", "worse") == "greet: production → 1; before, 2\n"
    assert "production: 2 → 1" in await at.says("history", "greet") and "worse" in await at.says("history", "greet")
    refused = await at.run("delete", "greet", "2")
    assert refused.exit_code == 1 and "the label 'staging' points to it" in refused.output
    assert "is gone" in await at.says("label", "greet", "staging", "--remove")
    assert "is deleted" in await at.says("delete", "greet", "2")
    assert json.loads(await at.says("list", "--json"))[0]["labels"] == {"production": 1}


async def test_files_and_the_store_say_the_same(at: Terminal, tmp_path):
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "rules.md").write_text("Be kind.\n", encoding="utf-8")
    (folder / "all.md").write_text(
        "---\nparameters: {temperature: 0}\n---\n--- system\n{{> rules@1}} {{name}}\n", encoding="utf-8"
    )
    tried = await at.says("import", str(folder), "--dry-run")
    assert "+Be kind." in tried and "nothing was changed" in tried and "there is no prompt yet" in await at.says("list")
    made = await at.says("import", str(folder), "--label", "production", "--note", "first")
    assert made.endswith("2 of 2 are new\n")
    assert "0 of 2 would be new" in await at.says("import", str(folder), "--dry-run")
    out = tmp_path / "out"
    await at.says("export", "--dir", str(out))
    assert "0 of 2 are new" in await at.says("import", str(out))
    assert (out / "rules.md").read_text() == "---\n---\nBe kind.\n"
    (out / "all.md").write_text((out / "all.md").read_text().replace("{{name}}", "Dear {{name}}"))
    changed = await at.says("import", str(out), "--dry-run")
    assert "-{{> rules@1}} {{name}}\n+{{> rules@1}} Dear {{name}}\n" in changed and "rules: as it is" in changed
    assert "all@2" in await at.says("import", str(out), "--label", "staging")


async def test_all_is_looked_at_before_anything_is_changed(at: Terminal, tmp_path):
    (tmp_path / "good.md").write_text("x", encoding="utf-8")
    (tmp_path / "bad.md").write_text("{{7*7}}", encoding="utf-8")
    done = await at.run("import", str(tmp_path))
    assert done.exit_code == 1 and "nothing was changed" in done.output and "'7*7' is no name" in done.output
    assert "there is no prompt yet" in await at.says("list")


async def test_other_tools_files_are_taken_in(at: Terminal, tmp_path):
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps({"support": {"current": "now", "versions": {"v1": "before"}}}), encoding="utf-8")
    assert "2 of 2 are new" in await at.says("import", str(file), "--from", "guide")
    assert "production: 2" in await at.says("list")


async def test_what_cannot_be_is_told(at: Terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, why in (
        (("new", "greet"), "one of the two"),
        (("show", "greet"), "there is no prompt 'greet'"),
        (("label", "greet", "x"), "say which version"),
        (("import", "."), "no file *.md is there"),
        (("new", "a b", "--text", "x"), "cannot be a prompt's name"),
    ):
        done = await at.run(*words)
        assert done.exit_code == 1 and why in done.output
