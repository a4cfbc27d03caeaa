"""The bench of compression: paragraphs with questions are not ours to ship, so these are made up, in the same form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_bench import bench

FIGURES = {
    "kept_at_35", "kept_at_50", "kept_at_70", "random_kept_at_35", "cpu_ms_per_1k_tokens", "level0_saved_json",
    "hard_kept_at_35", "hard_kept_at_50", "hard_kept_at_70", "saved_at_35", "saved_at_50", "saved_at_70", "left_alone",
}  # fmt: skip
PLACES = ("Moorgate", "Tidewell", "Quayside", "Weirford", "Lockham", "Ebbing", "Sluice Hill", "Harbourne")
ROLES = ("keeper", "pilot", "mason", "clerk")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Articles of five paragraphs, each with a question for one of its sentences."""
    articles = [
        {"title": place, "paragraphs": [_paragraph(place, role) for role in (*ROLES, "cook")]} for place in PLACES
    ]
    (tmp_path / "compression").mkdir()
    (tmp_path / "compression" / "xquad_en.json").write_text(json.dumps({"data": articles}), "utf-8")
    return tmp_path


def _paragraph(place: str, role: str) -> dict[str, object]:
    first = f"{place} lies on a wide river, and the {role} of the town lives beside it with a dog and two grey horses. "
    answer = f"The {role} of {place} was paid {len(place) * len(role)} coins in every year. "
    context = first + answer + "Nobody has written down what became of the lamp, the boat and the long blue rope. " * 2
    start = context.index(" coins") - 2
    asks = {"question": f"How much was the {role} of {place} paid?", "answers": [{"answer_start": start, "text": "10"}]}
    return {"context": context.strip(), "qas": [asks]}


def test_every_figure_of_compression_is_taken(data: Path) -> None:
    done = bench("compression", "--data", str(data), "--quick", "--half", "both", "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["figures"]) >= FIGURES
    assert found["figures"]["kept_at_50"] > 0.9 > found["figures"]["random_kept_at_50"]
    assert {row["method"] for row in found["rows"]} == {"ours", "bm25", "random", "head"}


def test_paragraphs_that_are_not_there_are_named(tmp_path: Path) -> None:
    done = bench("compression", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "compression/xquad_en.json" in done.stderr
