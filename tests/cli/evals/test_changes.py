"""tidegate eval compare: what a person and a pipeline are told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.jobs.evals.test_compare import run, said
from tidegate.cli import main
from tidegate.jobs.evals.results import Answer, Results


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(name: str, results: Results) -> None:
    Path(name).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in (results.run, *results.answers)))


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["eval", "compare", *words])


def answers(good: int, of: int = 100) -> list[Answer]:
    return [said(f"c{at}", exact=float(at < good), tags=("de" if at % 2 else "en",)) for at in range(of)]


def test_worse_is_exit_code_2_with_an_example():
    written("base.jsonl", run(answers(100)))
    written("head.jsonl", run(answers(80)))
    done = call("base.jsonl", "head.jsonl")
    assert done.exit_code == 2, done.output
    assert "exact" in done.output and "regressed" in done.output and "100.0% → 80.0%" in done.output
    assert "worse: c80 exact 1 → 0  since 0" in done.output
    assert call("head.jsonl", "base.jsonl").exit_code == 0
    assert call("base.jsonl", "base.jsonl").exit_code == 0


def test_few_cases_say_how_many_it_would_take():
    written("base.jsonl", run(answers(4, of=4)))
    done = call("base.jsonl", "base.jsonl")
    assert done.exit_code == 0 and "underpowered" in done.output
    assert "with 4 cases nothing is found; about" in done.output


def test_another_suite_is_exit_code_3_unless_it_is_allowed():
    written("base.jsonl", run(answers(100)))
    written("head.jsonl", run([*answers(100), said("new", exact=1)], suite_hash="i"))
    done = call("base.jsonl", "head.jsonl")
    assert done.exit_code == 3 and "cases new: new" in done.output and "--allow suite" in done.output
    done = call("base.jsonl", "head.jsonl", "--allow", "suite")
    assert done.exit_code == 0 and "allowed: the suite has changed" in done.output


def test_what_is_missing_is_exit_code_3_unless_something_is_worse():
    whole = run(answers(100))
    written("base.jsonl", whole)
    written("part.jsonl", Results(whole.run, whole.answers[:95]))
    done = call("base.jsonl", "part.jsonl")
    assert done.exit_code == 3 and "missing: 5 answers, of c95, c96" in done.output
    assert call("base.jsonl", "part.jsonl", "--allow", "missing").exit_code == 0
    written("worse.jsonl", Results(whole.run, tuple(answers(50)[:95])))
    assert call("base.jsonl", "worse.jsonl").exit_code == 2


def test_what_cannot_be_read_or_is_said_wrong_is_exit_code_3():
    written("base.jsonl", run(answers(10)))
    Path("odd.jsonl").write_text("hello\n")
    assert call("base.jsonl", "odd.jsonl").exit_code == 3
    assert "line 1 is no run" in call("base.jsonl", "odd.jsonl").output
    assert call("base.jsonl", "none.jsonl").exit_code == 3
    assert call("base.jsonl").exit_code == 3
    assert call("base.jsonl", "base.jsonl", "--alpha", "2").exit_code == 3
    silent = [Answer(case=f"c{at}", repeat=0) for at in range(3)]
    written("silent.jsonl", run(silent))
    assert "no case has a score in both runs" in call("base.jsonl", "silent.jsonl").output
