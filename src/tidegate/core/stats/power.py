"""What could have been found? The smallest change that so many cases show, and how many show a given one."""

from __future__ import annotations

import math

from tidegate.core.stats import NORMAL
from tidegate.core.stats.distributions import t_quantile

POWER = 0.8  # of five changes of that size, four are found


def power_of(shift: float, n: float, deviation: float, alpha: float = 0.05) -> float:
    """How likely a mean of `n` differences that has moved by `shift` is found, two-sided."""
    moved, bar = shift * math.sqrt(n) / deviation, NORMAL.inv_cdf(1 - alpha / 2)
    return NORMAL.cdf(moved - bar) + NORMAL.cdf(-moved - bar)


def cases_for(shift: float, deviation: float, alpha: float = 0.05, power: float = POWER) -> float:
    """How many differences show a mean that has moved by `shift`."""
    return ((NORMAL.inv_cdf(1 - alpha / 2) + NORMAL.inv_cdf(power)) * deviation / shift) ** 2


def fewest(alpha: float) -> int:
    """Cases without which nothing is ever found: were all to change the same way, chance would do that as often."""
    return math.ceil(1 - math.log2(alpha))


def smallest_shift(n: int, deviation: float, alpha: float = 0.05, power: float = POWER) -> float | None:
    """The least move of every case alike that is found. None: nothing is, with so few."""
    if n < fewest(alpha):
        return None
    return (t_quantile(1 - alpha / 2, n - 1) + t_quantile(power, n - 1)) * deviation / math.sqrt(n)


def smallest_drop(n: int, deviation: float, alpha: float = 0.05, power: float = POWER) -> float | None:
    """The least share of cases which, when they passed before and now fail, is found. None: nothing is, with so few.

    `deviation` is that of the cases' differences, between -1 and 1, without such a change. The change adds to it, since
    it hits some and not others.
    """
    if n < fewest(alpha):
        return None
    bar, beyond = t_quantile(1 - alpha / 2, n - 1), t_quantile(power, n - 1)
    low, high = 0.0, 1.0
    for _ in range(50):
        drop = (low + high) / 2
        spread = deviation**2 + drop
        needed = bar * math.sqrt(spread) + beyond * math.sqrt(max(0.0, spread - drop**2))
        low, high = (drop, high) if drop * math.sqrt(n) < needed else (low, drop)
    return high if high < 0.999 else None
