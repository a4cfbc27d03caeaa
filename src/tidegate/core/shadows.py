"""How does an answer that nobody saw compare with the one that was given? Pair by pair, and unit by unit."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import msgspec

from tidegate.core.experiments import Assigned
from tidegate.core.limits import Budget, Level
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.stats.distributions import t_quantile
from tidegate.core.stats.screening import clopper_pearson

CONFIDENCE = 0.95


def key_of(experiment: str) -> str:
    """What is spent on the shadows of an experiment stands under this key in the ledger."""
    return f"shadow:{experiment}"


def purse(experiment: str, max_usd: float | None, max_usd_per_day: float) -> Level:
    """What they may cost: the most that each can cost is set aside before it is made, in all processes together."""
    budgets = [Budget(round(max_usd_per_day * NUSD_PER_USD), "day")]
    if max_usd is not None:
        budgets.append(Budget(round(max_usd * NUSD_PER_USD), "total"))
    return Level("key", key_of(experiment), f"shadows of {experiment}", budgets=tuple(budgets))


class Pair(NamedTuple):
    """A call, and its shadow. None: there is none of it."""

    of: Assigned
    failed: bool  # the shadow; whose call did not fail, or it would have none
    took_us: int
    control_took_us: int
    cost_nusd: int | None
    control_cost_nusd: int | None
    score: float | None = None  # 1: a judge finds the shadow better, 0: worse


class Estimate(msgspec.Struct, frozen=True):
    """And the interval that holds the true one in 95 of 100 cases. None: nothing is known."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class Compared(msgspec.Struct, frozen=True):
    """An arm with the control. Ratios: of the shadow to its call."""

    arm: str
    pairs: int
    units: int
    failed: Estimate
    latency: Estimate
    cost: Estimate
    score: Estimate
    better: int = 0
    tied: int = 0
    worse: int = 0


def compared(pairs: Iterable[Pair]) -> list[Compared]:
    """Of each arm, in the order of their names. A unit with many calls has one voice."""
    arms: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        arms[pair.of.arm].append(pair)
    return [_arm(name, arms[name]) for name in sorted(arms)]


def _arm(name: str, pairs: Sequence[Pair]) -> Compared:
    whole = [pair for pair in pairs if not pair.failed]
    scores = [pair.score for pair in whole if pair.score is not None]
    failed = clopper_pearson(sum(pair.failed for pair in pairs), len(pairs))
    return Compared(
        name,
        len(pairs),
        len({pair.of.unit for pair in pairs}),
        Estimate(failed.value, failed.low, failed.high),
        _ratio((pair.of.unit, pair.took_us, pair.control_took_us) for pair in whole),
        _ratio((pair.of.unit, pair.cost_nusd or 0, pair.control_cost_nusd or 0) for pair in whole),
        _mean([(pair.of.unit, pair.score) for pair in whole if pair.score is not None]),
        sum(score > 0.5 for score in scores),
        sum(score == 0.5 for score in scores),
        sum(score < 0.5 for score in scores),
    )


def _ratio(pairs: Iterable[tuple[str, int, int]]) -> Estimate:
    """The middle of how much more, of those of which both are known."""
    logs = _mean([(unit, math.log(new / old)) for unit, new, old in pairs if new > 0 and old > 0])
    return Estimate(*(None if one is None else math.exp(one) for one in (logs.value, logs.low, logs.high)))


def _mean(values: Sequence[tuple[str, float]]) -> Estimate:
    """Of the means of units; one unit alone has no interval."""
    units: dict[str, list[float]] = defaultdict(list)
    for unit, value in values:
        units[unit].append(value)
    means = [fmean(each) for each in units.values()]
    if not means:
        return Estimate()
    middle = fmean(means)
    if len(means) < 2:
        return Estimate(middle)
    reach = t_quantile((1 + CONFIDENCE) / 2, len(means) - 1) * stdev(means) / math.sqrt(len(means))
    return Estimate(middle, middle - reach, middle + reach)
