"""How are experiments described, looked at and put away? What moves them on is in `rollouts`."""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated, Any

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House, Looking, sees
from tidegate.api.admin.shapes import paths
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, NotFound
from tidegate.core.experiments import Experiment, Spec, read, spec_of
from tidegate.core.ports import DEFAULT_ORGANISATION
from tidegate.core.units import unit as unit_of
from tidegate.gateway import Gateway
from tidegate.stages.experiments.checks import Wrong

router = paths("/v1/experiments", "experiments")

MOST = 20  # mistakes that one answer names
Organisation = Annotated[str, Query(max_length=128, description="Whose it is.")]


class ShownExperiment(BaseModel):
    id: str
    name: str
    state: str
    stage: Annotated[int, Field(description="Of the ramp, from 0.")]
    share: Annotated[float, Field(description="Of the units, that have an arm at this stage.")]
    since_ms: Annotated[int, Field(description="It is in this state and stage.")]
    created_ms: int
    by: Annotated[str, Field(description="A key's id.")]
    why: Annotated[str, Field(description="It is where it is.")]
    arm: Annotated[str, Field(description="That was promoted.")]
    archived_ms: Annotated[int, Field(description="0: not yet.")]
    spec: Annotated[dict[str, Any], Field(description="As it was described, with all defaults.")]
    warnings: Annotated[list[str], Field(description="It can be tried, and you should know.")] = []


class ShownDecision(BaseModel):
    id: str
    at_ms: int
    did: str
    was_state: str
    was_stage: int
    state: str
    stage: int
    by: Annotated[str, Field(description="A key's id; house, when nobody was asked.")]
    why: str
    arm: str
    inputs: Annotated[Any, Field(description="What it followed from.")]


class ShownUnit(BaseModel):
    experiment: str
    unit: Annotated[str, Field(description="As rows have it.")]
    arm: Annotated[str | None, Field(description="null: it takes no part.")]
    why: str


@router.post("", status_code=201)
async def new_experiment(described: dict[str, Any], principal: Administering, house: House) -> ShownExperiment:
    """Make a draft: nobody gets an arm before it is started. All that is wrong with it is said at once."""
    spec = read(described)
    warnings = await checked(spec, house)
    made = await house.experiments.desk.make(spec, principal.key_id, principal.name)
    return _shown(made, warnings)


@router.get("")
async def list_experiments(principal: Looking, house: House, archived: bool = False) -> list[ShownExperiment]:
    """All that there are, oldest first."""
    every = await house.experiments.desk.every() if sees(principal, None) else []
    return [_shown(one) for one in every if archived or not one.archived_ms]


@router.get("/{name}")
async def get_experiment(name: str, principal: Looking, house: House) -> ShownExperiment:
    """One of them, as it was described and as it stands."""
    return _shown(await _named(name, principal, house))


@router.get("/{name}/decisions")
async def list_decisions(name: str, principal: Looking, house: House) -> list[ShownDecision]:
    """What was decided about it, by whom and on what, oldest first."""
    return [
        ShownDecision(**{**msgspec.structs.asdict(one), "inputs": msgspec.json.decode(one.inputs)})
        for one in await house.experiments.desk.decisions(await _named(name, principal, house))
    ]


@router.get("/{name}/units/{unit}")
async def get_unit(
    name: str, unit: str, principal: Looking, house: House, organisation: Organisation = DEFAULT_ORGANISATION
) -> ShownUnit:
    """Which arm a user, session or team gets, whichever of them the experiment goes by."""
    experiment = await _named(name, principal, house)
    kind = spec_of(experiment).unit
    called = unit_of(kind, organisation, user=unit, session=unit, team=unit)
    if called is None:
        raise BadRequest(f"{name[:60]!r} goes by {kind}: nobody can say what a call will get", param="unit")
    digest, arm, why = house.experiments.place(experiment, called)
    return ShownUnit(experiment=experiment.id, unit=digest, arm=arm, why=why)


@router.delete("/{name}")
async def archive_experiment(name: str, principal: Administering, house: House) -> ShownExperiment:
    """Put a draft or one that has ended away: nothing of it holds any more, what it promoted neither. Its name is free,
    and what was decided stays to be read."""
    desk = house.experiments.desk
    return _shown(await desk.archive(await desk.named(name), principal.key_id, principal.name))


async def checked(spec: Spec, house: Gateway) -> list[str]:
    """What should be known of it, as things stand now. Raises BadRequest with all that is wrong."""
    found = await house.experiments.trouble(spec)
    wrong = [one for one in found if one.stops]
    if wrong:
        raise BadRequest("; ".join(map(_said, wrong[:MOST])), param=wrong[0].path)
    return [_said(one) for one in found]


async def _named(name: str, principal: Principal, house: Gateway) -> Experiment:
    """They are the house's: of a team's people, nobody sees them."""
    if not sees(principal, None):
        raise NotFound(f"there is no experiment {name[:60]!r}")
    return await house.experiments.desk.named(name)


def _said(one: Wrong) -> str:
    return f"{one.path}: {one.said}"


def _shown(one: Experiment, warnings: list[str] | None = None) -> ShownExperiment:
    spec = spec_of(one)
    fields = {name: getattr(one, name) for name in ShownExperiment.model_fields if name in one.__struct_fields__}
    share = float(spec.ramp[min(one.stage, len(spec.ramp) - 1)])
    return ShownExperiment(**{**fields, "spec": msgspec.json.decode(one.spec)}, share=share, warnings=warnings or [])
