"""How far apart are the means of two groups of units, over several stages? One estimate, and how sure it is.

Each stage is a stratum: an arm is compared only with who was there at the same time. Were stages pooled, a morning with
few units in the arm and an evening with many would be told as an effect of the arm (Simpson). A unit that was seen in
several stages, in the same group or not, says less, or more, than several units; it is one term of the variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import mul
from typing import NamedTuple

from tidegate.core.stats.sequential import bar, log_evidence, t_of_z, z_of_t

FEWEST = 20  # units of each group, before anything is said of them
ALIKE = 10  # units that are added to each group with the spread of both: few that are alike by chance prove nothing


class Stratum(NamedTuple):
    """The units' values in one stage, by unit: shares, points, logarithms, on which 1 is much."""

    arm: Mapping[str, float]
    control: Mapping[str, float]


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


def compared(strata: Sequence[Stratum], relative: bool = False) -> Difference | None:
    """The differences of all strata, weighted by how many units each compares. None: there is none with two of both.

    The weights depend on numbers of units alone: weights by precision would follow what is seen, and lean towards
    strata that vary little by chance. `relative`: of means, as parts of the control's, with the variance of the delta
    method.
    """
    pairs = [(one, _Side.of(one.arm), _Side.of(one.control)) for one in strata if min(map(len, one)) > 1]
    if relative:
        pairs = [(one, arm, control) for one, arm, control in pairs if control.mean > 0]
    total = sum(_size(arm, control) for _, arm, control in pairs)
    estimate = arm_mean = control_mean = 0.0
    errors = _Errors({}, [])
    for stratum, arm, control in pairs:
        weight = _size(arm, control) / total
        arm_mean += weight * arm.mean
        control_mean += weight * control.mean
        unit = control.mean if relative else 1.0
        estimate += weight * (arm.mean - control.mean) / unit
        shared = (arm.squares + control.squares) / (arm.n + control.n - 2)
        errors.add(stratum.arm, arm, shared, weight / unit, unit)
        errors.add(stratum.control, control, shared, -weight / unit * (arm.mean / unit if relative else 1.0), unit)
    units = min(sum(arm.n for _, arm, _ in pairs), sum(control.n for _, _, control in pairs))
    variance, free = errors.variance() if pairs else (0.0, 0.0)
    return Difference(estimate, variance, free, arm_mean, control_mean, units) if pairs else None


class _Side(NamedTuple):
    n: int
    mean: float
    squares: float  # of what lies between the values and their mean

    @classmethod
    def of(cls, values: Mapping[str, float]) -> _Side:
        n = len(values)
        mean = sum(values.values()) / n if n else 0.0
        apart = [value - mean for value in values.values()]
        return cls(n, mean, sum(map(mul, apart, apart)))


def _size(arm: _Side, control: _Side) -> float:
    return arm.n * control.n / (arm.n + control.n)


class _Errors(NamedTuple):
    """What each unit adds to the error of an estimate, over all strata: squared and summed, that is its variance."""

    terms: dict[str, float]
    parts: list[tuple[float, float]]  # variance and degrees of freedom of each group of each stratum

    def add(self, values: Mapping[str, float], side: _Side, shared: float, slope: float, unit: float) -> None:
        """`slope`: how the estimate moves with this mean.

        The variance is 1/n at least, as if one unit had been as far off as can be: thousand times 0 is not always 0.
        """
        variance = max((side.squares + ALIKE * shared) / (side.n - 1 + ALIKE), unit * unit / side.n)
        self.parts.append((slope * slope * variance / side.n, side.n - 1 + ALIKE))
        if side.squares <= 1e-12 * variance:
            self.terms[f"all {len(self.parts)}"] = math.sqrt(self.parts[-1][0])
            return
        scale, there = slope * math.sqrt(variance / side.n / side.squares), self.terms.get
        for name, value in values.items():
            self.terms[name] = there(name, 0.0) + scale * (value - side.mean)

    def variance(self) -> tuple[float, float]:
        """With its degrees of freedom (Welch and Satterthwaite)."""
        terms = self.terms.values()
        free = sum(part for part, _ in self.parts) ** 2 / sum(part * part / of for part, of in self.parts)
        return max(sum(map(mul, terms, terms)), 1e-12), free


def adjusted(values: Mapping[str, float], before: Mapping[str, float], slope: float, middle: float) -> dict[str, float]:
    """Without what was so of each unit before anything was tried (CUPED, Deng, Xu, Kohavi and Walker 2013)."""
    return {unit: value - slope * (before.get(unit, middle) - middle) for unit, value in values.items()}


def without_before(strata: Sequence[Stratum], before: Mapping[str, float]) -> list[Stratum]:
    """Less spread, the same difference: what units were like before cannot come from the arm.

    Units of which nothing is known are taken for average. One slope for all, from how values and what was before vary
    together within each group of each stratum.
    """
    together = squares = 0.0
    known = [before[unit] for one in strata for side in one for unit in side if unit in before]
    if not known:
        return list(strata)
    middle = sum(known) / len(known)
    for stratum in strata:
        for side in stratum:
            pairs = [(before[unit], value) for unit, value in side.items() if unit in before]
            if len(pairs) < 2:
                continue
            x0, y0 = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
            together += sum((x - x0) * (y - y0) for x, y in pairs)
            squares += sum((x - x0) ** 2 for x, _ in pairs)
    slope = together / squares if squares > 0 else 0.0
    return [Stratum(*(adjusted(side, before, slope, middle) for side in one)) for one in strata]
