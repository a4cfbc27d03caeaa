"""Has it become better or worse? Two runs of one suite, case by case, and how sure that is.

Answers to the same case are not independent: a case is one difference, however often it was asked. Of many criteria
some seem to change by chance: p is adjusted for that, of the whole suite's together and of those of all tags together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, pstdev
from typing import Literal, NamedTuple

import msgspec

from tidegate.core.stats.paired import benjamini_hochberg, bootstrap, flipped, mcnemar
from tidegate.core.stats.power import POWER, cases_for, smallest_drop, smallest_shift
from tidegate.core.stats.screening import Estimate
from tidegate.jobs.evals.results import Answer, Results, Run

Verdict = Literal["improved", "regressed", "no evidence", "underpowered"]
PASSED = "passed"  # the criterion of answers as a whole
FEW_EXAMPLES = 3  # of each criterion and direction
POINTS = 10.0  # of a rubric's scale, from 1


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """How sure it must be.

    alpha: how often, of suites where nothing has changed, a change is told all the same.
    matters: the share of the scale that must not be overlooked; where it would be, a criterion is underpowered.
    draws: for the interval of a difference.
    """

    alpha: float = 0.05
    matters: float = 0.1
    draws: int = 2_000


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Of one criterion, in the whole suite or in the cases of a tag."""

    criterion: str
    tag: str = ""
    kind: Literal["share", "points"]  # of answers that passed, or of whatever scale the scorer has
    advisory: bool
    cases: int  # that could be compared
    left_out: int  # that could not: one of the runs has no score
    base: float
    head: float
    difference: Estimate
    lost: int  # cases that are worse
    gained: int
    p: float
    adjusted: float
    smallest: float | None  # change that would be found four times of five; None: none would
    wanted: int | None = None  # cases that would show what matters
    verdict: Verdict


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One case, before and after."""

    criterion: str
    case: str
    better: bool
    base: float
    head: float
    base_text: str
    head_text: str
    base_why: str = ""
    head_why: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    base: Run
    head: Run
    rule: Rule
    changes: tuple[Change, ...]
    tags: tuple[Change, ...]
    examples: tuple[Example, ...]
    missing: tuple[tuple[str, int], ...]  # answers that one of the runs has none of
    allowed: tuple[str, ...] = ()  # what differs, and was let pass

    @property
    def regressed(self) -> list[Change]:
        """By those that may say so."""
        return [one for one in (*self.changes, *self.tags) if one.verdict == "regressed" and not one.advisory]


class Look(NamedTuple):
    """What one criterion makes of one answer."""

    value: float
    why: str
    text: str
    scale: tuple[float, float] = (0.0, 1.0)


Looks = Mapping[str, Mapping[str, Sequence[Look]]]  # by criterion and case


def differing(base: Results, head: Results) -> dict[str, str]:
    """What makes the two no runs of one suite, by what may be allowed: suite, judge."""
    found = {}
    before, after = base.run, head.run
    if before.suite_hash != after.suite_hash:
        said = [f"{before.suite} became {after.suite}"] if before.suite != after.suite else []
        said += _listed("case", before.cases, after.cases)
        said += _listed("scorer", _names(base.answers), _names(head.answers))
        why = "; ".join(said) or "its cases, scorers or rubrics have other words under the same names"
        found["suite"] = f"the suite has changed ({before.suite_hash}, now {after.suite_hash}): {why}"
    judges, now = _judges(base.answers), _judges(head.answers)
    others = [
        f"{name}: {judges[name]} became {now[name]}" for name in judges if now.get(name, "") not in ("", judges[name])
    ]
    if others:
        found["judge"] = f"another judge looked: {'; '.join(others)}"
    return found


def _listed(what: str, before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    for word, names in (
        ("new", [name for name in after if name not in set(before)]),
        ("gone", [name for name in before if name not in set(after)]),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            yield f"{what}s {word}: {', '.join(names[:5])}{more}"


def _names(answers: Sequence[Answer]) -> list[str]:
    return sorted({score.scorer for answer in answers for score in answer.scores})


def _judges(answers: Sequence[Answer]) -> dict[str, str]:
    found: dict[str, set[str]] = defaultdict(set)
    for answer in answers:
        for score in answer.scores:
            if score.judge:
                found[score.scorer].add(score.judge)
    return {name: ", ".join(sorted(judges)) for name, judges in found.items()}


def compared(base: Results, head: Results, rule: Rule, allowed: Sequence[str] = ()) -> Comparison:
    """Raises ValueError where they have nothing in common."""
    before, after = _looks(base.answers), _looks(head.answers)
    if any(_same(before, after, name) for name in before if name != PASSED):
        before.pop(PASSED, None)  # one criterion decides alone: it is told once
    tags = _tags((*base.answers, *head.answers))
    advisory = _advisory((*base.answers, *head.answers))
    whole = [_Pairs(name, "", before[name], after[name]) for name in before if name in after]
    whole = [one for one in whole if one.cases]
    if not whole:
        raise ValueError("no case has a score in both runs")
    by_tag = [
        _Pairs(one.criterion, tag, _only(before[one.criterion], cases), _only(after[one.criterion], cases))
        for tag, cases in tags.items()
        for one in whole
    ]
    by_tag = [
        one
        for one in by_tag
        if one.cases and len(one.cases) < len(next(w for w in whole if w.criterion == one.criterion).cases)
    ]
    return Comparison(
        base=base.run,
        head=head.run,
        rule=rule,
        changes=tuple(_changes(whole, rule, advisory)),
        tags=tuple(_changes(by_tag, rule, advisory)),
        examples=tuple(example for one in whole for example in one.examples()),
        missing=tuple(dict.fromkeys((*base.missing, *head.missing))),
        allowed=tuple(allowed),
    )


def _looks(answers: Sequence[Answer]) -> dict[str, dict[str, list[Look]]]:
    """An answer that there is none of has no score, and has not passed."""
    found: dict[str, dict[str, list[Look]]] = {}

    def add(criterion: str, answer: Answer, look: Look) -> None:
        found.setdefault(criterion, {}).setdefault(answer.case, []).append(look)

    for answer in answers:
        passed = answer.passed
        if passed is not None:
            add(PASSED, answer, Look(float(passed), answer.error, answer.text))
        for score in answer.scores:
            if score.outcome == "scored" and score.value is not None:
                add(score.scorer, answer, Look(score.value, score.why, answer.text, score.scale))
            elif score.outcome == "scored" and score.passed is not None:
                add(score.scorer, answer, Look(float(score.passed), score.why, answer.text))
    return found


def _same(before: Looks, after: Looks, name: str) -> bool:
    """Whether answers pass where this criterion does, in both runs."""

    def values(looks: Looks, criterion: str) -> dict[str, list[float]]:
        return {case: [look.value for look in found] for case, found in looks.get(criterion, {}).items()}

    return all(values(looks, name) == values(looks, PASSED) for looks in (before, after))


def _tags(answers: Sequence[Answer]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for answer in answers:
        for tag in answer.tags:
            found[tag].add(answer.case)
    return dict(sorted(found.items()))


def _advisory(answers: Sequence[Answer]) -> set[str]:
    return {score.scorer for answer in answers for score in answer.scores if score.advisory}


def _only(looks: Mapping[str, Sequence[Look]], cases: set[str]) -> dict[str, Sequence[Look]]:
    return {case: found for case, found in looks.items() if case in cases}


class _Pairs:
    """One criterion, of the cases that have it in both runs."""

    def __init__(
        self, criterion: str, tag: str, base: Mapping[str, Sequence[Look]], head: Mapping[str, Sequence[Look]]
    ) -> None:
        self.criterion = criterion
        self.tag = tag
        self.cases = [case for case in base if case in head]
        self.left_out = len(set(base) ^ set(head))
        self._base, self._head = base, head
        self.once = all(len(side[case]) == 1 for side in (base, head) for case in self.cases)
        values = {look.value for side in (base, head) for case in self.cases for look in side[case]}
        scales = {look.scale for side in (base, head) for case in self.cases for look in side[case]}
        self.share = values <= {0.0, 1.0} and scales == {(0.0, 1.0)}
        self.scale = _scale(values, scales)
        self.before = [_mean(base[case]) for case in self.cases]
        self.after = [_mean(head[case]) for case in self.cases]
        self.differences = [after - before for before, after in zip(self.before, self.after, strict=True)]

    @property
    def lost(self) -> int:
        return sum(one < 0 for one in self.differences)

    @property
    def gained(self) -> int:
        return sum(one > 0 for one in self.differences)

    def p(self) -> float:
        if self.share and self.once:
            return mcnemar(self.lost, self.gained).mid
        return flipped(self.differences)

    def deviation(self) -> float:
        """Of the differences. Where all are alike that is luck: as if one case had moved a step."""
        step = 1.0 if self.share else self.scale / (POINTS - 1)
        return max(pstdev(self.differences), step / math.sqrt(len(self.cases)))

    def smallest(self, alpha: float) -> float | None:
        find: Callable[[int, float, float], float | None] = smallest_drop if self.share else smallest_shift
        return find(len(self.cases), self.deviation(), alpha)

    def wanted(self, alpha: float, matters: float) -> int:
        spread = self.deviation() ** 2 + (matters - matters**2 if self.share else 0.0)
        return math.ceil(cases_for(matters * self.scale, math.sqrt(spread), alpha, POWER))

    def examples(self) -> Iterator[Example]:
        """The widest apart, of each direction; of several answers the best and the worst."""
        ordered = sorted(zip(self.differences, self.cases, strict=True))
        for better, few in ((False, ordered[:FEW_EXAMPLES]), (True, ordered[::-1][:FEW_EXAMPLES])):
            best, worst = (max, min) if not better else (min, max)
            for difference, case in few:
                if difference < 0 if not better else difference > 0:
                    base = best(self._base[case], key=lambda look: look.value)
                    head = worst(self._head[case], key=lambda look: look.value)
                    yield Example(
                        criterion=self.criterion,
                        case=case,
                        better=better,
                        base=base.value,
                        head=head.value,
                        base_text=base.text,
                        head_text=head.text,
                        base_why=base.why,
                        head_why=head.why,
                    )


def _mean(looks: Sequence[Look]) -> float:
    return fmean(look.value for look in looks)


def _scale(values: set[float], scales: set[tuple[float, float]]) -> float:
    """From the least to the most that the scorer can say; where it goes beyond that, by what it said."""
    low, high = min(scale[0] for scale in scales), max(scale[1] for scale in scales)
    if low <= min(values) and max(values) <= high:
        return high - low
    if min(values) >= 1 and max(values) <= POINTS:
        return POINTS - 1
    return max(values) - min(values)


def _changes(family: Sequence[_Pairs], rule: Rule, advisory: set[str]) -> Iterator[Change]:
    ps = [one.p() for one in family]
    alpha = rule.alpha / len(family) if family else rule.alpha  # at which one alone is found among all
    for one, p, adjusted in zip(family, ps, benjamini_hochberg(ps), strict=True):
        smallest = one.smallest(alpha)
        base, head = fmean(one.before), fmean(one.after)
        verdict = _verdict(head - base, adjusted, smallest, one.scale, rule)
        yield Change(
            criterion=one.criterion,
            tag=one.tag,
            kind="share" if one.share else "points",
            advisory=one.criterion in advisory,
            cases=len(one.cases),
            left_out=one.left_out,
            base=base,
            head=head,
            difference=Estimate(head - base, *bootstrap(one.differences, draws=rule.draws)),
            lost=one.lost,
            gained=one.gained,
            p=p,
            adjusted=adjusted,
            smallest=smallest,
            wanted=one.wanted(alpha, rule.matters) if verdict == "underpowered" else None,
            verdict=verdict,
        )


def _verdict(difference: float, adjusted: float, smallest: float | None, scale: float, rule: Rule) -> Verdict:
    if adjusted <= rule.alpha:
        return "improved" if difference > 0 else "regressed"
    return "underpowered" if smallest is None or smallest > rule.matters * scale else "no evidence"
