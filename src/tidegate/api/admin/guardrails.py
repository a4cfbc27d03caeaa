"""What would the guards of a route make of this text?"""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House
from tidegate.api.admin.shapes import Body, Text, paths
from tidegate.core.errors import NotFound
from tidegate.stages.guardrails import DEFAULT
from tidegate.stages.guardrails.trial import tried

router = paths("/admin/guardrails", "guardrails")


class Wanted(Body):
    text: Annotated[str, Field(max_length=100_000)]
    route: Annotated[Text | None, Field(description="Whose guards; those of all routes when left out.")] = None
    direction: Annotated[Literal["input", "output"], Field(description="As a question, or as an answer.")] = "input"
    role: Annotated[Text, Field(description="Who says it: user, system, tool …")] = "user"


class ShownSpan(BaseModel):
    rule: str
    start: Annotated[int, Field(description="By character.")]
    end: int
    score: float


class ShownTrial(BaseModel):
    guard: str
    action: str
    verdict: Annotated[str, Field(description="pass, flag, mask, block, or failed")]
    found: list[ShownSpan]
    text: Annotated[str | None, Field(description="What the guard would leave; null where it blocks.")]
    error: str | None


@router.post("/try")
async def attempt(asked: Wanted, principal: Administering, house: House) -> list[ShownTrial]:
    """What each guard finds, where, and what it would leave; nobody is asked, and nothing is kept."""
    if asked.route is not None and asked.route not in house.routes.labels:
        raise NotFound(f"no route {asked.route!r}; there are: {', '.join(house.routes.labels[:10])}", param="route")
    guards = house.guardrails.of(DEFAULT if asked.route is None else asked.route)
    found = await tried(guards, asked.text, asked.direction, asked.role) if guards is not None else []
    return [ShownTrial(**msgspec.to_builtins(one)) for one in found]
