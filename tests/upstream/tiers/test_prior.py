"""What is thought of a question before anybody has answered one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tidegate.core.errors import ConfigError
from tidegate.upstream.tiers.look import features
from tidegate.upstream.tiers.prior import ALIKE, AMOUNTS, OURS, Prior, Seen, learned

REST = b', "good": [0.5, 0.6], "usual": [0]}'
SHORT = "What is the capital of France?"
LONG = (
    "If each of the three teams, which had more members than they needed, lost half of them, and the second then won "
    "back twice as many as the first, how many were left in total, unless some of them never came? Explain."
)


def rows(count: int = 400) -> list[Seen]:
    """The more commas, the harder; of the second source all are easier."""
    chance, found = random.Random(3), []
    for at in range(count):
        commas = chance.randrange(6)
        source = ("hard", "easy")[at % 2]
        wrong = chance.random() < 0.1 + 0.12 * commas * (1 if source == "hard" else 0.5)
        found.append(Seen(source, features("so it is, " * commas + "and then?"), not wrong, chance.random() < 0.95))
    return found


def test_ours_takes_a_long_question_of_many_parts_for_harder() -> None:
    ours = Prior.load()
    assert ours.hard(features(LONG)) > 0.3 > -0.3 > ours.hard(features(SHORT))
    assert list(ours.usual) == sorted(ours.usual) and ours.usual[0] < -0.3 < 0.3 < ours.usual[-1]


def test_ours_says_what_it_was_learned_from_and_knows_nothing_but_counts() -> None:
    ours = Prior.load()
    assert ours.made_by == "tools/train_tiers.py" and sum(source.questions for source in ours.sources) > 8_000
    assert {one.name for one in ours.weights} == set(AMOUNTS) and all(one.weight >= 0 for one in ours.weights)


def test_tiers_are_as_good_as_models_were_in_equal_steps() -> None:
    low, middle, high = Prior.load().common(3)
    assert low < middle < high and middle - low == pytest.approx(high - middle)
    assert Prior.load().common(1) == (low,)


def test_what_is_learned_is_what_makes_questions_hard_within_each_source() -> None:
    weights = {one.name: one.weight for one in learned(rows(), "a test").weights}
    assert weights["commas"] > ALIKE and min(weights.values()) >= 0


def test_the_same_rows_teach_the_same() -> None:
    assert learned(rows(), "a test") == learned(rows(), "a test")


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (b"{", "holds no weights"),
        (b'{"weights": [{"name": "smell", "mean": 0, "deviation": 1, "weight": 1}]%s' % REST, "smell"),
        (b'{"weights": [{"name": "words", "mean": 0, "deviation": 0, "weight": 1}]%s' % REST, "words"),
        (b'{"weights": [], "good": [0.5, 1.0], "usual": [0]}', "how hard questions are"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused_with_its_name(tmp_path: Path, said: bytes, wrong: str) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(said)
    with pytest.raises(ConfigError, match=wrong) as refused:
        Prior.load(path)
    assert str(path) in refused.value.message


def test_a_file_that_is_not_there_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no weights"):
        Prior.load(tmp_path / "none.json")
    assert OURS.is_file()
