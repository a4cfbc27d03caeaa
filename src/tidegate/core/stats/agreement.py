"""Do they agree, beyond what chance would have them do? Of two, of many, and of two orders of the same things."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple

from tidegate.core.stats import NORMAL
from tidegate.core.stats.distributions import t_cdf
from tidegate.core.stats.screening import Estimate


def kappa(pairs: Sequence[tuple[Hashable, Hashable]], confidence: float = 0.95) -> Estimate:
    """Cohen's, of names that are the same or not."""
    return _kappa(pairs, lambda one, other: float(one == other), confidence)


def quadratic_kappa(pairs: Sequence[tuple[float, float]], confidence: float = 0.95) -> Estimate:
    """Cohen's, of points on a scale: what is twice as far apart agrees four times less."""
    points = [point for pair in pairs for point in pair]
    reach = (max(points) - min(points)) if points else 0.0

    def weight(one: float, other: float) -> float:
        return 1 - ((one - other) / reach) ** 2 if reach else 1.0

    return _kappa(pairs, weight, confidence)


def _kappa(pairs: Sequence[tuple[Any, Any]], weight: Callable[[Any, Any], float], confidence: float) -> Estimate:
    """With the interval of Fleiss, Cohen and Everitt (1969). None where both said one thing only."""
    n = len(pairs)
    if not n:
        return Estimate(None)
    cells = Counter(pairs)
    ours, theirs = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    row = {one: sum(weight(one, other) * count for other, count in theirs.items()) / n for one in ours}
    column = {other: sum(weight(one, other) * count for one, count in ours.items()) / n for other in theirs}
    seen = sum(weight(*cell) * count for cell, count in cells.items()) / n
    chance = sum(row[one] * count for one, count in ours.items()) / n
    if chance >= 1:
        return Estimate(None)
    value = (seen - chance) / (1 - chance)
    spread = sum(
        count * (weight(one, other) - (row[one] + column[other]) * (1 - value)) ** 2
        for (one, other), count in cells.items()
    )
    variance = (spread / n - (value - chance * (1 - value)) ** 2) / (n * (1 - chance) ** 2)
    reach = NORMAL.inv_cdf((1 + confidence) / 2) * math.sqrt(max(variance, 0.0))
    return Estimate(value, value - reach, value + reach)


def alpha(units: Iterable[Sequence[Any]], scale: Literal["names", "points"] = "names") -> float | None:
    """Krippendorff's, of any number of people who each said something of some units.

    None where fewer than two said something of the same, or all said one thing.
    """

    def apart(one: Any, other: Any) -> float:
        return float((one - other) ** 2) if scale == "points" else float(one != other)

    said = [unit for unit in units if len(unit) > 1]
    values = Counter(value for unit in said for value in unit)
    total = sum(values.values())
    within = sum(2 * sum(apart(one, other) for one, other in combinations(unit, 2)) / (len(unit) - 1) for unit in said)
    between = sum(2 * values[one] * values[other] * apart(one, other) for one, other in combinations(values, 2))
    return 1 - (total - 1) * within / between if between else None


class Correlation(NamedTuple):
    value: float | None
    p: float | None


def spearman(pairs: Sequence[tuple[float, float]]) -> Correlation:
    """Of ranks, with Student's p. None where there are fewer than three, or one side is the same throughout."""
    n = len(pairs)
    if n < 3:
        return Correlation(None, None)
    ours, theirs = ranks([one for one, _ in pairs]), ranks([other for _, other in pairs])
    middle = (n + 1) / 2
    ss = [sum((rank - middle) ** 2 for rank in side) for side in (ours, theirs)]
    if not all(ss):
        return Correlation(None, None)
    shared = sum((one - middle) * (other - middle) for one, other in zip(ours, theirs, strict=True))
    value = max(-1.0, min(1.0, shared / math.sqrt(ss[0] * ss[1])))
    if abs(value) == 1:
        return Correlation(value, 0.0)
    t = abs(value) * math.sqrt((n - 2) / (1 - value**2))
    return Correlation(value, 2 * t_cdf(-t, n - 2))


def ranks(values: Sequence[float]) -> list[float]:
    """From 1; those that are alike share theirs."""
    places: Mapping[float, list[int]] = defaultdict(list)
    for place, value in enumerate(sorted(values), 1):
        places[value].append(place)
    return [sum(places[value]) / len(places[value]) for value in values]
