"""Labels in the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.evals.test_changes import written
from tests.jobs.evals.test_compare import run, said
from tidegate.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    written("run.jsonl", run([said(f"c{at}", text=f"answer {at} \x1b[2J", judge=9) for at in range(4)]))
    return tmp_path


def call(*words: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, ["eval", *words], input=typed)


def lines() -> list[dict[str, object]]:
    return [json.loads(line) for line in Path("labels.jsonl").read_text().splitlines()]


def test_somebody_says_what_answers_are_worth():
    done = call("label", "run.jsonl", "--as", "ann", typed="p\nfine\nx\nf\n\ns\nq\n")
    assert done.exit_code == 0, done.output
    assert "2 labelled in labels.jsonl, 2 to go" in done.output
    assert [(line["label"], line.get("comment"), line["labeller"]) for line in lines()] == [
        ("pass", "fine", "ann"),
        ("fail", None, "ann"),
    ]
    assert lines()[0]["length"] == len("answer 0 \x1b[2J")
    assert "since 9" not in done.output and "\x1b" not in done.output, "no verdict is shown, no terminal obeys"
    assert "ann has labelled everything" in [call("label", "run.jsonl", "--as", "ann", typed="p\n\n" * 2), call(
        "label", "run.jsonl", "--as", "ann")][1].output  # fmt: skip


def test_what_was_asked_is_shown_where_the_suite_is_named():
    Path("suite.yaml").write_text("""\
subject: route:fast
scorers: [{type: contains}]
cases: [{id: c0, input: "what is it?", expected_elements: [it]}]
""")
    written("run.jsonl", run([said("c0", text="it", judge=9)]))
    done = call("label", "run.jsonl", "--suite", "suite.yaml", "--as", "ann", typed="p\n\n")
    assert "user: what is it?\nanswer: it" in done.output, done.output


def test_points_are_from_1_to_10():
    done = call("label", "run.jsonl", "--as", "ann", "--points", "--most", "1", typed="11\n0\n7\n\n")
    assert done.exit_code == 0 and lines()[0]["label"] == 7


def test_how_far_people_agree():
    for who, words in (("ann", "p\n\np\n\nf\n\nf\n\n"), ("bob", "p\n\np\n\np\n\np\n\n")):
        assert call("label", "run.jsonl", "--as", who, typed=words).exit_code == 0
    done = call("agreement", "labels.jsonl")
    assert "4 items of which two or more" in done.output and "they say the same of 50.0%" in done.output
    assert "ann and bob: 4 items" in done.output and done.output.count("split: ") == 2


def test_of_one_person_there_is_no_agreement():
    call("label", "run.jsonl", "--as", "ann", "--most", "1", typed="p\n\n")
    assert "of no item in labels.jsonl" in call("agreement", "labels.jsonl").output
    assert "whose labels" in call("label", "run.jsonl", "--as", " ").output


def test_what_is_labelled_can_be_calibrated():
    written("run.jsonl", run([said("a", text="x", judge=9)]))
    call("label", "run.jsonl", "--as", "ann", typed="p\n\n")
    assert "there is: none at all" in call("calibrate", "labels.jsonl", "--run", "run.jsonl").output
