"""What does a run come to? Each criterion with its interval, every repeat of every case, and what is not there."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean, quantiles, stdev

import msgspec

from tidegate.core.stats.distributions import t_quantile
from tidegate.core.stats.screening import Estimate, wilson
from tidegate.jobs.evals.card import Card
from tidegate.jobs.evals.results import Answer, Results, Run, Score

CardOf = Callable[[str], Card | None]  # of a judge


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """What one scorer makes of all answers. Intervals know that repeats of a case are alike."""

    name: str
    judge: str = ""
    advisory: bool = False
    scored: int
    malformed: int  # a judge said something that is no verdict
    refused: int
    failed: int  # the scorer could not run
    mean: Estimate
    passed: Estimate  # share of answers; nothing is known where it has no threshold
    corrected: Estimate = Estimate(None)  # the share that people would pass, by the judge's card
    values: tuple[float, ...] = ()  # of all answers


class CaseLine(msgspec.Struct, frozen=True, kw_only=True):
    """One case, all its repeats: never the best alone."""

    case: str
    tags: tuple[str, ...]
    passed: tuple[bool | None, ...]  # by repeat
    missing: int
    why: str = ""  # of the first that failed

    @property
    def flaky(self) -> bool:
        return True in self.passed and False in self.passed


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    run: Run
    answers: int
    missing: tuple[tuple[str, int], ...]
    passed: Estimate  # share of the answers of which somebody may say so
    undecided: int
    errors: dict[str, int]  # answers that there are none of, by code
    criteria: tuple[Criterion, ...]
    tags: dict[str, Estimate]  # share that passed
    cases: tuple[CaseLine, ...]
    cost_nusd: int
    judging_nusd: int
    p50_ms: float | None
    p95_ms: float | None

    @property
    def flaky(self) -> list[str]:
        return [line.case for line in self.cases if line.flaky]


def counted(results: Results, card_of: CardOf = lambda judge: None) -> Tally:
    answers = results.answers
    times = sorted(answer.latency_ms for answer in answers if answer.latency_ms and not answer.error)
    return Tally(
        run=results.run,
        answers=len(answers),
        missing=tuple(results.missing),
        passed=_share([(answer.case, answer.passed) for answer in answers]),
        undecided=sum(answer.passed is None for answer in answers),
        errors=dict(Counter(answer.error for answer in answers if answer.error)),
        criteria=tuple(_criterion(name, found, card_of) for name, found in _by_scorer(answers).items()),
        tags=_tags(answers),
        cases=tuple(_line(results, case, found) for case, found in _by_case(results).items()),
        cost_nusd=sum(answer.cost_nusd for answer in answers),
        judging_nusd=sum(answer.judging_nusd for answer in answers),
        p50_ms=_quantile(times, 50),
        p95_ms=_quantile(times, 95),
    )


def _by_scorer(answers: Sequence[Answer]) -> dict[str, list[tuple[str, Score]]]:
    found: dict[str, list[tuple[str, Score]]] = defaultdict(list)
    for answer in answers:
        for score in answer.scores:
            found[score.scorer].append((answer.case, score))
    return found


def _criterion(name: str, found: Sequence[tuple[str, Score]], card_of: CardOf) -> Criterion:
    outcomes = Counter(score.outcome for _, score in found)
    scored = [(case, score) for case, score in found if score.value is not None and score.outcome == "scored"]
    values = [(case, score.value) for case, score in scored if score.value is not None]
    decided = [(case, score.passed) for case, score in found if score.passed is not None and score.outcome == "scored"]
    judge = next((score.judge for _, score in found if score.judge), "")
    card = card_of(judge) if judge and decided else None
    return Criterion(
        name=name,
        judge=judge,
        advisory=any(score.advisory for _, score in found),
        scored=outcomes["scored"],
        malformed=outcomes["malformed"],
        refused=outcomes["refused"],
        failed=outcomes["failed"],
        mean=_mean(values, [score.scale for _, score in scored]),
        passed=_share(decided),
        corrected=card.corrected(sum(bool(passed) for _, passed in decided), len(decided))
        if card is not None
        else Estimate(None),
        values=tuple(value for _, value in values),
    )


def _by_case(results: Results) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {case: [] for case in results.run.cases}
    for answer in results.answers:
        found.setdefault(answer.case, []).append(answer)
    return found


def _line(results: Results, case: str, answers: Sequence[Answer]) -> CaseLine:
    ordered = sorted(answers, key=lambda answer: answer.repeat)
    return CaseLine(
        case=case,
        tags=ordered[0].tags if ordered else (),
        passed=tuple(answer.passed for answer in ordered),
        missing=results.run.repeats - len(ordered),
        why=next((why_failed(answer) for answer in ordered if answer.passed is False), ""),
    )


def why_failed(answer: Answer) -> str:
    if answer.error and not answer.scores:
        return f"there is no answer: {answer.error}"
    said = [score for score in answer.scores if score.passed is False and not score.advisory]
    return "; ".join(f"{score.scorer}: {score.why or 'failed'}" for score in said)


def _tags(answers: Sequence[Answer]) -> dict[str, Estimate]:
    found: dict[str, list[tuple[str, bool | None]]] = defaultdict(list)
    for answer in answers:
        for tag in answer.tags:
            found[tag].append((answer.case, answer.passed))
    return {tag: _share(said) for tag, said in sorted(found.items())}


def _share(said: Sequence[tuple[str, bool | None]]) -> Estimate:
    """As if each case had been asked once: repeats of a case that agree tell nothing new."""
    cases: dict[str, list[bool]] = defaultdict(list)
    for case, passed in said:
        if passed is not None:
            cases[case].append(passed)
    return wilson(math.fsum(fmean(each) for each in cases.values()), len(cases)) if cases else Estimate(None)


def _mean(values: Sequence[tuple[str, float]], scales: Sequence[tuple[float, float]]) -> Estimate:
    """Student's interval of the cases' means, as far as the scale goes: nothing is beyond it."""
    cases: dict[str, list[float]] = defaultdict(list)
    for case, value in values:
        cases[case].append(value)
    means = [fmean(each) for each in cases.values()]
    if len(means) < 2:
        return Estimate(means[0] if means else None)
    reach = t_quantile(0.975, len(means) - 1) * stdev(means) / math.sqrt(len(means))
    least, most = min(scale[0] for scale in scales), max(scale[1] for scale in scales)
    mean = fmean(means)
    return Estimate(mean, max(mean - reach, min(least, mean)), min(mean + reach, max(most, mean)))


def _quantile(ordered: Sequence[float], percent: int) -> float | None:
    if len(ordered) < 2:
        return ordered[0] if ordered else None
    return quantiles(ordered, n=100, method="inclusive")[percent - 1]
