"""What has a route learned of its tiers, and what came of it?"""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated

import msgspec
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import House, Looking, sees
from tidegate.api.admin.shapes import paths
from tidegate.core.errors import NotFound

router = paths("/admin/routes", "routes")


class ShownEstimate(BaseModel):
    value: float
    low: Annotated[float, Field(description="With `high`, the interval that holds the true value in 95 of 100 cases.")]
    high: float
    of: Annotated[int, Field(description="Answers.")]


class ShownFound(BaseModel):
    quality: Annotated[
        dict[str, ShownEstimate],
        Field(description="Of what clients got, by who says so: said (users, agents, who asks again), judge, shadow."),
    ]
    regret: Annotated[
        ShownEstimate | None, Field(description="How much better the other tier was, where both were asked.")
    ]
    overpaid: Annotated[
        ShownEstimate | None, Field(description="Of those, where the cheaper one would have been as good.")
    ]


class ShownTiers(BaseModel):
    route: str
    organisation: str
    tiers: list[str]
    labels: Annotated[int, Field(description="Answers of which somebody has said how good they were.")]
    learned: Annotated[bool, Field(description="Tiers are chosen by that, and not by the prior alone.")]
    found: ShownFound
    saving: Annotated[
        float | None, Field(description="Of what the dearest tier would have cost, since this process began.")
    ]
    strange: Annotated[
        float | None, Field(description="Of this process's last questions, far from all that was learned from.")
    ]


class ShownLearning(BaseModel):
    data: list[ShownTiers]


@router.get("/{name}/tiers")
async def show_tiers(name: str, principal: Looking, house: House) -> ShownLearning:
    """By organisation: realised quality and regret with intervals, saving, and drift."""
    route = house.routes.find(name) if sees(principal, None) else None  # what others say of it is of no team
    if route is None or not route.tiers:
        raise NotFound(f"there is no route {name[:60]!r} with tiers")
    there = [one for one in house.upstream.tiers.figures if one.route == route.name]
    return ShownLearning(data=[ShownTiers(**msgspec.to_builtins(one)) for one in there])
