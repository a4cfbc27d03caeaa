"""What a run comes to: every repeat counted, nothing that is missing left unsaid."""

from __future__ import annotations

import pytest

from tests.jobs.evals.test_compare import run, said
from tidegate.core.stats.screening import Screening, wilson
from tidegate.jobs.evals.card import Card
from tidegate.jobs.evals.results import Answer, Results, Score
from tidegate.jobs.evals.tally import counted


def test_all_repeats_are_counted_and_flaky_cases_named():
    found = counted(run([said(case, repeat=k, exact=float(case == "a" or k > 0)) for case in "ab" for k in range(3)]))
    a, b = found.cases
    assert (a.passed, b.passed, found.flaky) == ((True, True, True), (False, True, True), ["b"])
    assert b.why == "exact: since 0"
    assert found.passed.value == pytest.approx(5 / 6)
    assert found.passed[1:] == pytest.approx(wilson(5 / 3, 2)[1:]), "two cases, not six"
    assert found.criteria[0].mean.value == pytest.approx(5 / 6) and len(found.criteria[0].values) == 6


def test_no_interval_goes_beyond_its_scale():
    low, high = counted(run([said("a", exact=1), said("b", exact=0)])).criteria[0].mean[1:]
    assert (low, high) == (0, 1), "Student's of two cases goes from -5.9 to 6.9"


def test_what_is_not_there_is_said():
    whole = run([said("a", exact=1, tags=("x",)), said("b", exact=0, tags=("x",)), said("c", exact=1)])
    part = Results(whole.run, (*whole.answers[:1], Answer(case="b", repeat=0, error="upstream_timeout", tags=("x",))))
    found = counted(part)
    assert found.missing == (("c", 0),) and found.errors == {"upstream_timeout": 1}
    assert found.cases[2].missing == 1 and found.cases[1].why == "there is no answer: upstream_timeout"
    assert found.tags["x"].value == 0.5


def test_a_judgment_that_is_none_is_counted_and_never_a_score():
    outcomes = ("malformed", "malformed", "refused", "failed")
    silent = [
        Answer(case=f"c{at}", repeat=0, scores=(Score(scorer="judge", outcome=one),)) for at, one in enumerate(outcomes)
    ]
    (judge,) = counted(run([*silent, said("d", judge=8)])).criteria
    assert (judge.scored, judge.malformed, judge.refused, judge.failed) == (1, 2, 1, 1)
    assert judge.mean == (8, None, None) and judge.values == (8,)


def test_what_a_judge_let_pass_is_corrected_by_its_card():
    answers = [
        Answer(case=f"c{at}", repeat=0, scores=(Score(scorer="judge", value=8, passed=at < 70, judge="m/1"),))
        for at in range(100)
    ]
    card = Card(judge="m/1", labels="l", labels_hash="h", kind="pass", made="2026-11-26T00:00:00+00:00", items=200,
                screening=Screening(90, 10, 80, 20))  # fmt: skip
    (judge,) = counted(run(answers), lambda name: card if name == "m/1" else None).criteria
    assert judge.corrected.value == pytest.approx(0.5 / 0.7)
    (judge,) = counted(run(answers)).criteria
    assert judge.corrected.value is None


def test_times_and_costs_are_summed():
    answers = [Answer(case=f"c{at}", repeat=0, latency_ms=100.0 + at, cost_nusd=3, judging_nusd=2) for at in range(101)]
    found = counted(run(answers))
    assert (found.cost_nusd, found.judging_nusd, found.p50_ms, found.p95_ms) == (303, 202, 150, 195)
    assert found.undecided == 101 and found.passed.value is None
