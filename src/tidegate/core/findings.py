"""What do the units say of an arm, in one metric? How far it is from the control, how sure that is, and what follows.

Everything is turned so that more is worse; only what is told is turned back.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Literal, NamedTuple

import msgspec

from tidegate.core.experiments import CONTROL, METRICS, GuardMetric, Spec, UnitLine
from tidegate.core.stats import NORMAL, sequential_shares
from tidegate.core.stats.power import POWER
from tidegate.core.stats.sequential import bar
from tidegate.core.stats.sequential_means import FEWEST, Difference, Stratum, compared, without_before
from tidegate.core.stats.sequential_shares import Lot

Role = Literal["primary", "guard"]
Verdict = Literal["worse", "better", "within", "unsure", "unknown"]
RARE = 0.2  # shares below are compared exactly, others as means
SIZE = 1.5  # margins: the effects that are looked for
MANY_UNITS = 1e7
MANY_TIMES = 1e9  # more is no answer to how many are needed
NEVER, HAD = -1, -2  # a unit was not seen in an earlier stage; it had an arm in one

Before = Mapping[str, Mapping[str, float]]  # by metric, what was so of each unit before anything was tried


class InStage(msgspec.Struct, frozen=True):
    """The same of one stage alone: units and their means, of the arm and of the control beside it."""

    stage: int
    units: int
    control_units: int
    value: float | None = None
    control_value: float | None = None
    estimate: float | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Of one arm and one metric.

    units, control_units: that have a value; one that was seen in several stages counts in each.
    value, control_value: means over units, in the metric's unit; of logs the geometric mean.
    estimate, low, high: arm minus control; of ratios relative: 0.1 is a tenth more. Each end is crossed wrongly, at
        whatever look, as seldom as the experiment's confidence says; the end of "it is certainly worse" is shared with
        all metrics and arms, and so is farther off. None: nothing can be said yet.
    margin: as in the experiment. how: exact | means of units | logs of units | relative means.
    verdict: worse (certain, and beyond the margin by what is likely) | better (certain, and as much as wanted) |
        within (certainly no worse than the margin) | unsure | unknown (too few units).
    needs: units of the arm, more than there are, that would probably settle it. 0: it is settled; None: none would.
    """

    arm: str
    metric: str
    role: Role
    margin: float
    verdict: Verdict
    how: str
    units: int
    control_units: int
    value: float | None = None
    control_value: float | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    looks_worse: bool = False  # the likely value is beyond the margin
    strata: tuple[InStage, ...] = ()
    needs: int | None = None


class Group(NamedTuple):
    stage: int
    arm: str
    before: int  # the stage in which its units were seen with the control the last time, or NEVER, or HAD


Seen = Mapping[Group, Sequence[UnitLine]]
Tables = Mapping[Group, Mapping[str, float]]  # of one metric, the values of units


def sorted_out(lines: Iterable[UnitLine]) -> Seen:
    """By what chance had to decide of a unit: it is asked anew in each stage, but whoever has an arm keeps it."""
    found: dict[tuple[int, str, int], list[UnitLine]] = {}
    last: dict[str, int] = {}
    for line in sorted(lines, key=itemgetter(0)):
        stage, arm, unit = line[:3]
        before = last.get(unit, NEVER)
        if before == stage:  # with two arms in one stage: that is a fault, and says nothing
            before = HAD
        last[unit] = stage if arm == CONTROL and before != HAD else HAD
        key = (stage, arm, before)
        if key in found:
            found[key].append(line)
        else:
            found[key] = [line]
    return {Group(*key): lines for key, lines in found.items()}


# --- values of units


class _Sums(NamedTuple):
    of: str  # what the sum is of
    sum: str
    per: float = 1.0


SUMS = {
    "error_rate": _Sums("calls", "failed"),
    "first_token": _Sums("begun", "first_us"),
    "latency": _Sums("answered", "took_us"),
    "cost": _Sums("priced", "cost_nusd"),
    "guard_rate": _Sums("calls", "guarded"),
    "retry_rate": _Sums("calls", "asked_again"),
    "satisfaction": _Sums("scored", "score_milli", 1000),
    "judge_score": _Sums("judged", "judged_milli", 1000),
    "task_completion": _Sums("tasks", "completed"),
}


def values(metric: str, lines: Sequence[UnitLine]) -> dict[str, float]:
    """The mean of each unit that has one, turned so that more is worse."""
    sums = SUMS[metric]
    fields = map(attrgetter("unit", sums.sum, sums.of), lines)
    if METRICS[metric].better == "higher":
        return {unit: 1 - total / (of * sums.per) for unit, total, of in fields if of}
    return {unit: total / of for unit, total, of in fields if of}


class Told(NamedTuple):
    """How what is computed becomes what is told."""

    how: str
    value: Callable[[float], float]
    difference: Callable[[float], float]
    turned: bool = False


def _same(value: float) -> float:
    return value


def _told(metric: str, logs: bool, exact: bool) -> Told:
    measured = METRICS[metric]
    if measured.kind == "ratio":
        return Told("logs of units", math.exp, math.expm1) if logs else Told("relative means", _same, _same)
    how = "exact" if exact else "means of units"
    if measured.better == "higher":
        return Told(how, lambda value: 1 - value, lambda value: -value, turned=True)
    return Told(how, _same, _same)


# --- one finding


class Level(NamedTuple):
    """How often, of all tests, each end of an interval may be crossed wrongly."""

    harm: float
    safe: float

    @classmethod
    def of(cls, spec: Spec) -> Level:
        """Of several arms each takes its part. That anything is worse takes back, so what is looked at shares that; to
        promote, all must be right, so each may be wrong as often as the whole (Berger 1982)."""
        safe = (1 - spec.confidence) / len(spec.arms)
        return cls(safe / (len(spec.guards) + (spec.primary is not None)), safe)


def looked_at(spec: Spec) -> list[tuple[Role, GuardMetric]]:
    guards: list[tuple[Role, GuardMetric]] = [("guard", guard) for guard in spec.guards]
    return [("primary", spec.primary), *guards] if spec.primary else guards


def findings(spec: Spec, seen: Seen, before: Before | None = None) -> tuple[Finding, ...]:
    """Of each arm: of the primary metric, then of the guards."""
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
    exact = kind == "share" and found is not None and found.control_mean < RARE
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
        looks_worse=found.estimate > margin,
        needs=0 if verdict in ("worse", "better", "within") else _needs(role, found, margin, gain, level),
    )


def _exact(spec: Spec, tables: Tables, arm: str, level: Level) -> tuple[float, float]:
    lots = _lots(spec, tables, arm)
    return sequential_shares.low(lots, level.harm), sequential_shares.high(lots, level.safe)


def _bounds(found: Difference, size: float, level: Level) -> tuple[float, float]:
    if found.units < FEWEST:
        return -math.inf, math.inf
    return found.estimate - found.reach(size, level.harm), found.estimate + found.reach(size, level.safe)


def _verdict(role: Role, estimate: float, low: float, high: float, margin: float, gain: float) -> Verdict:
    """Worse needs both: that it is worse at all is certain, and that it is by more than the margin is likely. Without
    the first, chance would take back; without the second, a certain trifle."""
    if low > 0 and estimate > margin:
        return "worse"
    if role == "primary":
        return "better" if high < 0 and -estimate >= gain else "unsure"
    return "within" if high < margin else "unsure"


def _end(told: Told, value: float) -> float | None:
    return None if math.isinf(value) else told.difference(value)


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


def share_of(spec: Spec, arm: str, stage: int) -> float:
    """Of all units, that have this arm in a stage; NEVER: before the first."""
    if stage == NEVER:
        return 0.0
    weight = next(one.weight for one in spec.arms if one.name == arm)
    return spec.ramp[stage] * weight / sum(one.weight for one in spec.arms)


def chance_of(spec: Spec, arm: str, stage: int, before: int) -> float:
    """That a unit with this arm or the control has the arm, when it had the control in `before`."""
    given = share_of(spec, arm, stage) - share_of(spec, arm, before)
    kept = 1 - spec.ramp[stage]
    return given / (given + kept) if given > 0 else 0.0


def _needs(role: Role, found: Difference, margin: float, gain: float, level: Level) -> int | None:
    """More units of the arm, with which what is likely now would be certain in four cases of five."""
    if found.estimate > margin:
        distance, alpha = found.estimate, level.harm
    elif role == "guard":
        distance, alpha = margin - found.estimate, level.safe
    elif -found.estimate >= gain:
        distance, alpha = -found.estimate, level.safe
    else:
        return None  # what is likely is no gain, or less of it than wanted
    times = needed(distance, found.variance, SIZE * margin, alpha)
    more = math.inf if times is None else (times - 1) * found.units
    return max(1, math.ceil(more)) if more < MANY_UNITS else None


def needed(distance: float, variance: float, size: float, alpha: float, power: float = POWER) -> float | None:
    """How many times as much must be seen, for the truth to be told from what is `distance` away with this power.

    At one look; who looks always sees it sooner rather than later. None: more than MANY_TIMES.
    """
    beyond = NORMAL.inv_cdf(power)

    def is_enough(times: float) -> bool:
        return distance * math.sqrt(times / variance) >= bar(size * size * times / variance, alpha) + beyond

    most = 1.0
    while not is_enough(most):
        most *= 2
        if most > MANY_TIMES:
            return None
    least = most / 2
    while most > least * 1.001:
        middle = (least + most) / 2
        least, most = (least, middle) if is_enough(middle) else (middle, most)
    return most
