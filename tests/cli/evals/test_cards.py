"""Judges in the terminal: calibrated, and asked whether they may gate."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from tidegate.cli import main
from tidegate.jobs.evals.results import Answer, Run, Score


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["eval", *words])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def labels(right: float, n: int = 120) -> None:
    chance = random.Random(1)
    lines = []
    for at in range(n):
        gold = chance.choice(("pass", "fail"))
        said = gold if chance.random() < right else "fail" if gold == "pass" else "pass"
        lines.append(json.dumps({"item": f"c{at}", "label": gold, "labeller": "ann", "verdict": said}))
    Path("labels.jsonl").write_text("\n".join(lines))


def test_a_good_judge_gets_a_card_with_which_it_may_gate():
    labels(0.97)
    done = call("calibrate", "labels.jsonl", "--judge", "gpt/1f", "--strict")
    assert done.exit_code == 0, done.output
    assert "It may gate." in done.output and "accuracy" in done.output
    assert call("judges").output == "gpt/1f: may gate\n"


def test_a_judge_at_chance_is_advisory_and_says_why():
    labels(0.5)
    done = call("calibrate", "labels.jsonl", "--judge", "coin/1f", "--strict")
    assert done.exit_code == 1 and "Its verdict is advisory" in done.output and "it must be above 0.8" in done.output
    assert call("calibrate", "labels.jsonl", "--judge", "coin/1f").exit_code == 0
    assert call("judges").output.startswith("coin/1f: advisory\n  on labels: accuracy is")


def test_bars_are_yours():
    labels(0.9)
    words = ("calibrate", "labels.jsonl", "--judge", "m/1", "--strict")
    assert call(*words, "--accuracy", "0.95").exit_code == 1
    assert call(*words, "--accuracy", "0.7", "--kappa", "0.5").exit_code == 0
    assert "no bar that a judge" in call(*words, "--accuracy", "1.5").output


def test_the_answers_of_a_run_are_what_was_labelled():
    labels(1.0)
    cases = tuple(f"c{at}" for at in range(120))
    lines = [Run(id="r", suite="s", suite_hash="h", subject="route:fast", cases=cases)]
    for case in cases:
        said = (Score(scorer="judge", value=8, passed=True, judge="gpt/1f"),)
        lines.append(Answer(case=case, repeat=0, text="hello", scores=said))
    Path("run.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    done = call("calibrate", "labels.jsonl", "--run", "run.jsonl", "--json")
    assert done.exit_code == 0, done.output
    card = json.loads(done.output)
    assert (card["judge"], card["kappa"][0], card["items"]) == ("gpt/1f", 0, 120)


def test_what_is_missing_is_asked_for():
    labels(1.0)
    assert "--judge MODEL/HASH" in call("calibrate", "labels.jsonl").output
    assert call("judges").output.startswith("no judge has a card in judge-cards")
    Path("labels.jsonl").write_text('{"item": "a", "label": "pass"}')
    assert "of no item of labels" in call("calibrate", "labels.jsonl", "--judge", "m/1").output
