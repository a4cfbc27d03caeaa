"""What have the caches done, and which kept answers are dropped?"""

# No postponed annotations here: FastAPI evaluates them.
import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field

from tidegate.api.admin.moments import iso
from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import paths
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, NotFound
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.ports import Closed, Erased
from tidegate.core.search import CallsAsked
from tidegate.core.usage import UsageAsked, periods
from tidegate.gateway import Gateway
from tidegate.jobs.evals.imports.stored import reply_of
from tidegate.storage.archive import shown

router = paths("/admin/cache", "cache")

SAMPLE = 1000  # of the newest hits
RECENT = 50

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


class ShownKind(BaseModel):
    layer: Annotated[str, Field(description="exact, semantic or idempotent")]
    calls: int
    saved_usd: float


class ShownHit(BaseModel):
    id: str
    at: str
    route: str | None
    key_id: str
    saved_usd: float


class ShownPair(ShownHit):
    """Of what was not kept there is null."""

    similarity: Annotated[float | None, Field(description="null: it was judged, or is remembered no longer.")]
    asked: Annotated[str | None, Field(description="What was asked, where its route keeps that (routes.NAME.store).")]
    answered: str | None
    bought: Annotated[str | None, Field(description="The call whose answer it was given.")]
    bought_asked: Annotated[str | None, Field(description="What that one had asked.")]


class CacheReport(BaseModel):
    semantic: Annotated[
        list[ShownMeaning], Field(description="Those that were asked since this process began; over all processes.")
    ]
    days: list[ShownDay]
    kinds: Annotated[list[ShownKind], Field(description=f"What the newest hits were, at most {SAMPLE}.")]
    recent: Annotated[list[ShownHit], Field(description="The newest among them that were found by meaning.")]


@router.get("")
async def report(principal: Administering, house: House, days: Annotated[int, Query(ge=1, le=366)] = 7) -> CacheReport:
    """What the caches did: by route and day, and how sure the semantic ones are."""
    now = datetime.fromtimestamp(house.world.clock.wall_ns() / 1e9, UTC)
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
    asked = UsageAsked(tuple(periods(since, now + timedelta(hours=1), "day")), by=("route", "cache"))
    ledger, now_ms = house.world.ledger, round(now.timestamp() * 1000)
    hits = CallsAsked(round(since.timestamp() * 1000), now_ms + 1, {"cache": "hit"}, most=SAMPLE)
    lines, newest = await asyncio.gather(ledger.usage(asked), ledger.calls(hits))
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
        kinds=_kinds(newest.rows),
        recent=[ShownHit(**_hit(row)) for row in newest.rows if row.cache_layer == "semantic"][:RECENT],
    )


@router.get("/{hit}")
async def show_hit(hit: str, principal: Administering, house: House) -> ShownPair:
    """A hit by meaning: what was asked, and what the call had asked whose answer it was given."""
    row = await house.world.ledger.find(hit)
    if row is None or (row.cache, row.cache_layer) != ("hit", "semantic"):
        raise NotFound(f"there is no semantic hit {hit[:80]!r}")
    found = await house.cache.hit(hit)
    bought = found.bought if found is not None else ""
    asked, before = [await _said(id, principal, house) for id in (hit, bought)]
    return ShownPair(
        **_hit(row),
        similarity=found.features[0] if found is not None else None,
        asked=asked[0],
        answered=asked[1],
        bought=bought or None,
        bought_asked=before[0],
    )


async def _said(id: str, principal: Principal, house: Gateway) -> tuple[str | None, str | None]:
    """What is kept of it; who reads it is told of."""
    try:
        body = await house.archive.body(id) if id else None
    except Erased:
        body = None
    if body is None:
        return None, None
    tell(house, principal, "body_read", id)
    said = shown(body)
    return said["request"], None if said["reply"] is None else reply_of(said["reply"])


def _kinds(hits: Sequence[Closed]) -> list[ShownKind]:
    layers = sorted({row.cache_layer for row in hits if row.cache_layer})
    mine = {layer: [row for row in hits if row.cache_layer == layer] for layer in layers}
    return [
        ShownKind(layer=layer, calls=len(rows), saved_usd=sum(row.saved_nusd for row in rows) / NUSD_PER_USD)
        for layer, rows in mine.items()
    ]


def _hit(row: Closed) -> dict[str, Any]:
    saved_usd = row.saved_nusd / NUSD_PER_USD
    return {"id": row.id, "at": iso(row.at_ms, UTC), "route": row.route, "key_id": row.key_id, "saved_usd": saved_usd}


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
