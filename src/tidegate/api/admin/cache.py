"""What have the caches done, and which kept answers are dropped?"""

# No postponed annotations here: FastAPI evaluates them.
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import ERRORS
from tidegate.core.errors import BadRequest
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.usage import UsageAsked, periods

router = APIRouter(prefix="/admin/cache", tags=["cache"], responses=ERRORS)

Named = Annotated[str | None, Query(max_length=256)]


class Purged(BaseModel):
    purged: Annotated[int, Field(description="Answers that were dropped.")]
    questions: Annotated[int, Field(description="Questions that were compared by meaning, dropped with their answers.")]


class Evicted(BaseModel):
    wrong: Annotated[str, Field(description="The call whose answer was wrong.")]


class ShownMeaning(BaseModel):
    route: str
    max_error: Annotated[float, Field(description="The share of wrong answers among hits that is promised.")]
    lookups: int
    hits: int
    saved_usd: float
    threshold: Annotated[float | None, Field(description="Answers are given from this probability on.")]
    error: Annotated[float | None, Field(description="The estimated share of wrong ones among hits.")]
    error_upper: Annotated[float | None, Field(description="Its upper bound.")]
    why: Annotated[str, Field(description="Why few or none are given; empty while all is well.")]


class ShownDay(BaseModel):
    day_ms: Annotated[int, Field(description="When it began, in UTC, in milliseconds since 1970.")]
    route: str
    result: Annotated[str, Field(description="hit, miss, shared or bypass")]
    calls: int
    cost_usd: float


class CacheReport(BaseModel):
    semantic: Annotated[
        list[ShownMeaning], Field(description="Those that were asked since this process began; over all processes.")
    ]
    days: list[ShownDay]


@router.get("")
async def report(principal: Administering, house: House, days: Annotated[int, Query(ge=1, le=366)] = 7) -> CacheReport:
    """What the caches did: by route and day, and how sure the semantic ones are."""
    now = datetime.fromtimestamp(house.world.clock.wall_ns() / 1e9, UTC)
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
    asked = UsageAsked(tuple(periods(since, now + timedelta(hours=1), "day")), by=("route", "cache"))
    lines = await house.world.ledger.usage(asked)
    meanings = house.cache.meanings
    return CacheReport(
        semantic=[_shown(one) for one in meanings.seen()] if meanings is not None else [],
        days=[
            ShownDay(
                day_ms=line.begin_ms,
                route=line.names[0],
                result=line.names[1],
                calls=line.sums["calls"],
                cost_usd=line.sums["cost_nusd"] / NUSD_PER_USD,
            )
            for line in lines
            if line.names[1]
        ],
    )


@router.post("/{hit}/wrong")
async def wrong(hit: str, principal: Administering, house: House) -> Evicted:
    """What this call was given from the semantic cache is wrong: it is not given again, and is learned from."""
    await house.cache.wrong(hit)
    tell(house, principal, "wrong_answer", hit)
    return Evicted(wrong=hit)


def _shown(seen: Any) -> ShownMeaning:
    fields = msgspec.structs.asdict(seen)
    saved_usd = fields.pop("saved_nusd") / NUSD_PER_USD
    return ShownMeaning(**fields, saved_usd=saved_usd)


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
        raise BadRequest(
            "say what to drop, one of: route=NAME, tag=NAME, prompt=NAME, team=ID, all=true", param="route"
        )
    purged, questions = await house.cache.purge(None if all else said[0])
    tell(house, principal, "purge_cache", "everything" if all else said[0])
    return Purged(purged=purged, questions=questions)
