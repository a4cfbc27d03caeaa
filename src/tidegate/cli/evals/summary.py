"""What did a run come to, on one screen?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tidegate.core.money import usd_text
from tidegate.core.scores import Score
from tidegate.jobs.evals.results import Answer, Results

GOOD, BAD, COULD_NOT_RUN = 0, 1, 3
SHOWN = 10  # of what went wrong
WIDTH = 100


def exit_code(results: Results) -> int:
    """Of a run that has not come to its end nobody knows whether it is good; nor where who decides gave no score."""
    if results.missing:
        return COULD_NOT_RUN
    if any(answer.passed is False for answer in results.answers):
        return BAD
    return COULD_NOT_RUN if any(undecided(results.answers)) else GOOD


def undecided(answers: Sequence[Answer]) -> Iterator[tuple[Answer, Score]]:
    """Where somebody who may decide gave no score."""
    for answer in answers:
        for score in answer.scores:
            if score.outcome != "scored" and not score.advisory:
                yield answer, score


def summary(results: Results, why: str = "") -> Iterator[str]:
    run, answers = results.run, results.answers
    passed = Counter(answer.passed for answer in answers)
    wanted = len(run.cases) * run.repeats
    yield f"{run.suite}: {run.subject}, {len(run.cases)} cases × {run.repeats}"
    yield f"  {passed[True]} passed, {passed[False]} failed, {passed[None]} with nobody who may decide"
    for name, scores in _by_scorer(answers).items():
        yield f"  {_scorer(name, scores)}"
    flaky = [case for case, found in _by_case(answers).items() if len({one.passed for one in found}) > 1]
    if flaky:
        yield f"  flaky: {_some(flaky)}"
    yield f"  cost ${usd_text(sum(one.cost_nusd for one in answers))}, and ${_judging(answers)} for judging" + (
        "; of some answers nobody knows the price" if any(one.unpriced for one in answers) else ""
    )
    yield from _failures(answers)
    none = list(undecided(answers))
    for answer, score in none[:SHOWN]:
        yield f"  undecided: {answer.case} #{answer.repeat + 1}: {score.scorer}: {score.outcome}: {score.why}"[:WIDTH]
    if len(none) > SHOWN:
        yield f"  … and {len(none) - SHOWN} more"
    if results.missing:
        cases = list(dict.fromkeys(case for case, _ in results.missing))
        yield f"  missing: {len(results.missing)} of {wanted} answers, of {_some(cases)}" + (f": {why}" if why else "")


def _judging(answers: Sequence[Answer]) -> str:
    return usd_text(sum(one.judging_nusd for one in answers))


def _by_scorer(answers: Sequence[Answer]) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = defaultdict(list)
    for answer in answers:
        for score in answer.scores:
            found[score.scorer].append(score)
    return dict(sorted(found.items()))


def _by_case(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        found[answer.case].append(answer)
    return found


def _scorer(name: str, scores: Sequence[Score]) -> str:
    values = [one.value for one in scores if one.value is not None]
    said = f"{name}: mean {sum(values) / len(values):.3g} of {len(values)}" if values else f"{name}: no score"
    decided = [one.passed for one in scores if one.passed is not None]
    if decided:
        said += f", {sum(decided)} of {len(decided)} passed"
    if any(one.advisory for one in scores):
        said += " (advisory: this judge may not decide)"
    others = Counter(one.outcome for one in scores if one.outcome != "scored")
    return said + "".join(f", {count} {outcome}" for outcome, count in sorted(others.items()))


def _failures(answers: Sequence[Answer]) -> Iterator[str]:
    failed = [answer for answer in answers if answer.passed is False]
    for answer in failed[:SHOWN]:
        whys = [f"{one.scorer}: {one.why}" for one in answer.scores if one.passed is False and not one.advisory]
        said = "; ".join(whys) or f"there is no answer: {answer.error}"
        yield f"  failed: {answer.case} #{answer.repeat + 1}: {said}"[:WIDTH]
    if len(failed) > SHOWN:
        yield f"  … and {len(failed) - SHOWN} more"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
