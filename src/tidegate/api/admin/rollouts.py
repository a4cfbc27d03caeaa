"""How are experiments started, moved on and ended by people, and how do they stand?"""

# No postponed annotations here: FastAPI evaluates them.
import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from tidegate.api.admin.experiments import checked
from tidegate.api.admin.live import LONGEST_S, live
from tidegate.api.admin.policy import Administering, House, Looking, sees
from tidegate.api.admin.requests import EVENTS
from tidegate.api.admin.shapes import Body, paths
from tidegate.core.call import Principal
from tidegate.core.errors import NotFound
from tidegate.core.experiments import ENDED, METRICS, Decision, Experiment, Spec, spec_of
from tidegate.core.tally import Counting
from tidegate.gateway import Gateway
from tidegate.jobs.rollouts import reports
from tidegate.jobs.rollouts.count import count
from tidegate.jobs.rollouts.course import Verb, possible, wanted
from tidegate.jobs.rollouts.evidence import Asked, followed_again
from tidegate.jobs.rollouts.labels import relabel
from tidegate.jobs.rollouts.moves import Mover
from tidegate.jobs.rollouts.reports import words

router = paths("/v1/experiments", "experiments")

LOOK_S, REPORT_S = 0.5, 5.0
Why = Annotated[str, Field(max_length=500, description="In plain words, for the log of decisions.")]


class Move(Body):
    why: Why = ""


class Promotion(Move):
    arm: Annotated[str, Field(max_length=60, description="Which; where there is one, that one.")] = ""


class MovedExperiment(BaseModel):
    name: str
    id: str
    state: str
    stage: int
    why: str
    arm: Annotated[str, Field(description="That was promoted.")]
    can: Annotated[list[str], Field(description="What can be done with it now.")]


class Recomputed(BaseModel):
    id: str
    did: str
    same: Annotated[bool | None, Field(description="null: a person decided, or this version cannot tell.")]
    why: str


@router.post("/{name}/start")
async def start_experiment(name: str, body: Move, principal: Administering, house: House) -> MovedExperiment:
    """Give the first stage of the ramp its arms, or ask the suite first where a gate is named."""
    draft = await house.experiments.desk.named(name)
    if draft.state == "draft":  # it may be days old: what it names may be gone
        await checked(spec_of(draft), house)
    return await _moved(name, "start", body.why, principal, house)


@router.post("/{name}/advance")
async def advance_experiment(name: str, body: Move, principal: Administering, house: House) -> MovedExperiment:
    """Go on to the next stage of the ramp, whatever was found."""
    return await _moved(name, "advance", body.why, principal, house)


@router.post("/{name}/promote")
async def promote_experiment(name: str, body: Promotion, principal: Administering, house: House) -> MovedExperiment:
    """Give an arm to everybody; of a prompt, move its label."""
    return await _moved(name, "promote", body.why, principal, house, body.arm)


@router.post("/{name}/rollback")
async def take_back_experiment(name: str, body: Move, principal: Administering, house: House) -> MovedExperiment:
    """Give everybody the control again, at once."""
    return await _moved(name, "rollback", body.why, principal, house)


@router.post("/{name}/stop")
async def stop_experiment(name: str, body: Move, principal: Administering, house: House) -> MovedExperiment:
    """End it without a verdict: everybody has the control."""
    return await _moved(name, "stop", body.why, principal, house)


@router.get("/{name}/report")
async def report_experiment(name: str, principal: Looking, house: House) -> dict[str, Any]:
    """How it stands: every metric with its interval, over time and by stage, and what was decided."""
    found: dict[str, Any] = msgspec.to_builtins(await _report(await _named(name, principal, house), house))
    return found


@router.get("/{name}/live", response_class=StreamingResponse, responses=EVENTS)
async def report_live(
    name: str,
    principal: Looking,
    house: House,
    seconds: Annotated[float, Query(ge=0, le=LONGEST_S, description="How long, at most.")] = 3600,
) -> StreamingResponse:
    """The report, in plain words too: at once when something is decided, and every few seconds while it runs."""
    watch = Watch(await _named(name, principal, house), house)
    return await live(house.world, watch.look, seconds, LOOK_S)


class Watch:
    """One experiment, looked at: whether it moved on twice a second, how it stands as often as that is no burden."""

    def __init__(self, experiment: Experiment, house: Gateway) -> None:
        self._id = experiment.id
        self._house = house
        self._seen: Experiment | None = None
        self._again_ns = 0

    async def look(self) -> bytes | None:
        clock = self._house.world.clock
        now = await self._house.world.store.find(Experiment, self._id)
        if now is None or (now == self._seen and (now.state in ENDED or clock.now_ns() < self._again_ns)):
            return None
        begun_ns = clock.now_ns()
        report = await _report(now, self._house)
        took_ns = clock.now_ns() - begun_ns
        self._seen, self._again_ns = now, clock.now_ns() + max(round(REPORT_S * 1e9), 10 * took_ns)
        return msgspec.json.encode(_told(report) | {"archived_ms": now.archived_ms})


def _told(report: reports.Report) -> dict[str, Any]:
    """With what a page cannot know: how each metric is compared, where its margin is, and what it means."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    for shown, one in zip(found["findings"], report.findings, strict=True):
        shown |= {"kind": METRICS[one.metric].kind, "edge": words.edge(one), "said": words.sentence(one)}
    return found | {"headline": words.headline(report), "minds": list(words.minds(report))}


@router.post("/{name}/recompute")
async def recompute_experiment(name: str, principal: Looking, house: House) -> list[Recomputed]:
    """Let each decision follow again from what it was based on, and compare."""
    experiment = await _named(name, principal, house)
    spec, decisions = spec_of(experiment), await house.experiments.desk.decisions(experiment)
    return [await asyncio.to_thread(_again, spec, one) for one in decisions]


async def _report(experiment: Experiment, house: Gateway) -> reports.Report:
    world, spec = house.world, spec_of(experiment)
    decisions, now_ms = await house.experiments.desk.decisions(experiment), world.clock.wall_ns() // 1_000_000
    counting = Counting(spec)
    if spec.mode == "live":
        counting = Counting(spec, looks=await world.ledger.arrivals(experiment.id, reports.LOOKS))
        await count(world.ledger.units, experiment.id, counting)
    return await asyncio.to_thread(reports.made, experiment, spec, decisions, counting, now_ms)


async def _named(name: str, principal: Principal, house: Gateway) -> Experiment:
    """They are the house's: of a team's people, nobody sees them."""
    if not sees(principal, None):
        raise NotFound(f"there is no experiment {name[:60]!r}")
    return await house.experiments.desk.named(name)


def _again(spec: Spec, decision: Decision) -> Recomputed:
    same, why = followed_again(spec, decision)
    return Recomputed(id=decision.id, did=decision.did, same=same, why=why)


async def _moved(
    name: str, verb: Verb, why: str, principal: Principal, house: Gateway, arm: str = ""
) -> MovedExperiment:
    desk = house.experiments.desk
    experiment = await desk.named(name)
    spec = spec_of(experiment)
    move = wanted(experiment, spec, verb, why, arm)
    mover = Mover(house.world, desk, relabel(lambda: house))
    moved = await mover.make(experiment, move, Asked(verb, arm), principal.key_id, principal.name)
    return _shown(moved, list(possible(moved, spec)))


def _shown(one: Experiment, can: list[Verb]) -> MovedExperiment:
    return MovedExperiment(
        name=one.name, id=one.id, state=one.state, stage=one.stage, why=one.why, arm=one.arm, can=[*can]
    )
