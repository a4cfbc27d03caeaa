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

WORSE = (1.4, 2.0, 3.0, 5.0, 10.0)  # times as many failures: what is bet on
NO_WORSE = (0.03, 0.1, 0.2, 0.4, 0.8)  # of the highest stake that can be bet
HALVINGS = 24  # of the range of a difference: to a ten-millionth


class Lot(NamedTuple):
    """Units that were given the arm with the same `chance`, or the control.

    `none`: how many had 0; how many of each group had another value, up to 1, by value.
    """

    chance: float
    none: int
    arm: Mapping[float, int]
    control: Mapping[float, int]


def evidence_above(lots: Sequence[Lot], beyond: float) -> float:
    """The logarithm of the evidence that the arm's mean is above the control's by more than `beyond`."""
    return _mixed(lots, beyond, [[stake_on(times, lot.chance) for lot in lots] for times in WORSE])


def evidence_below(lots: Sequence[Lot], beyond: float) -> float:
    """The logarithm of the evidence that it is above the control's by less than `beyond`."""
    stakes = [[-part * lot.chance * (1 - lot.chance) for lot in lots] for part in NO_WORSE]
    return _mixed(lots, beyond, stakes)


def stake_on(times: float, chance: float) -> float:
    """What grows fastest where the arm fails `times` as often; no more than no bet can lose."""
    odds = chance * times
    return min(odds / (odds + 1 - chance) - chance, 0.99 * (1 - chance) / (2 - chance))


def _mixed(lots: Sequence[Lot], beyond: float, stakes: Sequence[Sequence[float]]) -> float:
    """Equal stakes on each of several bets, through all lots."""
    logs = [sum(_grown(lot, beyond, stake) for lot, stake in zip(lots, each, strict=True)) for each in stakes]
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
