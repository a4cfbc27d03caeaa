"""How units were compared when all of their lines were held at once: what `core.tally` must come to as well."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter, mul
from typing import NamedTuple

import msgspec

from tidegate.core.experiments import CONTROL, METRICS, GuardMetric, Spec, UnitLine
from tidegate.core.findings import (
    SIZE,
    Finding,
    InStage,
    Level,
    Role,
    Told,
    _bounds,
    _end,
    _needs,
    _told,
    _verdict,
    chance_of,
    is_beyond,
    is_rare,
    looked_at,
)
from tidegate.core.stats import sequential_shares
from tidegate.core.stats.sequential_means import ALIKE, Difference
from tidegate.core.stats.sequential_shares import Lot
from tidegate.core.tally import HAD, NEVER, Before, Group
from tidegate.core.tally import values as means

Seen = Mapping[Group, Sequence[UnitLine]]
Tables = Mapping[Group, Mapping[str, float]]  # of one metric, the values of units


def values(metric: str, lines: Sequence[UnitLine]) -> dict[str, float]:
    found = means(metric, lines)
    return {line.unit: value for line, value in zip(lines, found, strict=True) if value is not None}


def sorted_out(lines: Iterable[UnitLine]) -> Seen:
    found: dict[Group, list[UnitLine]] = {}
    last: dict[str, int] = {}
    for line in sorted(lines, key=itemgetter(0, 3)):
        stage, arm, unit = line[:3]
        before = last.get(unit, NEVER)
        if before == stage:
            before = HAD
        last[unit] = stage if arm == CONTROL and before != HAD else HAD
        found.setdefault(Group(stage, arm, before), []).append(line)
    return found


def units_of(lines: Sequence[UnitLine]) -> dict[str, int]:
    return {arm: len({line.unit for line in lines if line.arm == arm}) for arm in {line.arm for line in lines}}


def findings(spec: Spec, lines: Sequence[UnitLine], before: Before | None = None) -> tuple[Finding, ...]:
    seen = sorted_out(lines)
    names = {metric.metric for _, metric in looked_at(spec)}
    of: dict[str, Tables] = {name: {group: values(name, lines) for group, lines in seen.items()} for name in names}
    return tuple(
        _finding(spec, of[metric.metric], arm.name, metric, role, (before or {}).get(metric.metric))
        for arm in spec.arms
        for role, metric in looked_at(spec)
    )


def _finding(
    spec: Spec, tables: Tables, arm: str, wanted: GuardMetric, role: Role, before: Mapping[str, float] | None
) -> Finding:
    metric, kind = wanted.metric, METRICS[wanted.metric].kind
    stages = sorted({group.stage for group in tables})
    strata = [Stratum(_of_stage(tables, stage, arm), _of_stage(tables, stage, CONTROL)) for stage in stages]
    plain = kind != "ratio"
    logs = not plain and all(min(side.values()) > 0 for one in strata for side in one if side)
    if logs:
        strata = [Stratum(*({unit: math.log(value) for unit, value in side.items()} for side in one)) for one in strata]
    if before and (plain or logs):
        strata = without_before(strata, _turned(metric, before, logs))
    found = compared(strata, relative=not plain and not logs)
    exact = kind == "share" and found is not None and is_rare(found.control_mean)
    told = _told(metric, logs, exact)
    margin = math.log1p(wanted.margin) if logs else wanted.margin
    gain = -math.log1p(-min(wanted.margin, 0.999)) if logs else wanted.margin
    units, control = (sum(len(side) for side in sides) for sides in zip(*strata, strict=True)) if strata else (0, 0)
    by_stage = tuple(_in_stage(stage, one, told) for stage, one in zip(stages, strata, strict=True) if any(one))
    blank = Finding(
        arm=arm, metric=metric, role=role, margin=wanted.margin, verdict="unknown", how=told.how, units=units,
        control_units=control, strata=by_stage,
    )  # fmt: skip
    if found is None:
        return blank
    level = Level.of(spec)
    ends = _exact(spec, tables, arm, level) if exact else _bounds(found, SIZE * margin, level)
    low, high = min(ends[0], found.estimate), max(ends[1], found.estimate)
    verdict = _verdict(role, found.estimate, low, high, margin, gain)
    return msgspec.structs.replace(
        blank,
        verdict=verdict,
        value=told.value(found.arm_mean),
        control_value=told.value(found.control_mean),
        estimate=told.difference(found.estimate),
        low=_end(told, high if told.turned else low),
        high=_end(told, low if told.turned else high),
        looks_worse=is_beyond(found.estimate, margin),
        needs=0 if verdict in ("worse", "better", "within") else _needs(role, found, margin, gain, level),
    )


def _exact(spec: Spec, tables: Tables, arm: str, level: Level) -> tuple[float, float]:
    lots = _lots(spec, tables, arm)
    return sequential_shares.low(lots, level.harm), sequential_shares.high(lots, level.safe)


def _of_stage(tables: Tables, stage: int, arm: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for group, of in tables.items():
        if group.stage == stage and group.arm == arm:
            found |= of
    return found


def _turned(metric: str, before: Mapping[str, float], logs: bool) -> Mapping[str, float]:
    if logs:
        return {unit: math.log(value) for unit, value in before.items() if value > 0}
    return {unit: 1 - value for unit, value in before.items()} if METRICS[metric].better == "higher" else before


def _in_stage(stage: int, one: Stratum, told: Told) -> InStage:
    means = [sum(side.values()) / len(side) if side else None for side in one]
    arm, control = (None if mean is None else told.value(mean) for mean in means)
    estimate = None
    if means[0] is not None and means[1] is not None:
        apart = means[0] - means[1]
        if told.how == "relative means":
            apart = apart / means[1] if means[1] > 0 else math.nan
        estimate = None if math.isnan(apart) else told.difference(apart)
    return InStage(stage, len(one.arm), len(one.control), arm, control, estimate)


def _lots(spec: Spec, tables: Tables, arm: str) -> list[Lot]:
    found = []
    for stage, before in sorted({(group.stage, group.before) for group in tables if group.before != HAD}):
        chance = chance_of(spec, arm, stage, before)
        if not 0 < chance < 1:
            continue
        sides = [Counter(tables.get(Group(stage, one, before), {}).values()) for one in (arm, CONTROL)]
        none = sum(side.pop(0.0, 0) for side in sides)
        found.append(Lot(chance, none, *sides))
    return found


class Stratum(NamedTuple):
    """The units' values in one stage, by unit: shares, points, logarithms, on which 1 is much."""

    arm: Mapping[str, float]
    control: Mapping[str, float]


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
