"""How is each target doing, and what does an admin say of it?"""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import Body, paths
from tidegate.core.ports import TargetSeen

router = paths("/admin/targets", "targets")


class Wanted(Body):
    breaker: Annotated[
        Literal["open", "closed", "reset"],
        Field(description="open: set it aside; closed: ask it whatever happens; both until reset."),
    ]


class ShownTarget(BaseModel):
    target: str
    state: Annotated[str, Field(description="closed: it is asked; open: it is set aside; half_open: one call tries it")]
    forced: bool
    why: str | None
    since_ms: int
    next_probe_ms: int | None
    busy: int
    waiting: int
    shed: int
    first_token_ms: float | None


@router.get("")
async def list_targets(principal: Administering, house: House) -> list[ShownTarget]:
    """All that are configured or were asked: whether they are set aside, why, since when, and until when."""
    return [_shown(one) for one in house.upstream.targets.seen()]


@router.post("/{provider}/{model:path}")
async def say(provider: str, model: str, asked: Wanted, principal: Administering, house: House) -> ShownTarget:
    """Set a target aside, keep it in, or forget what was held against it and the keys of its provider."""
    target = house.routes.target(f"{provider}/{model}")
    house.upstream.targets.say(target, asked.breaker)
    tell(house, principal, f"breaker_{asked.breaker}", target.name)
    return next(_shown(one) for one in house.upstream.targets.seen() if one.target == target.name)


def _shown(seen: TargetSeen) -> ShownTarget:
    return ShownTarget(**msgspec.to_builtins(seen))
