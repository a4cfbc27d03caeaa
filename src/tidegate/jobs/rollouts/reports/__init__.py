"""What does somebody look at? How an experiment stands, how its effect came to be over time, and what was decided.

All of it follows from what was counted of its units and from its decisions; nothing more is kept. A look at an earlier
moment has the units that had come by then, with all that is known of them today.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tidegate.core.experiments import Decision, Experiment, Spec
from tidegate.core.findings import Finding
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.rollout import Judgement, Ratio, decide
from tidegate.core.tally import Counting, Tally
from tidegate.jobs.rollouts.course import possible

LOOKS = 30  # over time


class Look(msgspec.Struct, frozen=True):
    """What was known at a moment."""

    at_ms: int
    stage: int
    units: int
    findings: tuple[Finding, ...]  # without strata


class Said(msgspec.Struct, frozen=True):
    """A decision."""

    id: str
    at_ms: int
    did: str
    was_state: str
    was_stage: int
    state: str
    stage: int
    by: str
    why: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    id: str
    state: str
    stage: int
    ramp: tuple[float, ...]
    since_ms: int
    now_ms: int
    why: str
    arm: str  # that was promoted
    arms: tuple[str, ...]
    unit: str
    confidence: float
    automatic: bool
    can: tuple[str, ...]  # what a person can do now
    units: dict[str, int]  # by arm
    spent_usd: dict[str, float]  # by arm
    did: str  # what follows from what is known now
    found: str
    ratio: Ratio | None  # whether each arm has as many units as it should
    findings: tuple[Finding, ...]
    looks: tuple[Look, ...]
    decisions: tuple[Said, ...]
    note: str = ""


def made(experiment: Experiment, spec: Spec, decisions: Sequence[Decision], counting: Counting, now_ms: int) -> Report:
    """`counting`: of all its units, by LOOKS of them. Takes half a second: not for the event loop."""
    begun_ms = begun(experiment, decisions)
    until_ms = experiment.since_ms if experiment.state not in ("running", "gate", "draft") else now_ms
    until_ms = max(until_ms, begun_ms)
    tally = counting.tally()
    judgement = _looked(spec, decisions, tally, begun_ms, until_ms)
    return Report(
        name=experiment.name,
        id=experiment.id,
        state=experiment.state,
        stage=experiment.stage,
        ramp=tuple(float(share) for share in spec.ramp),
        since_ms=experiment.since_ms,
        now_ms=now_ms,
        why=experiment.why,
        arm=experiment.arm,
        arms=(spec.control.name, *(arm.name for arm in spec.arms)),
        unit=spec.unit,
        confidence=spec.confidence,
        automatic=spec.automatic,
        can=tuple(possible(experiment, spec)),
        units=tally.units,
        spent_usd={arm: nusd / NUSD_PER_USD for arm, nusd in tally.spent_nusd.items()},
        did=judgement.did,
        found=judgement.why,
        ratio=judgement.ratio,
        findings=judgement.findings,
        looks=tuple(_looks(spec, decisions, counting, begun_ms, until_ms)),
        decisions=tuple(_said(one) for one in decisions),
        note=spec.note,
    )


def begun(experiment: Experiment, decisions: Sequence[Decision]) -> int:
    """When anybody first could get an arm."""
    return next((one.at_ms for one in decisions if one.state == "running"), experiment.since_ms)


def _looks(
    spec: Spec, decisions: Sequence[Decision], counting: Counting, begun_ms: int, until_ms: int
) -> Iterator[Look]:
    """At moments between which equally many units came: each unit was there once before there was an interval."""
    moments = [max(first_ms, begun_ms) for first_ms, *_ in counting.looks]
    for number, at_ms in enumerate([*moments, until_ms]):
        tally = counting.tally(number)
        if tally.count:
            judgement = _looked(spec, decisions, tally, begun_ms, at_ms)
            yield Look(at_ms, stage_at(decisions, at_ms), sum(tally.units.values()), _without_strata(judgement))


def _looked(spec: Spec, decisions: Sequence[Decision], tally: Tally, begun_ms: int, at_ms: int) -> Judgement:
    entered_ms = max((one.at_ms for one in decisions if moves(one) and one.at_ms <= at_ms), default=begun_ms)
    ages = (at_ms - entered_ms) / 1000, (at_ms - begun_ms) / 1000
    return decide(spec, stage_at(decisions, at_ms), *ages, tally)


def _without_strata(judgement: Judgement) -> tuple[Finding, ...]:
    return tuple(msgspec.structs.replace(one, strata=()) for one in judgement.findings)


def moves(one: Decision) -> bool:
    """Whether it began a stage."""
    return one.state == "running" and (one.was_state != "running" or one.was_stage != one.stage)


def stage_at(decisions: Sequence[Decision], at_ms: int) -> int:
    return next((one.stage for one in reversed(decisions) if one.at_ms <= at_ms and one.state == "running"), 0)


def _said(one: Decision) -> Said:
    return Said(one.id, one.at_ms, one.did, one.was_state, one.was_stage, one.state, one.stage, one.by, one.why)
