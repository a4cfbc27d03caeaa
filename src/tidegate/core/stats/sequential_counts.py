"""Were units given to the groups as they should have been? A test of their numbers that may be looked at always.

Where they were not, something is wrong with how they are given out or counted: calls of an arm that leave no row, for
instance. Then no comparison is worth anything. The bets are on all ways of giving out, spread as Dirichlet's
distribution (Lindon and Malek 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

WEIGHT = 100.0  # units that what should be is worth, against what was seen


def log_evidence(counts: Sequence[int], chances: Sequence[float]) -> float:
    """The logarithm of the evidence that units were not given out with these chances, which add up to 1."""
    total = sum(counts)
    found = math.lgamma(WEIGHT) - math.lgamma(WEIGHT + total)
    for count, chance in zip(counts, chances, strict=True):
        if count:
            if chance <= 0:
                return math.inf
            found += math.lgamma(WEIGHT * chance + count) - math.lgamma(WEIGHT * chance) - count * math.log(chance)
    return found


def mixed(logs: Sequence[float]) -> float:
    """The evidence of several tests as one: their mean, which is as good as each, however they hang together."""
    if not logs:
        return 0.0
    most = max(logs)
    return most if math.isinf(most) else most + math.log(sum(math.exp(one - most) for one in logs) / len(logs))
