from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tidegate.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    guards = "guardrails: {input: [{type: pii, action: placeholder}], output: [{type: secrets, action: block}]}"
    (tmp_path / "tidegate.yaml").write_text(f"providers: {{main: {{type: scripted}}}}\n{guards}\n", encoding="utf-8")
    (tmp_path / "said.txt").write_text("write to a@b.com", encoding="utf-8")
    return tmp_path


def run(*words: str) -> tuple[int, str]:
    ended = CliRunner().invoke(main, ["guard", "try", *words])
    return ended.exit_code, ended.output


def test_what_is_found_is_shown_with_its_place(here: Path):
    told = "pii: mask\n  9-16  email  'a@b.com'\n  leaves: 'write to [[EMAIL_1]]'\n"
    assert run("said.txt") == (0, told)


def test_an_answer_has_other_guards(here: Path):
    assert run("said.txt", "--output") == (0, "secrets: pass\n")


def test_what_cannot_be_read_is_an_error_that_says_so(here: Path):
    code, told = run("none.txt")
    assert code == 1 and "none.txt: cannot be read" in told


def test_a_route_that_is_not_there_is_named(here: Path):
    code, told = run("said.txt", "--route", "fast")
    assert code == 1 and "no route 'fast'; there are: none" in told
