"""Comparing two runs: what is told of each criterion, and how often that is wrong."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import msgspec
import pytest

from tidegate.jobs.evals.compare import Change, Comparison, Rule, compared, differing
from tidegate.jobs.evals.results import Answer, Results, Run, Score

ROUNDS = int(os.environ.get("TIDEGATE_GATES", "80"))  # 2,000 of them take some minutes
QUICK = Rule(draws=20)


def run(answers: Sequence[Answer], **fields: object) -> Results:
    cases = tuple(dict.fromkeys(answer.case for answer in answers))
    repeats = 1 + max(answer.repeat for answer in answers)
    given: dict[str, object] = {"id": "r", "suite": "s", "suite_hash": "h", "subject": "route:fast"}
    given |= {"cases": cases, "repeats": repeats} | fields
    return Results(msgspec.convert(given, Run), tuple(answers))


def said(case: str, *, repeat: int = 0, text: str = "", tags: tuple[str, ...] = (), **values: float) -> Answer:
    scores = tuple(
        Score(scorer=name, value=value, passed=value >= (7 if value > 1 else 1), why=f"since {value:g}")
        for name, value in values.items()
    )
    return Answer(case=case, repeat=repeat, text=text, tags=tags, scores=scores)


def of(found: Comparison, criterion: str, tag: str = "") -> Change:
    (one,) = (one for one in (*found.changes, *found.tags) if (one.criterion, one.tag) == (criterion, tag))
    return one


def test_what_fails_now_and_passed_before_is_a_regression():
    base = run([said(f"c{at}", exact=1) for at in range(100)])
    head = run([said(f"c{at}", exact=float(at >= 15), text="oh") for at in range(100)])
    found = compared(base, head, Rule())
    exact = of(found, "exact")
    assert (exact.verdict, exact.lost, exact.gained, exact.base, exact.head) == ("regressed", 15, 0, 1, 0.85)
    assert exact.difference.low is not None and exact.difference.low < -0.15 < exact.difference.high
    assert {one.criterion for one in found.regressed} == {"exact"}, "it decides alone, and is told once"
    worse = [one for one in found.examples if one.criterion == "exact"]
    assert len(worse) == 3 and {(one.base, one.head, one.head_text, one.head_why) for one in worse} == {
        (1, 0, "oh", "since 0")
    }
    assert of(compared(head, base, Rule()), "exact").verdict == "improved"


def test_the_same_again_is_no_evidence_and_with_few_cases_underpowered():
    many = run([said(f"c{at}", exact=1, similar=0.8) for at in range(300)])
    assert {one.verdict for one in compared(many, many, Rule()).changes} == {"no evidence"}
    few = run([said(f"c{at}", exact=1, similar=0.8) for at in range(5)])
    short = of(compared(few, few, Rule()), "exact")
    assert (short.verdict, short.smallest) == ("underpowered", None) and short.wanted is not None and short.wanted > 20


def test_a_case_counts_once_however_often_it_was_asked():
    """Two of eight cases have broken: asked 20 times, that is still two cases."""
    base = run([said(f"c{at}", repeat=k, exact=1) for at in range(8) for k in range(20)])
    head = run([said(f"c{at}", repeat=k, exact=float(at > 1)) for at in range(8) for k in range(20)])
    assert of(compared(base, head, Rule()), "exact").verdict == "underpowered"


def test_points_are_compared_as_points():
    chance = random.Random(2)
    base = run([said(f"c{at}", judge=chance.choice((6, 7, 8, 9))) for at in range(80)])
    worse = [answer.scores[0].value - chance.choice((0, 0, 1)) for answer in base.answers]
    head = run([said(answer.case, judge=value) for answer, value in zip(base.answers, worse, strict=True)])
    judge = of(compared(base, head, Rule()), "judge")
    assert (judge.kind, judge.verdict) == ("points", "regressed")
    assert judge.smallest is not None and 0 < judge.smallest < 1


def test_a_scale_is_what_the_scorer_says_it_is():
    def answers(value: float) -> list[Answer]:
        score = Score(scorer="judge", value=value, scale=(1, 10))
        return [Answer(case=f"c{at}", repeat=0, scores=(score,)) for at in range(30)]

    same = of(compared(run(answers(1)), run(answers(1)), Rule()), "judge")
    assert same.kind == "points" and same.smallest is not None and same.smallest > 0.05


def test_a_change_in_one_tag_is_told_of_that_tag():
    def answers(broken: int) -> list[Answer]:
        return [
            said(f"{tag}{at}", tags=(tag,), exact=float(not (tag == "de" and at < broken)))
            for tag, count in (("en", 400), ("de", 40))
            for at in range(count)
        ]

    found = compared(run(answers(0)), run(answers(20)), Rule())
    assert of(found, "exact", "de").verdict == "regressed" and of(found, "exact", "en").verdict != "regressed"


def test_a_judge_that_may_not_gate_regresses_for_nobody():
    def answers(value: float) -> list[Answer]:
        score = Score(scorer="judge", value=value, passed=value > 6, advisory=True, judge="m/1")
        return [Answer(case=f"c{at}", repeat=0, scores=(score,)) for at in range(60)]

    found = compared(run(answers(9)), run(answers(2)), Rule())
    assert of(found, "judge").verdict == "regressed" and of(found, "judge").advisory
    assert found.regressed == []


def test_an_answer_that_there_is_none_of_has_failed_and_a_judgment_that_is_none_is_left_out():
    base = run([said(f"c{at}", exact=1) for at in range(40)])
    gone = [Answer(case=f"c{at}", repeat=0, error="upstream_timeout") for at in range(20)]
    head = run([*gone, *base.answers[20:]])
    found = compared(base, head, Rule())
    assert of(found, "passed").verdict == "regressed"
    assert (of(found, "exact").left_out, of(found, "exact").cases) == (20, 20)
    silent = [Answer(case=f"c{at}", repeat=0, scores=(Score(scorer="exact", outcome="malformed"),)) for at in range(40)]
    with pytest.raises(ValueError, match="no case has a score in both"):
        compared(base, run(silent), Rule())


def test_missing_answers_are_named():
    base = run([said("a", exact=1), said("b", exact=1)])
    head = Results(base.run, base.answers[:1])
    assert compared(base, head, Rule()).missing == (("b", 0),)


def test_a_suite_that_has_changed_says_what():
    base = run([said("a", exact=1), said("b", exact=1)])
    head = run([said("a", fuzzy=1), said("c", fuzzy=1)], suite_hash="i")
    assert differing(base, head)["suite"] == (
        "the suite has changed (h, now i): cases new: c; cases gone: b; scorers new: fuzzy; scorers gone: exact"
    )
    words = run(base.answers, suite_hash="i")
    assert "other words under the same names" in differing(base, words)["suite"]
    assert differing(base, base) == {}


def test_another_judge_is_another_ruler():
    def answers(judge: str) -> list[Answer]:
        return [Answer(case="a", repeat=0, scores=(Score(scorer="j", value=8, judge=judge),))]

    found = differing(run(answers("m/1")), run(answers("m/2")))
    assert found == {"judge": "another judge looked: j: m/1 became m/2"}


# --- how often it is wrong


class World:
    """Cases of which some are harder, asked three times each: repeats of a case are alike, criteria go together."""

    def __init__(self, seed: int, cases: int = 80, repeats: int = 3) -> None:
        self.chance = random.Random(seed)
        self.repeats = repeats
        self.ease = [self.chance.betavariate(4, 1) for _ in range(cases)]

    def untagged(self, *, broken: float = 0.0, lower: float = 0.0) -> Results:
        found = self.answers(broken=broken, lower=lower)
        return run([msgspec.structs.replace(answer, tags=()) for answer in found.answers])

    def answers(self, *, broken: float = 0.0, lower: float = 0.0) -> Results:
        """`broken`: the share of cases that are lost altogether. `lower`: by how many points all are worse."""
        return run(list(self._answers(broken / (sum(self.ease) / len(self.ease)), lower)))

    def _answers(self, broken: float, lower: float) -> Iterator[Answer]:
        dice = self.chance
        for at, ease in enumerate(self.ease):
            lost = dice.random() < broken
            for repeat in range(self.repeats):
                good = dice.random() < ease and not lost
                point = 3 + 4 * ease + dice.gauss(0, 1) - lower  # seldom at an end of the scale
                tag = "odd" if at % 2 else "even"
                values = {"exact": float(good), "tidy": float(good or dice.random() < 0.5)}
                values["judge"] = float(min(10, max(1, round(point))))
                scores = tuple(Score(scorer=name, value=value) for name, value in values.items())
                scores += (Score(scorer="gate", value=float(good), passed=good),)
                yield Answer(case=f"c{at}", repeat=repeat, tags=(tag,), scores=scores)


def often(rounds: int, told: Callable[[World], bool]) -> float:
    return sum(told(World(seed)) for seed in range(rounds)) / rounds


def slack(share: float) -> float:
    return 2.6 * (share * (1 - share) / ROUNDS) ** 0.5


def test_where_nothing_has_changed_a_regression_is_told_of_one_in_twenty_at_most():
    """Any of four criteria, in the whole suite or in a tag."""
    wrong = often(ROUNDS, lambda world: bool(compared(world.answers(), world.answers(), QUICK).regressed))
    print(f"\nwrong: {wrong:.4f} of {ROUNDS}")
    assert wrong <= 0.05 + slack(0.05)


@pytest.mark.parametrize(("criterion", "change"), [("exact", "broken"), ("judge", "lower")])
def test_a_change_of_the_size_that_is_printed_is_found_four_times_of_five(criterion: str, change: str):
    printed = []
    for seed in range(9):
        world = World(1_000 + seed)
        smallest = of(compared(world.untagged(), world.untagged(), QUICK), criterion).smallest
        assert smallest is not None
        printed.append(smallest)
    size = median(printed)

    def told(world: World) -> bool:
        return of(compared(world.untagged(), world.untagged(**{change: size}), QUICK), criterion).verdict == "regressed"

    found = often(ROUNDS, told)
    print(f"\nfound {criterion} at {size:.3f}: {found:.4f} of {ROUNDS}")
    assert found >= 0.8 - slack(0.8)
