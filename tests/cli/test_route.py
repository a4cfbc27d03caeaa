from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tidegate.cli import main

CONFIG = """
providers:
  main: {type: scripted, price: {input: 0.1, output: 0.2}}
  spare: {type: scripted, price: {input: 3, output: 6}}
routes:
  auto: {tiers: {simple: small, complex: spare/large}}
  small: {targets: [{provider: main, model: small}]}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tidegate.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "easy.txt").write_text("What is the capital of France?\n", encoding="utf-8")
    return tmp_path


def run(*words: str, said: str | None = None) -> tuple[int, str]:
    ended = CliRunner().invoke(main, ["route", "explain", *words], input=said)
    return ended.exit_code, ended.output


def test_it_is_shown_who_would_answer_and_why(here: Path) -> None:
    code, told = run("easy.txt", "--route", "auto")
    first, simple, complex, last = told.splitlines()
    assert code == 0 and first.startswith("hard: -0.") and "(sentences -0." in first
    assert simple.startswith("→ simple: 0.8") and complex.startswith("  complex: 0.9")
    assert last.endswith("with this price quality 0.95 is kept on average")


def test_a_hard_question_is_for_the_dear_tier(here: Path) -> None:
    hard = "If each of three teams, which had more members than they needed, lost half, how many were left in total?"
    code, told = run("-", said=hard)
    assert code == 0 and "→ complex" in told


def test_of_a_cascade_it_is_shown_where_it_begins_and_what_is_looked_at(here: Path) -> None:
    tiers = "tiers: {simple: small, complex: spare/large}"
    for promise, begins in (("", "nothing is promised, so the cheapest tier begins"), ("quality: 0.8, ", "is kept")):
        router = f"router: {{{promise}cascade: {{checks: [schema, refusal]}}}}"
        (here / "tidegate.yaml").write_text(CONFIG.replace(tiers, f"{tiers}, {router}"), encoding="utf-8")
        code, told = run("easy.txt")
        assert code == 0 and "→ simple" in told and begins in told
        assert told.endswith("its answer is looked at (schema, refusal); where it will not do, complex is asked\n")


def test_what_cannot_be_read_is_an_error_that_says_so(here: Path) -> None:
    code, told = run("none.txt")
    assert code == 1 and "none.txt: cannot be read" in told


def test_a_route_without_tiers_is_named_with_those_that_have_some(here: Path) -> None:
    code, told = run("easy.txt", "--route", "small")
    assert code == 1 and "no route 'small' with tiers; there are: auto" in told


def test_where_no_route_has_tiers_it_is_said_how_to_give_one_some(here: Path) -> None:
    (here / "tidegate.yaml").write_text("providers: {main: {type: scripted}}", encoding="utf-8")
    code, told = run("easy.txt")
    assert code == 1 and "docs/guides/routing.md" in told
