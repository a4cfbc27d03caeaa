"""How likely is it? Beta, binomial and Student's t: their distributions and quantiles, without a library."""

from __future__ import annotations

import math
from collections.abc import Callable

TINY = 1e-300  # instead of 0 in a continued fraction
STEPS = 100_000


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):  # on the other side the fraction converges slowly
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Lentz's way through the continued fraction."""
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1))
    h = d
    for m in range(1, STEPS):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _apart(1 + step * d)
            c = _apart(1 + step / c)
            h *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return h


def _apart(value: float) -> float:
    return value if abs(value) > TINY else TINY


def beta_quantile(share: float, a: float, b: float) -> float:
    return _where(lambda x: beta_cdf(x, a, b) - share, 0.0, 1.0)


def t_cdf(t: float, free: float) -> float:
    if t * t < free:  # the tail is nearly a half: its distance from that is what is known well
        return 0.5 + math.copysign(beta_cdf(t * t / (free + t * t), 0.5, free / 2) / 2, t)
    tail = beta_cdf(free / (free + t * t), free / 2, 0.5) / 2
    return 1 - tail if t > 0 else tail


def t_quantile(share: float, free: float) -> float:
    """For shares that are not nearer to 0 or 1 than 1e-12."""
    reach = 1.0
    while t_cdf(reach, free) < max(share, 1 - share):
        reach *= 2
    return _where(lambda t: t_cdf(t, free) - share, -reach, reach)


def _where(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where it crosses 0: halved until floats have nothing between."""
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return middle
        if rising(middle) < 0:
            low = middle
        else:
            high = middle


def coin_at_most(heads: int, of: int) -> float:
    """How likely a fair coin falls on heads so often at most: whole numbers until the last division."""
    ways = total = 1
    for at in range(heads):
        ways = ways * (of - at) // (at + 1)
        total += ways
    return total / 2**of if heads >= 0 else 0.0
