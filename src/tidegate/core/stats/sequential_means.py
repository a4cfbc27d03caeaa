"""How far apart are the means of two groups of units, over several stages? One estimate, and how sure it is.

Each stage is a stratum: an arm is compared only with who was there at the same time. Were stages pooled, a morning with
few units in the arm and an evening with many would be told as an effect of the arm (Simpson). A unit that was seen in
several stages, in the same group or not, says less, or more, than several units; it is one term of the variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tidegate.core.stats.moments import Moments
from tidegate.core.stats.sequential import bar, log_evidence, t_of_z, z_of_t

FEWEST = 20  # units of each group, before anything is said of them
ARM, CONTROL = 0, 1
PLAIN = (1.0,)
ALIKE = 10  # units that are added to each group with the spread of both: few that are alike by chance prove nothing


class Side(NamedTuple):
    """The units of one group in one stage, by what their values are like: shares, points, logarithms; 1 is much."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0  # of what lies between the values and their mean

    @classmethod
    def of(cls, moments: Moments | None, weights: Sequence[float] = PLAIN) -> Side:
        """What the values of each unit come to with these weights. None: there are no units."""
        if moments is None:
            return cls()
        return cls(moments.n, moments.mean(weights), moments.product(weights))


class Stratum(NamedTuple):
    arm: Side
    control: Side


class Again(NamedTuple):
    """Units that are on two sides: each is a stratum by its number, and one of its fields by its.

    `together`: the sum of the products of how far each is off, there and there, from the mean of the side.
    """

    one: tuple[int, int]
    other: tuple[int, int]
    together: float

    @classmethod
    def of(
        cls,
        one: tuple[int, int],
        other: tuple[int, int],
        moments: Moments,
        strata: Sequence[Stratum],
        weights: Sequence[float] = PLAIN,
    ) -> Again:
        """`moments`: of what they had on the one side, then of what they had on the other one."""
        begin = len(weights)
        off = moments.mean(weights) - strata[one[0]][one[1]].mean
        other_off = moments.mean(weights, begin) - strata[other[0]][other[1]].mean
        return cls(one, other, moments.product(weights, begin) + moments.n * off * other_off)


class Difference(NamedTuple):
    """Arm minus control. `free`: the degrees of freedom of `variance`; `units`: of the smaller group."""

    estimate: float
    variance: float
    free: float
    arm_mean: float
    control_mean: float
    units: int

    def evidence(self, beyond: float, size: float) -> float:
        """The logarithm of the evidence that it is above `beyond`, when effects of about `size` are looked for."""
        z = z_of_t((self.estimate - beyond) / math.sqrt(self.variance), self.free)
        return log_evidence(z, size * size / self.variance)

    def reach(self, size: float, alpha: float) -> float:
        """How far on one side the truth may lie from the estimate, at every look."""
        return math.sqrt(self.variance) * t_of_z(bar(size * size / self.variance, alpha), self.free)


def compared(strata: Sequence[Stratum], again: Iterable[Again] = (), relative: bool = False) -> Difference | None:
    """The differences of all strata, weighted by how many units each compares. None: there is none with two of both.

    The weights depend on numbers of units alone: weights by precision would follow what is seen, and lean towards
    strata that vary little by chance. `relative`: of means, as parts of the control's, with the variance of the delta
    method.
    """
    pairs = [(at, *one) for at, one in enumerate(strata) if min(one.arm.n, one.control.n) > 1]
    if relative:
        pairs = [(at, arm, control) for at, arm, control in pairs if control.mean > 0]
    total = sum(_size(arm, control) for _, arm, control in pairs)
    estimate = arm_mean = control_mean = 0.0
    errors = _Errors({}, [])
    for at, arm, control in pairs:
        weight = _size(arm, control) / total
        arm_mean += weight * arm.mean
        control_mean += weight * control.mean
        unit = control.mean if relative else 1.0
        estimate += weight * (arm.mean - control.mean) / unit
        shared = (arm.squares + control.squares) / (arm.n + control.n - 2)
        errors.add((at, ARM), arm, shared, weight / unit, unit)
        errors.add((at, CONTROL), control, shared, -weight / unit * (arm.mean / unit if relative else 1.0), unit)
    units = min(sum(arm.n for _, arm, _ in pairs), sum(control.n for _, _, control in pairs))
    variance, free = errors.variance(again) if pairs else (0.0, 0.0)
    return Difference(estimate, variance, free, arm_mean, control_mean, units) if pairs else None


def _size(arm: Side, control: Side) -> float:
    return arm.n * control.n / (arm.n + control.n)


class _Errors(NamedTuple):
    """What each unit adds to the error of an estimate, over all strata: squared and summed, that is its variance."""

    scales: dict[tuple[int, int], float]  # of a side: how the estimate moves with how far a unit is off there
    parts: list[tuple[float, float]]  # variance and degrees of freedom of each group of each stratum

    def add(self, at: tuple[int, int], side: Side, shared: float, slope: float, unit: float) -> None:
        """`slope`: how the estimate moves with this mean.

        The variance is 1/n at least, as if one unit had been as far off as can be: thousand times 0 is not always 0.
        """
        variance = max((side.squares + ALIKE * shared) / (side.n - 1 + ALIKE), unit * unit / side.n)
        self.parts.append((slope * slope * variance / side.n, side.n - 1 + ALIKE))
        if side.squares > 1e-12 * variance:
            self.scales[at] = slope * math.sqrt(variance / side.n / side.squares)

    def variance(self, again: Iterable[Again]) -> tuple[float, float]:
        """With its degrees of freedom (Welch and Satterthwaite). A unit's terms are one before they are squared."""
        scale = self.scales.get
        shared = sum(scale(two.one, 0.0) * scale(two.other, 0.0) * two.together for two in again)
        alone = sum(part for part, _ in self.parts)
        free = alone**2 / sum(part * part / of for part, of in self.parts)
        return max(alone + 2 * shared, 1e-12), free


def without_before(sides: Iterable[Moments]) -> tuple[float, float, float]:
    """Weights of a unit's value, of what was so of it before anything was tried, or 0, and of whether that is known, or
    0, with which there is less spread and the same difference (CUPED, Deng, Xu, Kohavi and Walker 2013).

    What units were like before cannot come from the arm. Units of which nothing is known are taken for average. One
    slope for all, from how values and what was before vary together within each group of each stratum.
    """
    known = together = squares = total = 0.0
    for side in sides:
        _, before, share = side.means
        if share > 0:
            known, total = known + side.n * share, total + side.n * before
            usual = before / share  # of those that are known
            apart = side.products[1][1] - side.products[1][2] * usual
            if apart > 1e-12 * side.n * usual * usual:  # else they are alike, or one alone, and this is rounding
                together += side.products[0][1] - side.products[0][2] * usual
                squares += apart
    slope = together / squares if squares > 0 else 0.0
    return 1.0, -slope, slope * total / known if known else 0.0
