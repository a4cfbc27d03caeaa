"""How does a client of OpenAI's speak of batches? Of a file that was uploaded, and of one to fetch when it is done."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.api.acts import record
from tidegate.api.batches.entrance import Page, body_as, encoded, enter, id_of, new_id, no_such, now_ms, starter
from tidegate.api.incoming import Incoming
from tidegate.core.batches import ENDPOINTS
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, NotFound
from tidegate.core.ports.batches import Batch
from tidegate.core.values import Duration
from tidegate.gateway import Gateway

PATH = "/v1/batches/"
OURS = [path for path, (dialect, _) in ENDPOINTS.items() if dialect == "openai"]
SHORTEST_S = 60
PAIRS, NAME, VALUE = 16, 64, 512  # of metadata: how many, and how long


class Asked(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: Any = None


_ASKED = msgspec.json.Decoder(Asked)


async def create(gateway: Gateway, incoming: Incoming) -> None:
    principal = await enter(gateway, incoming)
    asked = await body_as(incoming, _ASKED)
    if asked.endpoint not in OURS:
        raise BadRequest(f"endpoint: must be one of {', '.join(OURS)}, not {asked.endpoint[:60]!r}", param="endpoint")
    window_s = min(_window_s(asked.completion_window), gateway.batches.config.window)
    check_metadata(asked.metadata)
    file = await gateway.batches.file(asked.input_file_id[:100].replace("\0", ""), principal.key_id)
    if file is None or file.holds != "input":
        raise NotFound(
            f"input_file_id: there is no file {asked.input_file_id[:100]!r} of your key; upload it with purpose batch",
            param="input_file_id",
        )
    at_ms = now_ms(gateway.world)
    batch = Batch(
        new_id(gateway.world, "batch_"), "openai", asked.endpoint, file.id, starter(principal, incoming), at_ms,
        at_ms + round(window_s * 1000), asked.completion_window, asked.metadata,
    )  # fmt: skip
    await gateway.batches.add(batch)
    begun(gateway, principal, batch)
    await incoming.answer(200, encoded(shown(batch)))


def begun(gateway: Gateway, principal: Principal, batch: Batch) -> None:
    gateway.batches.news.set()
    fields = {"batch": batch.id, "endpoint": batch.endpoint, "key_id": principal.key_id}
    gateway.world.events.notice("batch_created", fields)
    record(gateway.world, principal, "batch_created", batch.id, after={"endpoint": batch.endpoint, "of": batch.source})


def _window_s(said: str) -> float:
    try:
        found = Duration.parse(said)
    except ValueError:
        found = Duration(0)
    if found < SHORTEST_S:
        raise BadRequest(
            f"completion_window: how long it may take, such as 24h or 90m, at least a minute; not {said[:20]!r}",
            param="completion_window",
        )
    return found


def check_metadata(said: dict[str, str] | None) -> None:
    for name, value in (said or {}).items():
        if len(said or {}) > PAIRS or len(name) > NAME or len(value) > VALUE:
            raise BadRequest(
                f"metadata: at most {PAIRS} pairs, names of {NAME} and values of {VALUE} characters", param="metadata"
            )


async def listed(gateway: Gateway, incoming: Incoming) -> None:
    principal = await enter(gateway, incoming)
    page = Page(incoming, (), 20, 100)
    found = await gateway.batches.batches(principal.key_id, "openai", page.after, page.limit + 1)
    some = [shown(one) for one in found[: page.limit]]
    ends = {"first_id": some[0]["id"], "last_id": some[-1]["id"]} if some else {"first_id": None, "last_id": None}
    await incoming.answer(200, encoded({"object": "list", "data": some, **ends, "has_more": len(found) > page.limit}))


async def show(gateway: Gateway, incoming: Incoming) -> None:
    principal = await enter(gateway, incoming)
    id = id_of(incoming, PATH)
    batch = await gateway.batches.batch(id, principal.key_id)
    if batch is None or batch.dialect != "openai":
        raise no_such("batch", id)
    await incoming.answer(200, encoded(shown(batch)))


async def cancel(gateway: Gateway, incoming: Incoming) -> None:
    """Again, or of one that has ended: nothing happens."""
    principal = await enter(gateway, incoming)
    id = id_of(incoming, PATH)
    before = await gateway.batches.batch(id, principal.key_id)
    if before is None or before.dialect != "openai":
        raise no_such("batch", id)
    await incoming.answer(200, encoded(shown(await cancelled(gateway, principal, before))))


async def cancelled(gateway: Gateway, principal: Principal, before: Batch) -> Batch:
    batch = await gateway.batches.cancel(before.id, principal.key_id, now_ms(gateway.world))
    gateway.batches.news.set()
    if batch is not None and before.cancelled_ms is None and batch.cancelled_ms is not None:
        gateway.world.events.notice("batch_cancelled", {"batch": batch.id, "key_id": principal.key_id})
        record(gateway.world, principal, "batch_cancelled", batch.id)
    return batch or before


def status(batch: Batch) -> str:
    if batch.ended is not None:
        return batch.ended
    return "cancelling" if batch.cancelled_ms is not None else batch.state


def shown(batch: Batch) -> dict[str, Any]:
    counts, ended_at = batch.counts, _seconds(batch.ended_ms)
    mistakes = [
        {"code": one.code, "line": one.line, "message": one.message, "param": one.param} for one in batch.mistakes
    ]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": mistakes} if mistakes else None,
        "input_file_id": batch.source,
        "completion_window": batch.window,
        "status": status(batch),
        "output_file_id": batch.output,
        "error_file_id": batch.errors,
        "created_at": batch.created_ms // 1000,
        "in_progress_at": _seconds(batch.began_ms),
        "expires_at": batch.until_ms // 1000,
        "finalizing_at": ended_at,
        "completed_at": ended_at if batch.ended == "completed" else None,
        "failed_at": ended_at if batch.ended == "failed" else None,
        "expired_at": ended_at if batch.ended == "expired" else None,
        "cancelling_at": _seconds(batch.cancelled_ms),
        "cancelled_at": ended_at if batch.ended == "cancelled" else None,
        "request_counts": {"total": counts.total, "completed": counts.done, "failed": counts.wrong},
        "metadata": batch.metadata,
        "lines": {"waiting": counts.pending, "under_way": counts.leased, "at_provider": counts.away},
    }


def _seconds(at_ms: int | None) -> int | None:
    return None if at_ms is None else at_ms // 1000
