"""Which files are there? What a key has uploaded for batches, and what came of them; in the words of OpenAI's API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.api.acts import record
from tidegate.api.batches.entrance import Page, encoded, enter, id_of, new_id, no_such, now_ms
from tidegate.api.batches.forms import Part, parts
from tidegate.api.incoming import Incoming
from tidegate.core.batches import LineState
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, BodyTooLarge, Conflict
from tidegate.core.ports import Batches
from tidegate.core.ports.batches import Batch, File
from tidegate.gateway import Gateway

PATH = "/v1/files/"
FORM = 64 * 1024  # bytes of a form besides its file
KIND = b"application/octet-stream"
INERT = [
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"content-disposition", b"attachment"),
    (b"cache-control", b"no-store"),
]
ANSWERED: tuple[LineState, ...] = ("done",)
UNANSWERED: tuple[LineState, ...] = ("failed", "cancelled", "expired")
SHORTEST_S, LONGEST_S = 3_600, 30 * 86_400  # that a client may say a file is kept
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"


async def upload(gateway: Gateway, incoming: Incoming) -> None:
    principal = await enter(gateway, incoming)
    store = gateway.batches
    incoming.any_kind = True
    incoming.bound = (store.config.max_file + FORM, "batches.max_file")
    form = parts(incoming.header(b"content-type") or b"", await incoming.body())
    file, content = _file(gateway, principal, form)
    kept = await store.kept(principal.key_id)
    if kept + file.bytes > store.config.max_kept:
        raise BodyTooLarge(
            f"key {principal.name!r} keeps {kept} bytes of files, and may keep {int(store.config.max_kept)} "
            "(batches.max_kept); delete some"
        )
    await store.put(file, content)
    await incoming.answer(200, encoded(shown(file)))


def _file(gateway: Gateway, principal: Principal, form: dict[str, Part]) -> tuple[File, bytes]:
    config, at_ms = gateway.batches.config, now_ms(gateway.world)
    purpose, there = form.get("purpose"), form.get("file")
    if purpose is None or purpose.content != b"batch":
        said = "" if purpose is None else f", not {purpose.content[:40].decode('utf-8', 'replace')!r}"
        raise BadRequest(
            f"purpose: must be batch{said}; files of other purposes go to a provider: name a route of it in the header "
            "x-tidegate-route",
            param="purpose",
        )
    if there is None or there.filename is None:
        raise BadRequest("file: is missing; it is a part of the form with a filename", param="file")
    if len(there.content) > config.max_file:
        raise BodyTooLarge(f"the file is larger than {int(config.max_file)} bytes (batches.max_file)")
    until_ms = at_ms + round(min(config.keep, _kept_s(form) or config.keep) * 1000)
    name = there.filename[:256] or "batch.jsonl"
    file = File(
        new_id(gateway.world, "file-"), principal.organisation_id, principal.key_id, name, len(there.content), at_ms,
        until_ms,
    )  # fmt: skip
    return file, there.content


def _kept_s(form: dict[str, Part]) -> int | None:
    """How long, as the client says. Raises BadRequest."""
    anchor, seconds = form.get(ANCHOR), form.get(SECONDS)
    if anchor is None and seconds is None:
        return None
    said = seconds.content if seconds is not None else b""
    if anchor is None or anchor.content != b"created_at" or not said.isdigit() or len(said) > 9:
        raise BadRequest("expires_after: {anchor: created_at, seconds: …} is expected", param="expires_after")
    if not SHORTEST_S <= int(said) <= LONGEST_S:
        raise BadRequest(f"expires_after.seconds: from {SHORTEST_S} to {LONGEST_S}", param="expires_after.seconds")
    return int(said)


async def listed(gateway: Gateway, incoming: Incoming) -> None:
    principal = await enter(gateway, incoming)
    page = Page(incoming, ("purpose", "order"), 100, 10_000)
    if page.said.get("order", "desc") != "desc":
        raise BadRequest("order: files are listed newest first: desc", param="order")
    found = await gateway.batches.files(principal.key_id, page.after, page.limit + 1)
    purpose = page.said.get("purpose")
    some = [one for one in map(shown, found[: page.limit]) if purpose in (None, one["purpose"])]
    ends = {"first_id": some[0]["id"], "last_id": some[-1]["id"]} if some else {"first_id": None, "last_id": None}
    await incoming.answer(200, encoded({"object": "list", "data": some, **ends, "has_more": len(found) > page.limit}))


async def show(gateway: Gateway, incoming: Incoming) -> None:
    await incoming.answer(200, encoded(shown(await _mine(gateway, incoming, await enter(gateway, incoming)))))


async def content(gateway: Gateway, incoming: Incoming) -> None:
    principal = await enter(gateway, incoming)
    file = await _mine(gateway, incoming, principal)
    if not file.batch:
        await send(incoming, Uploaded(gateway.batches, file.id), KIND)
        return
    batch = await gateway.batches.batch(file.batch, file.key_id)
    if batch is None:
        raise no_such("file", file.id)
    await send(incoming, Results(gateway.batches, batch, ANSWERED if file.holds == "output" else UNANSWERED), KIND)


class Uploaded:
    """A file, piece by piece."""

    def __init__(self, store: Batches, id: str) -> None:
        self._store = store
        self._id = id
        self._at = -1

    async def next(self) -> bytes:
        """Empty at the end."""
        self._at += 1
        return await self._store.part(self._id, self._at) or b""


class Results:
    """Those of a batch, in the order of its lines."""

    def __init__(self, store: Batches, batch: Batch, states: Sequence[LineState]) -> None:
        self._store = store
        self._batch = batch
        self._states = states
        self._after = 0

    async def next(self) -> bytes:
        found = await self._store.page(self._batch, self._states, self._after)
        if found is None:
            return b""
        piece, self._after = found
        return piece


async def send(incoming: Incoming, pieces: Uploaded | Results, kind: bytes) -> None:
    """Piece by piece: what is large is never whole in memory."""
    piece = await pieces.next()  # what is wrong is an error, and not the end of an answer
    await incoming.start(200, [(b"content-type", kind), *INERT])
    while piece:
        await incoming.piece(piece, last=False)
        piece = await pieces.next()
    await incoming.piece(b"", last=True)


async def delete(gateway: Gateway, incoming: Incoming) -> None:
    principal = await enter(gateway, incoming)
    file = await _mine(gateway, incoming, principal)
    if any(one.source == file.id and one.state == "validating" for one in await gateway.batches.unended()):
        raise Conflict(f"{file.id} is being read for a batch; delete it when that is in progress")
    await gateway.batches.drop(file)
    record(gateway.world, principal, "file_deleted", file.id)
    await incoming.answer(200, encoded({"id": file.id, "object": "file", "deleted": True}))


async def _mine(gateway: Gateway, incoming: Incoming, principal: Principal) -> File:
    """Raises NotFound, for another key's as for none."""
    id = id_of(incoming, PATH)
    file = await gateway.batches.file(id, principal.key_id)
    if file is None:
        raise no_such("file", id)
    return file


def shown(file: File) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_ms // 1000,
        "expires_at": file.until_ms // 1000,
        "filename": file.name,
        "purpose": "batch" if file.holds == "input" else "batch_output",
        "status": "processed",
        "status_details": None,
    }
