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
    judge, scorer = _meant(results.answers, judge, scorer)
    said = {}
    for answer in results.answers:
        for score in answer.scores:
            if (score.judge, score.scorer) == (judge, scorer):
                said[item_of(answer)] = (_verdict(score, labels.kind), float(len(answer.text)))
                if results.run.repeats == 1:
                    said[answer.case] = said[item_of(answer)]
    items = [
        Item(item.id, item.labels, (said[item.id][0],), said[item.id][1])
        if item.id in said
        else item._replace(verdicts=())
        for item in labels.items
    ]
    return judge, labels._replace(items=tuple(items))


def _meant(answers: Sequence[Answer], judge: str | None, scorer: str | None) -> tuple[str, str]:
    there = {(score.judge, score.scorer) for answer in answers for score in answer.scores if score.judge}
    fitting = sorted(one for one in there if judge in (None, one[0]) and scorer in (None, one[1]))
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        among = "; ".join(f"--judge {one} --scorer {name}" for one, name in sorted(there)) or "none at all"
        raise ConfigError(f"no such judge looked at this run; there is: {among}")
    among = "; ".join(f"--judge {one} --scorer {name}" for one, name in fitting)
    raise ConfigError(f"several judgments fit; say which is meant: {among}")


def _verdict(score: Score, kind: Kind) -> Word | None:
    if score.outcome != "scored":
        return None
    if kind == "scale":
        return score.value
    return None if score.passed is None else "pass" if score.passed else "fail"
