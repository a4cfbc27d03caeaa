"""How does a client of Anthropic's speak of batches? Of requests in one body, and of results line by line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from tidegate.api.batches.entrance import Page, body_as, encoded, enter, id_of, new_id, no_such, now_ms, starter
from tidegate.api.batches.files import ANSWERED, FORM, UNANSWERED, Results, send
from tidegate.api.batches.openai_batches import begun, cancelled
from tidegate.api.incoming import Incoming
from tidegate.core.batches import LONGEST_ID
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, Conflict
from tidegate.core.ports.batches import Batch
from tidegate.gateway import Gateway

PATH = "/v1/messages/batches/"
LINES = b"application/x-jsonl"


class Asked(msgspec.Struct):
    requests: list[msgspec.Raw]


class _Named(msgspec.Struct):
    custom_id: Any = None


_ASKED = msgspec.json.Decoder(Asked)
_NAMED = msgspec.json.Decoder(_Named)


async def create(gateway: Gateway, incoming: Incoming) -> None:
    principal = await enter(gateway, incoming, "anthropic")
    config = gateway.batches.config
    incoming.bound = (config.max_file + FORM, "batches.max_file")
    asked = await body_as(incoming, _ASKED)
    if not 0 < len(asked.requests) <= config.max_lines:
        raise BadRequest(f"requests: from 1 to {config.max_lines} are expected, not {len(asked.requests)}")
    content = _lines(asked.requests)
    at_ms, id = now_ms(gateway.world), new_id(gateway.world, "msgbatch_")
    until_ms = at_ms + round(config.window * 1000)
    batch = Batch(id, "anthropic", "/v1/messages", id, starter(principal, incoming), at_ms, until_ms)
    await gateway.batches.add(batch, content)
    begun(gateway, principal, batch)
    await incoming.answer(200, encoded(shown(batch)))


def _lines(requests: Sequence[msgspec.Raw]) -> bytes:
    """One line each. Raises BadRequest where a custom_id is missing or said twice: its result could not be told."""
    seen: dict[str, int] = {}
    lines = []
    for at, request in enumerate(requests):
        text = bytes(request)
        try:
            id = _NAMED.decode(text).custom_id
        except msgspec.DecodeError:
            id = None
        if not isinstance(id, str) or not 0 < len(id) <= LONGEST_ID:
            raise BadRequest(
                f"requests.{at}.custom_id: a text of 1 to {LONGEST_ID} characters is expected",
                param=f"requests.{at}.custom_id",
            )
        if id in seen:
            raise BadRequest(
                f"requests.{at}.custom_id: {id[:60]!r} is that of requests.{seen[id]} too; each needs its own",
                param=f"requests.{at}.custom_id",
            )
        seen[id] = at
        lines.append(msgspec.json.format(text, indent=-1) if b"\n" in text else text)
    return b"\n".join(lines)


async def listed(gateway: Gateway, incoming: Incoming) -> None:
    principal = await enter(gateway, incoming, "anthropic")
    page = Page(incoming, (), 20, 1000, after="after_id")
    found = await gateway.batches.batches(principal.key_id, "anthropic", page.after, page.limit + 1)
    some = [shown(one) for one in found[: page.limit]]
    ends = {"first_id": some[0]["id"], "last_id": some[-1]["id"]} if some else {"first_id": None, "last_id": None}
    await incoming.answer(200, encoded({"data": some, "has_more": len(found) > page.limit, **ends}))


async def _mine(gateway: Gateway, incoming: Incoming) -> tuple[Batch, Principal]:
    principal = await enter(gateway, incoming, "anthropic")
    id = id_of(incoming, PATH)
    batch = await gateway.batches.batch(id, principal.key_id)
    if batch is None or batch.dialect != "anthropic":
        raise no_such("message batch", id)
    return batch, principal


async def show(gateway: Gateway, incoming: Incoming) -> None:
    batch, _ = await _mine(gateway, incoming)
    await incoming.answer(200, encoded(shown(batch)))


async def cancel(gateway: Gateway, incoming: Incoming) -> None:
    batch, principal = await _mine(gateway, incoming)
    await incoming.answer(200, encoded(shown(await cancelled(gateway, principal, batch))))


async def results(gateway: Gateway, incoming: Incoming) -> None:
    batch, _ = await _mine(gateway, incoming)
    if batch.ended is None:
        raise Conflict(f"{batch.id} has not ended; its results are there when it has")
    await send(incoming, Results(gateway.batches, batch, (*ANSWERED, *UNANSWERED)), LINES)


async def delete(gateway: Gateway, incoming: Incoming) -> None:
    batch, _ = await _mine(gateway, incoming)
    if batch.ended is None:
        raise Conflict(f"{batch.id} has not ended; cancel it first")
    await gateway.batches.remove(batch)
    await incoming.answer(200, encoded({"id": batch.id, "type": "message_batch_deleted"}))


def shown(batch: Batch) -> dict[str, Any]:
    counts = batch.counts
    status = "canceling" if batch.cancelled_ms is not None else "in_progress"
    tallied = {"succeeded": counts.done, "errored": counts.failed, "canceled": counts.cancelled}
    if batch.ended is None:  # as the vendor has it: told when all is over
        tallied = dict.fromkeys(tallied, 0)
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if batch.ended is not None else status,
        "request_counts": {
            "processing": counts.open if batch.ended else counts.total,
            **tallied,
            "expired": counts.expired if batch.ended else 0,
        },
        "created_at": _at(batch.created_ms),
        "expires_at": _at(batch.until_ms),
        "ended_at": _at(batch.ended_ms),
        "cancel_initiated_at": _at(batch.cancelled_ms),
        "archived_at": None,
        # Below the base URL that the client has: who is behind a proxy does not know its own address.
        "results_url": f"{PATH}{batch.id}/results" if batch.ended is not None else None,
    }


def _at(at_ms: int | None) -> str | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
