"""A run's verdicts beside people's labels."""

from __future__ import annotations

import pytest

from tidegate.core.errors import ConfigError
from tidegate.jobs.evals.labels import Item, Labels
from tidegate.jobs.evals.results import Answer, Results, Run, Score
from tidegate.jobs.evals.verdicts import judged

LABELS = Labels("l", "h", "pass", tuple(Item(id, {"ann": "pass"}) for id in ("a#0", "a#1", "b", "gone")))


def run(*scores: Score, repeats: int = 1) -> Results:
    answers = [
        Answer(case=case, repeat=repeat, text="hello", scores=scores) for case in "ab" for repeat in range(repeats)
    ]
    return Results(
        Run(id="r", suite="s", suite_hash="h", subject="x", cases=("a", "b"), repeats=repeats), tuple(answers)
    )


def test_items_are_answers_or_cases_that_were_asked_once():
    judge, found = judged(LABELS, run(Score(scorer="j", passed=True, value=8, judge="m/1")), None, None)
    assert judge == "m/1"
    assert {item.id: item.verdicts for item in found.items} == {"a#0": ("pass",), "a#1": (), "b": ("pass",), "gone": ()}
    _, found = judged(LABELS, run(Score(scorer="j", passed=True, judge="m/1"), repeats=2), None, None)
    assert [item.verdicts for item in found.items] == [("pass",), ("pass",), (), ()]
    assert found.items[0].length == 5


def test_points_are_taken_where_people_gave_points_and_no_verdict_is_none():
    scale = LABELS._replace(kind="scale")
    _, found = judged(scale, run(Score(scorer="j", value=8, judge="m/1")), "m/1", "j")
    assert found.items[0].verdicts == (8,)
    _, found = judged(LABELS, run(Score(scorer="j", outcome="malformed", judge="m/1")), None, None)
    assert found.items[0].verdicts == (None,)


def test_of_two_answers_both_orders_are_taken():
    pair = Labels("l", "h", "pair", (Item("a", {"ann": "1"}), Item("b", {"ann": "2"})))
    _, found = judged(pair, run(Score(scorer="j", value=0.5, judge="m/1", orders=("1", "2"))), None, None)
    assert [item.verdicts for item in found.items] == [("1", "2"), ("1", "2")]
    _, found = judged(pair, run(Score(scorer="j", outcome="refused", judge="m/1")), None, None)
    assert found.items[0].verdicts == (None, None)


def test_who_is_meant_must_be_plain():
    two = run(*(Score(scorer=f"j.{name}", value=1, passed=True, judge="m/1") for name in "ab"))
    with pytest.raises(ConfigError, match=r"several judgments fit.*--scorer j\.b"):
        judged(LABELS, two, "m/1", None)
    with pytest.raises(ConfigError, match=r"there is: --judge m/1 --scorer j\.a"):
        judged(LABELS, two, "m/2", None)
    with pytest.raises(ConfigError, match="none at all"):
        judged(LABELS, run(Score(scorer="contains", value=1)), None, None)


def test_of_a_rubric_the_verdict_over_all_is_meant():
    rubric = (Score(scorer="j", value=8, passed=True, judge="m/1"), Score(scorer="j.tone", value=3, judge="m/1"))
    for kind, verdict in (("pass", "pass"), ("scale", 8)):
        _, found = judged(LABELS._replace(kind=kind), run(*rubric), None, None)
        assert found.items[0].verdicts == (verdict,)
    _, found = judged(LABELS._replace(kind="scale"), run(*rubric), None, "j.tone")
    assert found.items[0].verdicts == (3,)
