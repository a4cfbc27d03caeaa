"""Labels: what people may write, and what they are told where it cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.core.errors import ConfigError
from tidegate.jobs.evals.labels import read


@pytest.fixture
def said(tmp_path: Path):
    def write(text: str, name: str = "labels.jsonl"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read(path)

    return write


def test_lines_of_one_item_belong_together(said):
    labels = said(
        '{"item": "a", "label": "pass", "labeller": "ann", "verdict": "fail", "length": 12}\n'
        '{"item": "b", "labels": ["pass", "fail", "Pass"]}\n'
        '\n{"item": "a", "label": "bad", "labeller": "bob"}\n'
        '{"item": "a", "label": true, "labeller": "bob"}\n'
    )
    a, b = labels.items
    assert labels.kind == "pass" and labels.name == "labels"
    assert (a.labels, a.verdicts, a.length) == ({"ann": "pass", "bob": "pass"}, ("fail",), 12)
    assert b.gold == "pass" and len(b.labels) == 3 and b.verdicts == ()


def test_a_table_has_a_column_for_each_person(said):
    labels = said("item,label:ann,label:bob,verdict\nq1,8,6,7\nq2,3,,\n", "labels.csv")
    assert labels.kind == "scale" and [item.gold for item in labels.items] == [7, 3]
    assert [item.verdicts for item in labels.items] == [(7,), (None,)]


def test_two_answers_are_judged_in_both_orders(said):
    labels = said(
        '{"item": "a", "label": 1, "ab": "A", "ba": null}\n{"item": "b", "label": "tie", "ab": 2, "ba": "tie"}\n'
    )
    assert labels.kind == "pair"
    assert [(item.gold, item.verdicts) for item in labels.items] == [("1", ("1", None)), ("tie", ("2", "tie"))]


def test_which_of_two_is_better_is_seen_in_words_or_told(said, tmp_path: Path):
    assert said('{"item": "a", "label": "A"}\n{"item": "b", "label": "tie"}').kind == "pair"
    text = '{"item": "a", "label": 1}\n{"item": "b", "label": 2}'
    assert said(text).kind == "scale"
    assert [item.gold for item in read(tmp_path / "labels.jsonl", "pair").items] == ["1", "2"]


def test_people_who_are_split_say_nothing(said):
    assert said('{"item": "a", "labels": {"ann": "pass", "bob": "fail"}}').items[0].gold is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nobody has said anything"),
        ('{"item": "a", "label": "pass"}\n[1]', ":2: is no JSON object"),
        ('{"item": "a", "label": "pass"}\n{"item": "b", ', ":2: is no JSON object"),
        ('{"label": "pass"}', ":1: no item"),
        ('{"item": "a", "label": 7}\n{"item": "b", "label": "superb"}', ":2: 'superb' is no number of points"),
        ('{"item": "a", "label": 3, "ab": 1}', ":1: 3 is none of: 1, 2, tie"),
        ('{"item": "a", "verdict": "pass"}', "nobody says anything of a"),
        ('{"item": "a", "label": "pass", "length": "long"}', "length 'long' is no number"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(said, text, why):
    with pytest.raises(ConfigError, match=why.replace("(", r"\(").replace("[", r"\[")):
        said(text)


def test_labels_that_are_not_there_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.csv: cannot be read"):
        read(tmp_path / "none.csv")
