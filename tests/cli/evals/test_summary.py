"""What a run comes to: on one screen, and as an exit code."""

from __future__ import annotations

import pytest

from tidegate.cli.evals.summary import exit_code, summary
from tidegate.core.scores import Score
from tidegate.jobs.evals.results import Answer, Results, Run

GOOD = Score(scorer="words", value=1, passed=True)
BAD = Score(scorer="words", value=0, passed=False, why="without 'x'")
ADVICE = Score(scorer="judge", value=2, passed=False, advisory=True, judge="m/1")
NONE = Score(scorer="judge", outcome="malformed", why="prose", judge="m/1")


def results(*answers: tuple[Score, ...], cases: int = 0, error: str = "") -> Results:
    names = tuple(f"c{at}" for at in range(cases or len(answers)))
    run = Run(id="r", suite="s", suite_hash="0" * 16, subject="route:fast", cases=names)
    found = [Answer(case=f"c{at}", repeat=0, scores=scores, error=error) for at, scores in enumerate(answers)]
    return Results(run, tuple(found))


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (results((GOOD,), (GOOD, ADVICE)), 0),
        (results((GOOD,), (BAD,)), 1),
        (results((ADVICE,)), 0),
        (results((), error="upstream_unavailable"), 1),
        (results((GOOD,), cases=2), 3),
        (results((BAD,), cases=2), 3),
        (results((GOOD, NONE)), 3),  # a judge that may decide gave no score
        (results((BAD, NONE)), 1),
        (results((GOOD, Score(scorer="judge", outcome="failed", advisory=True))), 0),
    ],
)
def test_an_exit_code_is_good_only_where_all_who_decide_have_said_so(found: Results, code: int):
    assert exit_code(found) == code


def test_what_is_wrong_is_said_by_case():
    told = "\n".join(summary(results((BAD, ADVICE), (GOOD, NONE), cases=3), "it was interrupted"))
    assert "1 passed, 1 failed, 0 with nobody who may decide" in told
    assert "failed: c0 #1: words: without 'x'" in told
    assert "judge: mean 2 of 1, 0 of 1 passed (advisory: this judge may not decide), 1 malformed" in told
    assert "undecided: c1 #1: judge: malformed: prose" in told
    assert "missing: 1 of 3 answers, of c2: it was interrupted" in told


def test_cases_that_pass_only_sometimes_are_named():
    run = Run(id="r", suite="s", suite_hash="0" * 16, subject="route:fast", cases=("a", "b"), repeats=2)
    scores = {("a", 0): GOOD, ("a", 1): BAD, ("b", 0): GOOD, ("b", 1): GOOD}
    found = [Answer(case=case, repeat=repeat, scores=(score,)) for (case, repeat), score in scores.items()]
    assert "  flaky: a" in summary(Results(run, tuple(found)))
