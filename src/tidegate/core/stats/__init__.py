"""How sure can we be? Bounds on counts and shares, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

NORMAL = NormalDist()


def mean_upper(count: float, confidence: float) -> float:
    """The most that a Poisson mean may be, one-sided, when `count` (> 0, pseudo-counts included) was seen.

    The quantile of Gamma(count, 1) by Wilson and Hilferty: within 1 % from a count of 2 on.
    """
    z = NORMAL.inv_cdf(confidence)
    return count * max(0.0, 1 - 1 / (9 * count) + z / (3 * math.sqrt(count))) ** 3


def share_between(hits: float, of: float, confidence: float) -> tuple[float, float]:
    """The least and the most that a share may be, each one-sided, when it was seen in `hits` of `of` (Wilson)."""
    if of <= 0:
        return 0.0, 1.0
    z = NORMAL.inv_cdf(confidence)
    share, spread = hits / of, z * z / of
    middle = share + spread / 2
    reach = z * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return max(0.0, (middle - reach) / (1 + spread)), min(1.0, (middle + reach) / (1 + spread))


def mean_within(limit: float, confidence: float) -> float:
    """The mean at which a Poisson count stays within `limit` with this confidence (normal approximation)."""
    z = NORMAL.inv_cdf(confidence)
    return ((math.sqrt(z * z + 4 * limit) - z) / 2) ** 2


FEW = 4  # days that a forecast needs


def forecast(daily: Sequence[float], days: float, confidence: float = 0.9) -> tuple[float, float, float] | None:
    """What the next `days` days come to, if they are like these: the least, the likely and the most (two-sided).

    None of fewer than FEW days. Student's t, by Cornish and Fisher's expansion: from four days on within 2 %.
    """
    free = len(daily) - 1
    if free < FEW - 1:
        return None
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    likely = fmean(daily) * days
    reach = t * stdev(daily) * math.sqrt(days + days * days / len(daily))
    return max(0.0, likely - reach), likely, likely + reach
