"""Cards in a folder: whom they let gate, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tidegate.core.errors import ConfigError
from tidegate.jobs.evals import deck, labels
from tidegate.jobs.evals.card import Policy, made


def calibrated(folder: Path, judge: str, *, wrong: int = 0, name: str = "labels", age_days: float = 0) -> Path:
    """A judge that is wrong of so many of 120."""
    file = folder / f"{name}.jsonl"
    golds = ["pass", "fail"] * 60
    said = [gold if at >= wrong else "fail" if gold == "pass" else "pass" for at, gold in enumerate(golds)]
    lines = (f'{{"item": "{at}", "label": "{golds[at]}", "verdict": "{said[at]}"}}\n' for at in range(120))
    file.write_text("".join(lines))
    now = datetime.now(UTC) - timedelta(days=age_days)
    deck.keep(folder / "cards", made(judge, labels.read(file), now), file)
    return file


def test_only_whoever_has_a_good_card_may_gate(tmp_path: Path):
    calibrated(tmp_path, "owl/1", wrong=2)
    calibrated(tmp_path, "coin/1", wrong=60, name="others")
    may = deck.may_gate(tmp_path / "cards", Policy())
    assert may("owl/1") and not may("coin/1")
    assert not may("owl/2"), "with another prompt or rubric it is another judge"
    assert not deck.may_gate(tmp_path / "none", Policy())("owl/1")


def test_a_judge_that_fails_on_the_hard_ones_may_not_gate(tmp_path: Path):
    calibrated(tmp_path, "owl/1", wrong=2, name="easy")
    calibrated(tmp_path, "owl/1", wrong=80, name="hard")
    reasons = deck.against(tmp_path / "cards", "owl/1", Policy(), datetime.now(UTC))
    assert reasons and all(reason.startswith("on hard: ") for reason in reasons)


def test_a_card_ends_when_its_labels_change_or_its_days_are_over(tmp_path: Path):
    file, cards, now = calibrated(tmp_path, "owl/1"), tmp_path / "cards", datetime.now(UTC)
    assert deck.against(cards, "owl/1", Policy(), now) == []
    assert deck.against(cards, "owl/1", Policy(), now + timedelta(days=100)) != []
    file.write_text(file.read_text() + '{"item": "new", "label": "pass"}\n')
    assert deck.against(cards, "owl/1", Policy(), now) == ["on labels: the labels have changed since"]
    file.unlink()
    assert deck.against(cards, "owl/1", Policy(), now) == [], "labels may stay where they were made"


def test_a_newer_card_takes_the_place_of_the_older(tmp_path: Path):
    calibrated(tmp_path, "owl/1", wrong=60)
    calibrated(tmp_path, "owl/1", wrong=0)
    assert deck.may_gate(tmp_path / "cards", Policy())("owl/1")
    assert len(deck.read(tmp_path / "cards")) == 1


def test_what_is_no_card_is_told(tmp_path: Path):
    (tmp_path / "note.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"note\.json: is no card of a judge"):
        deck.read(tmp_path)
