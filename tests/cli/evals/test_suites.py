"""tidegate eval run, as one types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tidegate.cli import main
from tidegate.jobs.evals import deck
from tidegate.jobs.evals.card import Policy

SUITE = """\
subject: route:fast
scorers: [{type: contains}]
cases:
  - {id: hello, input: hello world, expected_elements: [hello, world]}
  - {id: bye, input: bye, expected_elements: [bye]}
"""
CONFIG = """\
providers: {main: {type: scripted, price: {input: 1, output: 2}}}
routes: {fast: {targets: [{provider: main, model: m}]}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "tidegate.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "answers.jsonl").write_text('{"case": "hello", "text": "hello"}\n', encoding="utf-8")
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["eval", "run", *words])


def test_a_suite_is_run_with_a_gateway_of_its_own_and_its_results_are_kept(here: Path):
    done = run("suite.yaml", "--out", "run.jsonl", "--repeats", "2")
    assert done.exit_code == 0, done.output
    assert "suite: route:fast, 2 cases × 2\n  4 passed, 0 failed" in done.output and "cost $0.000062000" in done.output
    head, *answers = map(json.loads, (here / "run.jsonl").read_text("utf-8").splitlines())
    assert (head["suite"], head["repeats"], len(answers)) == ("suite", 2, 4)
    again = run("suite.yaml", "--out", "run.jsonl", "--repeats", "2")
    assert again.exit_code == 0 and "run.jsonl is gone on with: 4 answers are there" in again.output


def test_a_bad_answer_ends_with_1(here: Path):
    done = run("suite.yaml", "--subject", "stored:answers.jsonl", "--out", "run.jsonl")
    assert done.exit_code == 1
    assert "failed: hello #1: contains: without 'world'" in done.output
    assert "failed: bye #1: there is no answer: not_stored" in done.output


JUDGED = """\
subject: stored:answers.jsonl
gate: {{accuracy: {accuracy}, items: 5}}
scorers: [{{type: rubric, model: [fast], criteria: [{{name: right, anchors: {{1: wrong, 10: right}}}}]}}]
cases: [{{id: hello, input: hello}}]
"""


def test_a_judge_with_a_card_decides_and_one_without_advises(here: Path):
    (here / "suite.yaml").write_text(JUDGED.format(accuracy=0.8), encoding="utf-8")
    done = run("suite.yaml", "--out", "first.jsonl")  # the scripted model is no judge: what it says is no verdict
    (score,) = json.loads((here / "first.jsonl").read_text("utf-8").splitlines()[1])["scores"]
    assert (score["outcome"], score["advisory"]) == ("malformed", True), done.output
    lines = (
        f'{{"item": "{at}", "label": "{word}", "verdict": "{word}"}}\n'
        for at in range(30)
        for word in ["pass", "fail"][at % 2 : at % 2 + 1]
    )
    (here / "labels.jsonl").write_text("".join(lines), encoding="utf-8")
    assert CliRunner().invoke(main, ["eval", "calibrate", "labels.jsonl", "--judge", score["judge"]]).exit_code == 0
    assert deck.may_gate(here / "judge-cards", Policy(items=5))(score["judge"])
    assert not deck.may_gate(here / "judge-cards", Policy(accuracy=0.95))(score["judge"])
    strict = JUDGED.format(accuracy=0.95)
    (here / "suite.yaml").write_text(strict, encoding="utf-8")
    assert run("suite.yaml", "--out", "first.jsonl").exit_code == 0, "what may gate is no part of a suite's hash"


def test_what_could_not_be_run_to_its_end_ends_with_3_and_says_what_is_missing(here: Path):
    done = run("suite.yaml", "--subject", "route:fats", "--out", "run.jsonl")
    assert done.exit_code == 3
    assert "missing: 2 of 2 answers, of hello, bye: " in done.output and "did you mean 'fast'" in done.output
    assert "go on with: tidegate eval run suite.yaml --out run.jsonl" in done.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("none.yaml",), "none.yaml: cannot be read"),
        (("none",), "no suite none; name a file of YAML"),
        (("suite.yaml", "--repeats", "0"), "Invalid value for '--repeats'"),
        (("suite.yaml", "--subject", "stored:none.jsonl", "--out", "run.jsonl"), "none.jsonl: cannot be read"),
        (("suite.yaml", "--subject", "function:nowhere:f", "--out", "run.jsonl"), "cannot be loaded"),
        (("suite.yaml", "--url", "http://127.0.0.1:9"), "a key is needed"),
        (("suite.yaml", "--url", "ftp://x", "--key", "k", "--out", "run.jsonl"), "--url must be like"),
    ],
)
def test_what_cannot_begin_ends_with_3(here: Path, words: tuple[str, ...], told: str):
    done = run(*words)
    assert done.exit_code == 3 and told in done.output
    assert not (here / "run.jsonl").exists()


def test_a_suite_and_a_subject_may_be_python(here: Path):
    (here / "mine.py").write_text(
        "from tidegate.core.scores import Case\n"
        "from tidegate.jobs.evals.suite import Suite\n"
        "def answer(case): return case.input.upper()\n"
        "support = Suite(subject='function:mine:answer', cases=(Case(id='a', input='hi', reference='HI'),),\n"
        "    scorers=({'type': 'equality', 'case_sensitive': True}, {'type': 'regex', 'pattern': '[A-Z]+'}))\n",
        encoding="utf-8",
    )
    done = run("mine:support", "--out", "run.jsonl")
    assert done.exit_code == 0, done.output
    assert "support: function:mine:answer, 1 cases × 1\n  1 passed" in done.output
