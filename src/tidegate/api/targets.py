"""How is each target doing, and what does an admin say of it? A part of administration."""

# No postponed annotations here: FastAPI evaluates them, and cannot see the functions inside `add`.
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from tidegate.gateway import Gateway


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

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


def add(app: FastAPI, gateway: Callable[[], Gateway], admin: Callable[..., Any], errors: dict[int | str, Any]) -> None:
    """Add the endpoints of targets to `app`."""

    @app.get("/admin/targets", tags=["targets"], responses=errors, dependencies=[Depends(admin)])
    async def list_targets() -> list[ShownTarget]:
        """All that are configured or were asked: whether they are set aside, why, since when, and until when."""
        return [ShownTarget(**msgspec.to_builtins(one)) for one in gateway().upstream.targets.seen()]

    @app.post(
        "/admin/targets/{provider}/{model:path}", tags=["targets"], responses=errors, dependencies=[Depends(admin)]
    )
    async def say(provider: str, model: str, asked: Wanted) -> ShownTarget:
        """Set a target aside, keep it in, or forget what was held against it and the keys of its provider."""
        house = gateway()
        target = house.routes.target(f"{provider}/{model}")
        house.upstream.targets.say(target, asked.breaker)
        (seen,) = (one for one in house.upstream.targets.seen() if one.target == target.name)
        return ShownTarget(**msgspec.to_builtins(seen))
