"""How far apart are two shares, when what they are of is rare? Exact bounds at any number of units, at every look.

Of each unit it is known with which chance it was given the arm. While an arm is no worse than the control, whoever
fails has the arm with that chance at most; so whoever bets at these odds that it was the arm does not grow rich.
Against "it is not worse by more than m" every unit is a bet, by its value weighted with the inverse of its chance
(Waudby-Smith and Ramdas 2024; for m = 0 that of Lindon and Malek 2022 on counts). It holds for 1 % against 99 % and for
two failures in a thousand, where a normal distribution would be wrong.

Bets of several stages multiply. A unit is a bet only where chance decided anew: who had the arm in an earlier stage
keeps it, and is left out of later ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

WORSE = (1.2, 1.6, 2.5, 4.0, 7.0)  # times as many failures: what is bet on
NO_WORSE = (0.03, 0.1, 0.25, 0.5, 0.95)  # of the highest stake that loses no bet whatever it is against
HALVINGS = 24  # of the range of a difference: to a ten-millionth


class Lot(NamedTuple):
    """Units that were given the arm with the same `chance`, or the control.

    `none`: how many had 0; how many of each group had another value, up to 1, by value.
    """

    chance: float
    none: float
    arm: Mapping[float, float]
    control: Mapping[float, float]


def evidence_above(lots: Sequence[Lot], beyond: float) -> float:
    """The logarithm of the evidence that the arm's mean is above the control's by more than `beyond`."""
    return _mixed(lots, beyond, stakes_above)


def evidence_below(lots: Sequence[Lot], beyond: float) -> float:
    """The logarithm of the evidence that it is above the control's by less than `beyond`."""
    return _mixed(lots, beyond, stakes_below)


def stakes_above(chance: float) -> list[float]:
    """What grows fastest where the arm fails so many times as often."""
    most = 0.99 * (1 - chance) / (2 - chance)
    return [min(chance * times / (chance * times + 1 - chance) - chance, most) for times in WORSE]


def stakes_below(chance: float) -> list[float]:
    return [-part * chance / (1 + chance) for part in NO_WORSE]


def _mixed(lots: Sequence[Lot], beyond: float, stakes: Callable[[float], list[float]]) -> float:
    """Equal stakes on each of several bets, through all lots."""
    grown = [[_grown(lot, beyond, stake) for stake in stakes(lot.chance)] for lot in lots]
    logs: list[float] = [sum(bet) for bet in zip(*grown, strict=True)]
    if not logs:
        return 0.0
    most = max(logs)
    return most + math.log(sum(math.exp(one - most) for one in logs) / len(logs))


def _grown(lot: Lot, beyond: float, stake: float) -> float:
    kept = 1 - stake * beyond
    arm, control = stake / lot.chance, stake / (1 - lot.chance)
    return (
        lot.none * math.log(kept)
        + sum(count * math.log(kept + arm * value) for value, count in lot.arm.items())
        + sum(count * math.log(kept - control * value) for value, count in lot.control.items())
    )


def low(lots: Sequence[Lot], alpha: float) -> float:
    """The arm's mean is above the control's by more than this: wrong in `alpha` of all tests, at whatever look."""
    return _where(lambda beyond: evidence_above(lots, beyond) + math.log(alpha))


def high(lots: Sequence[Lot], alpha: float) -> float:
    """It is above by less than this, as surely."""
    return -_where(lambda beyond: evidence_below(lots, -beyond) + math.log(alpha))


def _where(falling: Callable[[float], float]) -> float:
    """Where it falls below 0, between -1 and 1."""
    least, most = -1.0, 1.0
    if falling(least) <= 0:
        return least
    for _ in range(HALVINGS):
        middle = (least + most) / 2
        least, most = (middle, most) if falling(middle) > 0 else (least, middle)
    return least
