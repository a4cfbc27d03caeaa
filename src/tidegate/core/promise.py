"""How many units will it take? What can be promised of a rollout before it begins, from how its units vary now."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tidegate.core.experiments import METRICS, GuardMetric, Spec
from tidegate.core.findings import SIZE, Level, is_rare, looked_at, needed
from tidegate.core.stats import NORMAL
from tidegate.core.stats.power import POWER


def promised(
    spec: Spec, share: float, gain: float, spreads: Mapping[str, float], power: float = POWER
) -> dict[str, float | None]:
    """Units of an arm, by metric, with which an arm that gains `gain` and harms nothing is promoted; the most counts.

    `share` of the units have the arm, all else the control. `gain`: of the primary metric, as its margin is given; it
    has to be above that, since what is found must be. `spreads`: of ratios the deviation of units' logarithms, of means
    that of units, of shares the share itself. None: no number would do. Misses are shared out: with three metrics and a
    power of 0.8, each is found with 0.93.
    """
    metrics = looked_at(spec)
    each = 1 - (1 - power) / len(metrics)
    alpha = Level.of(spec).safe
    found: dict[str, float | None] = {}
    for role, metric in metrics:
        kind = METRICS[metric.metric].kind
        spread = spreads[metric.metric]
        variance = (_of_share(spread) if kind == "share" else spread * spread) / (1 - share)
        margin = math.log1p(metric.margin) if kind == "ratio" else metric.margin
        if role == "guard":
            units = needed(margin, variance, SIZE * margin, alpha, each)
        else:
            units = _to_gain(metric, gain, variance, SIZE * margin, alpha, each)
        there = found.get(metric.metric, 0.0)
        found[metric.metric] = None if units is None or there is None else max(units, there)
    return found


def _of_share(share: float) -> float:
    return share if is_rare(share) else share * (1 - share)  # exact bounds do not know the share beforehand


def _to_gain(
    metric: GuardMetric, gain: float, variance: float, size: float, alpha: float, power: float
) -> float | None:
    """That it is certain, and that what is found is as much as wanted."""
    logs = METRICS[metric.metric].kind == "ratio"
    true, wanted = (-math.log1p(-min(part, 0.999)) if logs else part for part in (gain, metric.margin))
    if true <= wanted:
        return None
    certain = needed(true, variance, size, alpha, power)
    enough = (NORMAL.inv_cdf(power) / (true - wanted)) ** 2 * variance
    return None if certain is None else max(certain, enough)
