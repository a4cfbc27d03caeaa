"""What did a judge say of the answers of a run? Its verdicts, beside the labels that people gave the same answers."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.core.errors import ConfigError
from tidegate.jobs.evals.labels import Item, Kind, Labels, Word
from tidegate.jobs.evals.results import Answer, Results, Score


def item_of(answer: Answer) -> str:
    """How labels name it."""
    return f"{answer.case}#{answer.repeat}"


def judged(labels: Labels, results: Results, judge: str | None, scorer: str | None) -> tuple[str, Labels]:
    """The judge, and the labels with what it said of each. Raises ConfigError where several may be meant."""
    judge, scorer = _meant(results.answers, judge, scorer, labels.kind)
    said = {}
    for answer in results.answers:
        for score in answer.scores:
            if (score.judge, score.scorer) == (judge, scorer):
                said[item_of(answer)] = (_verdicts(score, labels.kind), float(len(answer.text)))
                if results.run.repeats == 1:
                    said[answer.case] = said[item_of(answer)]
    items = [
        Item(item.id, item.labels, said[item.id][0], None if labels.kind == "pair" else said[item.id][1])
        if item.id in said
        else item._replace(verdicts=())
        for item in labels.items
    ]
    return judge, labels._replace(items=tuple(items))


def _meant(answers: Sequence[Answer], judge: str | None, scorer: str | None, kind: Kind) -> tuple[str, str]:
    """Of a rubric that is not told further, the verdict over all its criteria."""
    judgments = [score for answer in answers for score in answer.scores if score.judge]
    if kind == "pair":
        judgments = [score for score in judgments if score.orders or score.outcome != "scored"]
    if kind == "pass":  # of a criterion without a threshold nobody knows what is a pass
        judgments = [score for score in judgments if score.passed is not None or score.outcome != "scored"]
    there = sorted({(score.judge, score.scorer) for score in judgments})
    fitting = [one for one in there if judge in (None, one[0]) and scorer in (None, one[1])]
    whole = [one for one in fitting if all(other == one or _within(other, one) for other in fitting)]
    if whole:
        return whole[0]
    listed = "; ".join(f"--judge {one} --scorer {name}" for one, name in fitting or there) or "none at all"
    if fitting:
        raise ConfigError(f"several judgments fit; say which is meant: {listed}")
    raise ConfigError(f"no such judge looked at this run; there is: {listed}")


def _within(one: tuple[str, str], whole: tuple[str, str]) -> bool:
    return one[0] == whole[0] and one[1].startswith(f"{whole[1]}.")


def _verdicts(score: Score, kind: Kind) -> tuple[Word | None, ...]:
    if score.outcome != "scored":
        return (None, None) if kind == "pair" else (None,)
    if kind == "pair":
        return score.orders
    if kind == "scale":
        return (score.value,)
    return (None if score.passed is None else "pass" if score.passed else "fail",)
