"""Which batches are there, how far are they, and what did they cost? Of all keys, for who may see them."""

# No postponed annotations here: FastAPI evaluates them.
from datetime import UTC
from typing import Annotated, Any

import msgspec
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.moments import iso
from tidegate.api.admin.policy import House, Looking, Managing, sees, tell
from tidegate.api.admin.shapes import paths
from tidegate.api.batches.entrance import now_ms
from tidegate.api.batches.openai_batches import status
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, NotFound
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.ports.batches import Batch
from tidegate.core.search import CallsAsked, Place
from tidegate.gateway import Gateway

router = paths("/admin/batches", "batches")

READ = 100  # that are read at once
PAGE, MOST = 1_000, 20_000  # calls whose cost is added up

_STARTER = msgspec.json.Decoder(dict[str, Any])


class BatchesQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100, description="Batches of one page.")] = 50
    after: Annotated[str | None, Field(max_length=100, description="`next` of the page before.")] = None


class ShownBatch(BaseModel):
    id: str
    status: Annotated[str, Field(description="validating, in_progress, cancelling, or how it ended.")]
    dialect: str
    endpoint: str
    key_id: str
    name: Annotated[str, Field(description="Of the key that started it.")]
    team_id: str | None
    created: str
    until: Annotated[str, Field(description="What is not answered by then is not asked.")]
    ended: str | None
    counts: Annotated[dict[str, int], Field(description="Lines: total, done, wrong, waiting, under_way, at_provider.")]


class ShownBatches(BaseModel):
    batches: Annotated[list[ShownBatch], Field(description="Newest first.")]
    next: Annotated[str | None, Field(description="`after` of the next page; null on the last.")]


class WholeBatch(ShownBatch):
    cost_usd: Annotated[float, Field(description="Of the calls that were made for it and are in the ledger.")]
    calls: int
    all_counted: Annotated[bool, Field(description=f"false: of more than {MOST} calls, only the newest.")]
    mistakes: Annotated[list[dict[str, Any]], Field(description="Lines that could not be read.")]


@router.get("")
async def list_batches(asked: Annotated[BatchesQuery, Query()], principal: Looking, house: House) -> ShownBatches:
    """Those that are yours to see: all, or those that keys of your team have started."""
    found: list[Batch] = []
    after = asked.after
    if after is not None and await house.batches.batch(after.replace("\0", ""), None) is None:
        raise BadRequest("after: must be `next` of the page before", param="after")
    while len(found) <= asked.limit:
        page = await house.batches.batches(None, None, after, READ)
        found += [one for one in page if sees(principal, _team_of(one))]
        if len(page) < READ:
            break
        after = page[-1].id
    some = found[: asked.limit]
    following = some[-1].id if len(found) > asked.limit else None
    return ShownBatches(batches=[ShownBatch(**_shown(one)) for one in some], next=following)


@router.get("/{id}")
async def get_batch(id: str, principal: Looking, house: House) -> WholeBatch:
    """One batch, with what it has cost so far."""
    return await _whole(await _seen(id, principal, house), house)


@router.post("/{id}/cancel")
async def cancel_batch(id: str, principal: Managing, house: House) -> WholeBatch:
    """What is not under way is not asked any more. Of one that has ended, nothing changes."""
    before = await _seen(id, principal, house)
    batch = await house.batches.cancel(id, before.starter.key_id, now_ms(house.world)) or before
    house.batches.news.set()
    if before.cancelled_ms is None and batch.cancelled_ms is not None:
        tell(house, principal, "batch_cancelled", id)
    return await _whole(batch, house)


async def _seen(id: str, principal: Principal, house: Gateway) -> Batch:
    """Another team's is not there."""
    batch = await house.batches.batch(id.replace("\0", ""), None)
    if batch is None or not sees(principal, _team_of(batch)):
        raise NotFound(f"there is no batch {id[:100]!r}")
    return batch


def _team_of(batch: Batch) -> str | None:
    """As it was when it was started."""
    return _STARTER.decode(batch.starter.principal or b"{}").get("team_id")


async def _whole(batch: Batch, house: Gateway) -> WholeBatch:
    """With the sum of its calls, which have its name as a tag."""
    asked = CallsAsked(
        batch.created_ms, now_ms(house.world) + 1, {"key": batch.starter.key_id, "kind": "batch"}, most=PAGE
    )
    after: Place | None = None
    cost_nusd = calls = looked = 0
    while looked < MOST:
        page = await house.world.ledger.calls(msgspec.structs.replace(asked, after=after))
        mine = [row for row in page.rows if f"batch:{batch.id}" in row.tags]
        cost_nusd += sum(row.cost_nusd or 0 for row in mine)
        calls, looked, after = calls + len(mine), looked + len(page.rows), page.reached
        if after is None:
            break
    mistakes = [{"line": one.line, "code": one.code, "message": one.message} for one in batch.mistakes]
    cost_usd = cost_nusd / NUSD_PER_USD
    return WholeBatch(**_shown(batch), cost_usd=cost_usd, calls=calls, all_counted=after is None, mistakes=mistakes)


def _shown(batch: Batch) -> dict[str, Any]:
    counts = batch.counts
    return {
        "id": batch.id,
        "status": status(batch),
        "dialect": batch.dialect,
        "endpoint": batch.endpoint,
        "key_id": batch.starter.key_id,
        "name": batch.starter.name,
        "team_id": _team_of(batch),
        "created": iso(batch.created_ms, UTC),
        "until": iso(batch.until_ms, UTC),
        "ended": None if batch.ended_ms is None else iso(batch.ended_ms, UTC),
        "counts": {
            **{"total": counts.total, "done": counts.done, "wrong": counts.wrong},
            **{"waiting": counts.pending, "under_way": counts.leased, "at_provider": counts.away},
        },
    }
