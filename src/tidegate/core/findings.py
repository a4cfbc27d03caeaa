"""What do the units say of an arm, in one metric? How far it is from the control, how sure that is, and what follows.

Everything is turned so that more is worse; only what is told is turned back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from tidegate.core.experiments import CONTROL, METRICS, GuardMetric, Spec
from tidegate.core.stats import NORMAL, sequential_shares
from tidegate.core.stats.power import POWER
from tidegate.core.stats.sequential import bar
from tidegate.core.stats.sequential_means import (
    FEWEST,
    PLAIN,
    Again,
    Difference,
    Side,
    Stratum,
    compared,
    without_before,
)
from tidegate.core.stats.sequential_shares import Lot
from tidegate.core.tally import HAD, NEVER, Both, Group, Place, Tally, Values

Role = Literal["primary", "guard"]
Verdict = Literal["worse", "better", "within", "unsure", "unknown"]
RARE = 0.2  # shares below are compared exactly, others as means
SIZE = 1.5  # margins: the effects that are looked for
MANY_UNITS = 1e7
MANY_TIMES = 1e9  # more is no answer to how many are needed
ROUNDING = 1e-9  # the order in which units came in decides nothing: what is less than this apart is equal


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


class Told(NamedTuple):
    """How what is computed becomes what is told."""

    how: str
    value: Callable[[float], float]
    difference: Callable[[float], float]
    turned: bool = False


def is_rare(share: float) -> bool:
    return share < RARE - ROUNDING


def is_beyond(estimate: float, margin: float) -> bool:
    return estimate > margin + ROUNDING


def is_gain(estimate: float, gain: float) -> bool:
    return -estimate >= gain - ROUNDING


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


def findings(spec: Spec, tally: Tally) -> tuple[Finding, ...]:
    """Of each arm: of the primary metric, then of the guards."""
    return tuple(_finding(spec, tally, arm.name, metric, role) for arm in spec.arms for role, metric in looked_at(spec))


def _finding(spec: Spec, tally: Tally, arm: str, wanted: GuardMetric, role: Role) -> Finding:
    metric, kind = wanted.metric, METRICS[wanted.metric].kind
    stages = sorted({group.stage for group in tally.lines})
    places = [((stage, arm), (stage, CONTROL)) for stage in stages]
    there = _by_place(tally.values.get(metric, {}))
    plain = kind != "ratio"
    logs = not plain and not any(there[place].none for pair in places for place in pair if place in there)
    strata, again = _compare(places, there, tally.again.get(metric, {}), logs)
    found = compared(strata, again, relative=not plain and not logs)
    exact = kind == "share" and found is not None and is_rare(found.control_mean)
    told = _told(metric, logs, exact)
    margin = math.log1p(wanted.margin) if logs else wanted.margin
    gain = -math.log1p(-min(wanted.margin, 0.999)) if logs else wanted.margin
    units, control = (sum(side.n for side in sides) for sides in zip(*strata, strict=True)) if strata else (0, 0)
    by_stage = tuple(
        _in_stage(stage, one, told) for stage, one in zip(stages, strata, strict=True) if any(side.n for side in one)
    )
    blank = Finding(
        arm=arm, metric=metric, role=role, margin=wanted.margin, verdict="unknown", how=told.how, units=units,
        control_units=control, strata=by_stage,
    )  # fmt: skip
    if found is None:
        return blank
    level = Level.of(spec)
    ends = _exact(spec, tally, metric, arm, level) if exact else _bounds(found, SIZE * margin, level)
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


def _by_place(values: Mapping[Group, Values]) -> dict[Place, Values]:
    found: dict[Place, Values] = {}
    for (stage, arm, _), of in sorted(values.items()):
        found[stage, arm] = found[stage, arm] + of if (stage, arm) in found else of
    return found


def _compare(
    places: Sequence[tuple[Place, Place]],
    there: Mapping[Place, Values],
    both: Mapping[tuple[Place, Place], Both],
    logs: bool,
) -> tuple[list[Stratum], list[Again]]:
    """What is compared, and how what units have in several places goes together: without what was so before."""
    of = {place: form for place, values in there.items() if (form := values.logs if logs else values.plain) is not None}
    known = [of[place] for pair in places for place in pair if place in of and len(of[place].means) > 1]
    weights = without_before(known) if known else PLAIN
    strata = [Stratum(*(Side.of(of.get(place), weights) for place in pair)) for pair in places]
    at = {place: (number, side) for number, pair in enumerate(places) for side, place in enumerate(pair)}
    again = [
        Again.of(at[one], at[other], form, strata, weights)
        for (one, other), two in both.items()
        if one in at and other in at and (form := two.logs if logs else two.plain) is not None
    ]
    return strata, again


def _exact(spec: Spec, tally: Tally, metric: str, arm: str, level: Level) -> tuple[float, float]:
    lots = _lots(spec, tally, metric, arm)
    return sequential_shares.low(lots, level.harm), sequential_shares.high(lots, level.safe)


def _bounds(found: Difference, size: float, level: Level) -> tuple[float, float]:
    if found.units < FEWEST:
        return -math.inf, math.inf
    return found.estimate - found.reach(size, level.harm), found.estimate + found.reach(size, level.safe)


def _verdict(role: Role, estimate: float, low: float, high: float, margin: float, gain: float) -> Verdict:
    """Worse needs both: that it is worse at all is certain, and that it is by more than the margin is likely. Without
    the first, chance would take back; without the second, a certain trifle."""
    if low > 0 and is_beyond(estimate, margin):
        return "worse"
    if role == "primary":
        return "better" if high < 0 and is_gain(estimate, gain) else "unsure"
    return "within" if high < margin else "unsure"


def _end(told: Told, value: float) -> float | None:
    return None if math.isinf(value) else told.difference(value)


def _in_stage(stage: int, one: Stratum, told: Told) -> InStage:
    means = [side.mean if side.n else None for side in one]
    arm, control = (None if mean is None else told.value(mean) for mean in means)
    estimate = None
    if means[0] is not None and means[1] is not None:
        apart = means[0] - means[1]
        if told.how == "relative means":
            apart = apart / means[1] if means[1] > 0 else math.nan
        estimate = None if math.isnan(apart) else told.difference(apart)
    return InStage(stage, one.arm.n, one.control.n, arm, control, estimate)


def _lots(spec: Spec, tally: Tally, metric: str, arm: str) -> list[Lot]:
    found, values = [], tally.values.get(metric, {})
    for stage, before in sorted({(group.stage, group.before) for group in tally.lines if group.before != HAD}):
        chance = chance_of(spec, arm, stage, before)
        if not 0 < chance < 1:
            continue
        sides = [values.get(Group(stage, one, before)) for one in (arm, CONTROL)]
        none = sum(side.none for side in sides if side is not None)
        found.append(Lot(chance, none, *(side.shares if side is not None else {} for side in sides)))
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
    if is_beyond(found.estimate, margin):
        distance, alpha = found.estimate, level.harm
    elif role == "guard":
        distance, alpha = margin - found.estimate, level.safe
    elif is_gain(found.estimate, gain):
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
