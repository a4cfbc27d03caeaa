"""How sure can we be at every look? Bounds that hold however often somebody looks, in closed form.

A plain p-value that is looked at after every unit finds something in four of ten tests of nothing with nothing. These
bounds are crossed wrongly in `alpha` of all tests, at whatever look: the evidence against "it is not above 0" is a bet
whose stake does not grow while that is so (Ville 1939), here on effects of a stated size (Robbins 1970). They are
asymptotic (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024): the mean of a few dozen units is taken to be normal.

`gain` is what is known, in units of the size of effect that is looked for: its variance divided by the estimate's.
"""

from __future__ import annotations

import math

LEAST = 1e-300  # instead of a probability that floats cannot tell from 0
ROUNDS = 40


def log_evidence(z: float, gain: float) -> float:
    """Of an estimate `z` deviations above 0, that it truly is above 0: the logarithm of what a stake of 1 has become.

    The bets are spread over effects above 0 as half of a normal distribution is. 1/alpha is reached in alpha of all
    tests at most, where nothing is above 0.
    """
    part = gain / (1 + gain)
    return math.log(2 * _below(z * math.sqrt(part))) + part * z * z / 2 - math.log1p(gain) / 2


def bar(gain: float, alpha: float) -> float:
    """How many deviations above 0 an estimate must be, for the evidence to be 1/alpha: more, the less is known."""
    if gain <= 0:
        return math.inf
    part = gain / (1 + gain)
    wanted = math.log1p(gain) / 2 - math.log(2 * alpha)
    z = math.sqrt(2 * max(wanted + math.log(2), 0.0) / part)
    for _ in range(ROUNDS):  # Newton's, from above: the evidence is convex
        root = math.sqrt(part)
        slope = part * z + root * math.exp(-part * z * z / 2) / (math.sqrt(2 * math.pi) * _below(z * root))
        step = (log_evidence(z, gain) + math.log(alpha)) / slope
        z -= step
        if abs(step) < 1e-12 * max(1.0, z):
            break
    return z


def bar_both(gain: float, alpha: float) -> float:
    """The same for both sides at once: how far from 0 an estimate must be, above or below."""
    if gain <= 0:
        return math.inf
    return math.sqrt((1 + gain) / gain * (math.log1p(gain) - 2 * math.log(alpha)))


def _below(z: float) -> float:
    return max(math.erfc(-z / math.sqrt(2)) / 2, LEAST)


def z_of_t(t: float, free: float) -> float:
    """As far from 0 as Student's `t`, for a normal distribution (Wallace 1959): within 1 % from 5 degrees on."""
    return math.copysign(_shrunk(free) * math.sqrt(free * math.log1p(t * t / free)), t)


def t_of_z(z: float, free: float) -> float:
    """The inverse: a bar for normal distributions as one for means of few units."""
    if math.isinf(z):
        return z
    squares = (z / _shrunk(free)) ** 2 / free
    return math.copysign(math.sqrt(free * math.expm1(squares)), z) if squares < 700 else math.copysign(math.inf, z)


def _shrunk(free: float) -> float:
    return (8 * free + 1) / (8 * free + 3)
