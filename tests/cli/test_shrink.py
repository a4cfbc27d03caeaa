"""What would go out of this prompt, if its route had it made shorter?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tidegate.cli import main

ROWS = json.dumps([{"id": at, "name": "Ann"} for at in range(9)], indent=2)
GATE = "The gate opens at six, says its keeper."
OTHERS = "\n\n".join(f"The town of {name} lies on a wide river. It has a church and a mill. " * 4 for name in "ABCDEF")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.txt").write_text(ROWS, encoding="utf-8")
    (tmp_path / "asks.txt").write_text(f"{OTHERS}\n\n{GATE}\n\nWhen does the gate open?", encoding="utf-8")
    messages = [{"role": "system", "content": ROWS}, {"role": "user", "content": ROWS}]
    (tmp_path / "request.json").write_text(json.dumps({"model": "m", "messages": messages}), encoding="utf-8")
    return tmp_path


def run(*words: str) -> tuple[int, str]:
    ended = CliRunner().invoke(main, ["shrink", "try", *words])
    return ended.exit_code, ended.output


def test_a_prompt_is_shown_as_it_would_go_out(here: Path) -> None:
    code, told = run("rows.txt")
    assert code == 0 and told.startswith("--- messages[0].content\n9 rows, split by tab:\nid\tname=Ann\n0\n")
    assert "tokens before, " in told and "% saved)" in told


def test_a_request_is_read_as_one(here: Path) -> None:
    code, told = run("request.json")
    assert code == 0 and told.startswith(f"--- messages[0].content\n{ROWS}\n--- messages[1].content\n9 rows")


def test_what_a_question_does_not_ask_for_is_left_out(here: Path) -> None:
    code, told = run("asks.txt", "--level", "relevant", "--target", "60%")
    assert code == 0 and GATE in told and "When does the gate open?" in told and len(told) < 0.6 * len(OTHERS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("none.txt",), "none.txt: cannot be read"),
        (("rows.txt", "--target", "lots"), "--target"),
        (("rows.txt", "--level", "custom"), "custom"),
    ],
)
def test_what_cannot_be_is_named(here: Path, words: tuple[str, ...], said: str) -> None:
    code, told = run(*words)
    assert code != 0 and said in told
