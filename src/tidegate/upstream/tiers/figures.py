"""How good are a route's answers really, and what has choosing saved and lost? From what was said of them. Pure.

Answers that were drawn by lot stand for as many as were not: each counts by one over its chance. What people say of
themselves stands for nobody else, so the two are never added up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tidegate.core.ports import Lesson
from tidegate.core.stats import share_between
from tidegate.core.tiers import Estimate, Found

CONFIDENCE = 0.975  # each way: the interval holds the true value in 95 of 100 cases
STRANGE = (
    0.2  # of the questions lately, from so many on they are others than those that were learned from; 0.05 is usual
)
FEW = 100  # questions, before anybody is told


def found(lessons: Iterable[Lesson]) -> Found:
    by_source: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    pairs: defaultdict[str, dict[bool, Lesson]] = defaultdict(dict)
    for one in lessons:
        if one.served and one.source != "cascade":  # what passed a check did so since others did not: it is no sample
            by_source[one.source].append((one.good, one.share))
        if one.source == "shadow":
            pairs[one.call][one.served] = one
    both = [(pair[True], pair[False]) for pair in pairs.values() if len(pair) == 2]
    return Found(
        {source: mean(values) for source, values in sorted(by_source.items())},
        mean([(max(0.0, beside.good - got.good), beside.share) for got, beside in both]) if both else None,
        mean([(float(_is_overpaid(got, beside)), beside.share) for got, beside in both]) if both else None,
    )


def _is_overpaid(got: Lesson, beside: Lesson) -> bool:
    return got.tiers.index(got.tier) > got.tiers.index(beside.tier) and beside.good >= got.good


def mean(values: Sequence[tuple[float, float]]) -> Estimate:
    """Of values and the chances that each had to be drawn; 0: it was not drawn. At least one.

    Weighted by one over the chance (Hájek). Wilson's interval, for as many values as the weights are worth (Kish).
    """
    weights = [1 / share if share else 1.0 for _, share in values]
    total = sum(weights)
    middle = sum(value * weight for (value, _), weight in zip(values, weights, strict=True)) / total
    worth = total**2 / sum(weight * weight for weight in weights)
    low, high = share_between(middle * worth, worth, CONFIDENCE)
    return Estimate(middle, low, high, len(values))


def has_drifted(strange: int, of: int) -> bool:
    """Whether so many strange questions cannot well be chance."""
    return of >= FEW and share_between(strange, of, CONFIDENCE)[0] > STRANGE
