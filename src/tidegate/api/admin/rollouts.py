"""How are experiments started, moved on and ended by people, and how do they stand?"""

# No postponed annotations here: FastAPI evaluates them.
import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House, Looking, sees
from tidegate.api.admin.shapes import ERRORS, Body
from tidegate.core.call import Principal
from tidegate.core.errors import NotFound
from tidegate.core.experiments import Decision, Experiment, Spec, spec_of
from tidegate.gateway import Gateway
from tidegate.jobs.rollouts import reports
from tidegate.jobs.rollouts.course import Verb, possible, wanted
from tidegate.jobs.rollouts.evidence import Asked, followed_again
from tidegate.jobs.rollouts.labels import relabel
from tidegate.jobs.rollouts.moves import Mover

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], responses=ERRORS)

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
    desk, world = house.experiments.desk, house.world
    experiment = await _named(name, principal, house)
    spec, decisions, now_ms = spec_of(experiment), await desk.decisions(experiment), world.clock.wall_ns() // 1_000_000
    lines = await world.ledger.units(experiment.id) if spec.mode == "live" else []
    made = await asyncio.to_thread(reports.made, experiment, spec, decisions, lines, now_ms)
    found: dict[str, Any] = msgspec.to_builtins(made)
    return found


@router.post("/{name}/recompute")
async def recompute_experiment(name: str, principal: Looking, house: House) -> list[Recomputed]:
    """Let each decision follow again from what it was based on, and compare."""
    experiment = await _named(name, principal, house)
    spec, decisions = spec_of(experiment), await house.experiments.desk.decisions(experiment)
    return [await asyncio.to_thread(_again, spec, one) for one in decisions]


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
