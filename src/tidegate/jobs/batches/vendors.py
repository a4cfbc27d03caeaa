"""How do the vendors speak of their own batches? OpenAI of a file and a batch of it, Anthropic of requests in one body.

A batch of ours at OpenAI carries our mark in its metadata, so that it is found again where its id was lost. Anthropic
has no place for one: there it is looked for by its time and its number of requests, and the names of its results, which
begin with the mark, say in the end whether it was the right one.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol

import msgspec

from tidegate.core.parcels import Parcel
from tidegate.core.ports import TakesBatches, Transport, TransportError

MARK = "tidegate_parcel"  # in metadata
KEPT_S = 30 * 86_400  # what is left at the provider of ours goes by itself
MOST_ANSWER = 4 * 1024 * 1024  # bytes of what is told of batches
MOST_LINE = 64 * 1024 * 1024  # of one result
PAGES = 20  # of a list that are looked through
EARLY_MS = 120_000  # clocks differ
OVER = ("completed", "failed", "expired", "cancelled")


class Trouble(Exception):
    """The provider did not do as it was asked. `status` None: nobody answered."""

    def __init__(self, message: str, status: int | None = None, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def refused(self) -> bool:
        """It says no, and would say so again."""
        return self.status is not None and 400 <= self.status < 500 and self.status not in (408, 409, 425, 429)

    @property
    def unsure(self) -> bool:
        """It may have been done all the same."""
        return self.status is None or self.status >= 500


class Entry(NamedTuple):
    name: str
    path: str
    body: bytes


class Seen(NamedTuple):
    """How a batch is doing there: over or not, and where its results are."""

    over: bool
    where: tuple[str, ...] = ()


class Result(NamedTuple):
    name: str
    body: bytes | None  # None: it has none, and why does not matter: we ask ourselves


class Vendor(Protocol):
    """Each raises Trouble."""

    async def begin(self, parcel: Parcel, entries: Sequence[Entry]) -> str: ...

    async def look(self, remote: str) -> Seen: ...

    async def results(self, seen: Seen, take: Callable[[Result], Awaitable[None]]) -> None:
        """Each to `take`, as they come."""

    async def cancel(self, remote: str) -> None: ...

    async def find(self, parcel: Parcel, known: frozenset[str]) -> str | None:
        """One that was begun and whose id was lost. `known`: ids that belong to others of ours."""


class _Wire:
    def __init__(self, transport: Transport, provider: TakesBatches) -> None:
        self._transport = transport
        self._provider = provider

    async def _ask(self, method: str, path: str, body: bytes = b"", kind: bytes = b"application/json") -> Any:
        pieces: list[bytes] = []

        async def take(piece: bytes) -> None:
            pieces.append(piece)

        await self._read(take, method, path, body, kind, MOST_ANSWER)
        try:
            found = msgspec.json.decode(b"".join(pieces))
        except (msgspec.DecodeError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Trouble(f"{self._provider.name}: {method} {path} was answered with no JSON object", 502)
        return found

    async def _read(
        self, take: Callable[[bytes], Awaitable[None]], method: str, path: str, body: bytes = b"",
        kind: bytes = b"application/json", most: int = 2**40,
    ) -> None:  # fmt: skip
        exchange = self._transport.send(self._provider.errand(method, path, body, kind))
        try:
            head = await exchange.head()
            if not 200 <= head.status < 300:
                wait = (head.header(b"retry-after") or b"").decode("latin-1")
                wait_s = float(wait) if re.fullmatch(r"[0-9]{1,6}", wait, re.ASCII) else 0.0
                message = f"{self._provider.name}: {method} {path} was answered with HTTP {head.status}"
                raise Trouble(message, head.status, retry_after_s=wait_s)
            size = 0
            while piece := await exchange.read():
                size += len(piece)
                if size > most:
                    raise Trouble(f"{self._provider.name}: {method} {path} has too long an answer", 502)
                await take(piece)
        except TransportError as wrong:
            raise Trouble(f"{self._provider.name}: {method} {path}: {wrong}") from None
        finally:
            exchange.close()

    async def _lines(self, path: str, take: Callable[[Any], Awaitable[None]]) -> None:
        """Of a file of results; what is no JSON object is passed over."""
        rest = b""

        async def cut(piece: bytes) -> None:
            nonlocal rest
            *whole, rest = (rest + piece).split(b"\n")
            for text in whole:
                if found := _object(text):
                    await take(found)
            if len(rest) > MOST_LINE:
                raise Trouble(f"{self._provider.name}: a line of {path} is too long", 502)

        await self._read(cut, "GET", path)
        if found := _object(rest):
            await take(found)


def _object(text: bytes) -> Any:
    try:
        found = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return {name: bytes(value) for name, value in found.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Response(msgspec.Struct):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"")


class _Outcome(msgspec.Struct):
    type: str = ""
    message: msgspec.Raw = msgspec.Raw(b"")


def _as(kind: Any, text: bytes) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _id(found: Any) -> str:
    id = found.get("id")
    if not isinstance(id, str) or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,200}", id, re.ASCII):
        raise Trouble("it does not say by which id it is known", 502)
    return id


class OpenAIBatches(_Wire):
    async def begin(self, parcel: Parcel, entries: Sequence[Entry]) -> str:
        lines = b"\n".join(
            msgspec.json.encode(
                {"custom_id": one.name, "method": "POST", "url": one.path, "body": msgspec.Raw(one.body)}
            )
            for one in entries
        )
        edge = f"tidegate-{parcel.id}"
        fields = {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": str(KEPT_S)}
        form = "".join(
            f'--{edge}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        form += (
            f'--{edge}\r\ncontent-disposition: form-data; name="file"; filename="tidegate-{parcel.id}.jsonl"\r\n'
            "content-type: application/jsonl\r\n\r\n"
        )
        body = b"%b%b\r\n--%b--\r\n" % (form.encode(), lines, edge.encode())
        try:
            file = _id(await self._ask("POST", "/v1/files", body, f"multipart/form-data; boundary={edge}".encode()))
        except Trouble as wrong:  # a file that nobody asks for costs nothing
            raise Trouble(str(wrong), wrong.status or 429, retry_after_s=wrong.retry_after_s) from None
        asked = {
            "input_file_id": file,
            "endpoint": entries[0].path,
            "completion_window": "24h",
            "metadata": {MARK: parcel.id},
        }
        return _id(await self._ask("POST", "/v1/batches", msgspec.json.encode(asked)))

    async def look(self, remote: str) -> Seen:
        found = await self._ask("GET", f"/v1/batches/{remote}")
        files = (found.get("output_file_id"), found.get("error_file_id"))
        return Seen(found.get("status") in OVER, tuple(_id({"id": one}) for one in files if one))

    async def results(self, seen: Seen, take: Callable[[Result], Awaitable[None]]) -> None:
        async def read(line: Any) -> None:
            name, response = _as(str, line.get("custom_id", b"")), _as(_Response, line.get("response", b""))
            if name is not None:
                good = response is not None and response.status_code == 200
                await take(Result(name, bytes(response.body) if good else None))

        for file in seen.where:
            await self._lines(f"/v1/files/{file}/content", read)

    async def cancel(self, remote: str) -> None:
        await self._ask("POST", f"/v1/batches/{remote}/cancel", b"{}")

    async def find(self, parcel: Parcel, known: frozenset[str]) -> str | None:
        after = ""
        for _ in range(PAGES):
            page = await self._ask("GET", f"/v1/batches?limit=100{after}")
            for one in page.get("data") or ():
                if (one.get("metadata") or {}).get(MARK) == parcel.id:
                    return _id(one)
                if (one.get("created_at") or 0) * 1000 < parcel.made_ms - EARLY_MS and one.get("created_at"):
                    return None  # newest first
            if not page.get("has_more") or not page.get("data"):
                return None
            after = f"&after={_id(page['data'][-1])}"
        return None


class AnthropicBatches(_Wire):
    async def begin(self, parcel: Parcel, entries: Sequence[Entry]) -> str:
        requests = [{"custom_id": one.name, "params": msgspec.Raw(one.body)} for one in entries]
        return _id(await self._ask("POST", "/v1/messages/batches", msgspec.json.encode({"requests": requests})))

    async def look(self, remote: str) -> Seen:
        found = await self._ask("GET", f"/v1/messages/batches/{remote}")
        return Seen(found.get("processing_status") == "ended", (remote,))

    async def results(self, seen: Seen, take: Callable[[Result], Awaitable[None]]) -> None:
        async def read(line: Any) -> None:
            name, outcome = _as(str, line.get("custom_id", b"")), _as(_Outcome, line.get("result", b""))
            if name is not None:
                good = outcome is not None and outcome.type == "succeeded"
                await take(Result(name, bytes(outcome.message) if good else None))

        for remote in seen.where:
            await self._lines(f"/v1/messages/batches/{remote}/results", read)

    async def cancel(self, remote: str) -> None:
        await self._ask("POST", f"/v1/messages/batches/{remote}/cancel", b"{}")

    async def find(self, parcel: Parcel, known: frozenset[str]) -> str | None:
        after, found = "", None
        for _ in range(PAGES):
            page = await self._ask("GET", f"/v1/messages/batches?limit=100{after}")
            for one in page.get("data") or ():  # newest first, and the oldest that fits is the likeliest
                if datetime.fromisoformat(one["created_at"]).timestamp() * 1000 < parcel.made_ms - EARLY_MS:
                    return found
                counts = sum((one.get("request_counts") or {}).values())
                if counts == parcel.lines and one.get("id") not in known:
                    found = _id(one)
            if not page.get("has_more") or not page.get("data"):
                break
            after = f"&after_id={_id(page['data'][-1])}"
        return found


class Vendors:
    """By dialect."""

    KINDS: ClassVar[dict[str, type[OpenAIBatches | AnthropicBatches]]] = {
        "openai": OpenAIBatches,
        "anthropic": AnthropicBatches,
    }

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def of(self, provider: TakesBatches) -> Vendor:
        return self.KINDS[provider.dialect](self._transport, provider)
