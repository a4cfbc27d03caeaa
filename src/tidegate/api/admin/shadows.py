"""What have the arms of an experiment in shadow mode answered, beside what was seen?"""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import House, Looking, sees
from tidegate.api.admin.shapes import paths
from tidegate.core.errors import BadRequest, NotFound
from tidegate.core.experiments import spec_of
from tidegate.jobs.shadows import report

router = paths("/v1/experiments", "experiments")


class ShownShadows(BaseModel):
    name: str
    id: str
    pairs: Annotated[int, Field(description="That were compared, the newest.")]
    spent_nusd: Annotated[int, Field(description="All shadows, and their judges.")]
    arms: Annotated[list[dict[str, Any]], Field(description="Ratios are of the shadow to its call.")]


@router.get("/{name}/shadow")
async def show_shadows(name: str, principal: Looking, house: House) -> ShownShadows:
    """Pair by pair, with intervals; where a suite of the route's judge compares, which was better."""
    if not sees(principal, None):
        raise NotFound(f"there is no experiment {name[:60]!r}")  # they are the house's, and of no team
    experiment = await house.experiments.desk.named(name)
    if spec_of(experiment).mode != "shadow":
        raise BadRequest(f"experiment {experiment.name!r} is not in shadow mode: what its arms answer is seen")
    found = await report(house.world, experiment)
    arms = [msgspec.to_builtins(one) for one in found.arms]
    return ShownShadows(
        name=experiment.name, id=experiment.id, pairs=found.pairs, spent_nusd=found.spent_nusd, arms=arms
    )
