"""Which kept answers are dropped?"""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import ERRORS
from tidegate.core.errors import BadRequest

router = APIRouter(prefix="/admin/cache", tags=["cache"], responses=ERRORS)

Named = Annotated[str | None, Query(max_length=256)]


class Purged(BaseModel):
    purged: Annotated[int, Field(description="Answers that were dropped.")]


@router.delete("")
async def purge(
    principal: Administering,
    house: House,
    route: Named = None,
    tag: Named = None,
    prompt: Named = None,
    team: Named = None,
    all: Annotated[bool, Query(description="Every answer.")] = False,
) -> Purged:
    """Drop the answers of one route, tag, prompt or team, or all of them. They are bought anew when asked for."""
    named = {"route": route, "tag": tag, "prompt": prompt, "team": team}
    said = [f"{kind}:{name}" for kind, name in named.items() if name]
    if len(said) + all != 1:
        raise BadRequest("say what to drop, one of: route=NAME, tag=NAME, prompt=NAME, team=ID, all=true")
    purged = await house.cache.purge(None if all else said[0])
    tell(house, principal, "purge_cache", "everything" if all else said[0])
    return Purged(purged=purged)
