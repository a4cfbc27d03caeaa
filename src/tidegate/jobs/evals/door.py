"""How does a run ask? Through the gateway's front door, over HTTP, like any client; each question is paid once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.ports import Head, Request, Timeouts, Transport, TransportError
from tidegate.core.scores import Said
from tidegate.jobs.evals.subject import PromptThere

TIMEOUTS = Timeouts(connect=5, first_byte=600, idle=60, total=900)
PATIENCE_S = 120.0  # for limits, and for who is busy: longer waits are an answer that there is none of
TRIES = 8
UNASKED = ("invalid_api_key", "permission_denied", "model_not_found")
LEAVING = "shutting_down"
AGAIN = (408, 409, 429, 503)
FIRST_WAIT_S = 0.25


Read = Callable[[Head, bytes, float], Said]  # head, body, and how long it took in milliseconds


class Halt(Exception):
    """Nothing more can be asked; what was found so far is kept. The message says why, and what to do."""


class Full(Halt):
    """A budget has no room; where calls of ours are under way it may have some when they have ended."""


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Reply(msgspec.Struct):
    choices: list[_Choice]


class _Prompt(msgspec.Struct):
    id: str
    version: int
    variables: list[dict[str, Any]]


class _Error(msgspec.Struct):
    message: str = ""
    code: str | None = None
    type: str | None = None


class _Problem(msgspec.Struct):
    error: _Error


class Door:
    """A gateway at the other end. `run`: a tag of all rows."""

    def __init__(self, transport: Transport, url: str, key: str, run: str) -> None:
        at = urlsplit(url)
        if at.scheme not in ("http", "https") or not at.hostname:
            raise ConfigError(f"--url must be like http://127.0.0.1:8080, not {url!r}")
        self._transport = transport
        self._url = url.rstrip("/")
        self._headers = [
            (b"authorization", b"Bearer " + key.encode("latin-1", "replace")),
            (b"content-type", b"application/json"),
            (b"x-tidegate-kind", b"eval"),
            (b"x-tidegate-tags", f"eval:{run}".encode()),
        ]

    async def ask(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        parameters: Mapping[str, Any],
        *,
        once: str,
        fresh: bool,
    ) -> Said:
        """`once`: the same question under the same word is paid once. `fresh`: no answer that was given before.

        Raises Halt where every other question would end the same way.
        """
        body = msgspec.json.encode({**parameters, "model": model, "messages": messages, "stream": False})
        headers = [(b"idempotency-key", once.encode())]
        if fresh:
            headers.append((b"cache-control", b"no-store"))  # neither kept answers, nor one that is in the air
        return await self.asked("/v1/chat/completions", body, headers, _said)

    async def asked(self, path: str, body: bytes, more: Sequence[tuple[bytes, bytes]], read: Read) -> Said:
        """What `read` makes of the answer, when whoever is busy or limits us has let us in. Raises Halt."""
        headers = [*self._headers, *more]
        wait_s, waited_s, tried = FIRST_WAIT_S, 0.0, 0
        while True:
            began = time.monotonic()
            head, answer = await self._sent(path, body, headers)
            said = read(head, answer, (time.monotonic() - began) * 1000)
            tried += 1
            if not said.error:
                return said
            if said.error in UNASKED:
                raise Halt(f"{said.why} ({said.error})")
            if said.error == "budget_spent":
                raise Full(f"{said.why} ({said.error})")
            hint = head.header(b"retry-after") or b""
            wait_s = float(hint) if hint.isdigit() else wait_s * 2
            waited_s += wait_s
            if head.status not in AGAIN or tried >= TRIES or waited_s > PATIENCE_S:
                if said.error == LEAVING:  # it says nothing of whoever would have answered
                    raise Halt(f"{said.why} ({said.error})")
                return said
            await asyncio.sleep(wait_s)

    async def prompt(self, name: str, which: str) -> PromptThere:
        query = {"version" if which.isdigit() else "label": which}
        path = f"/v1/prompts/{quote(name, safe='')}?{urlencode(query)}"
        head, answer = await self._sent(path, b"", self._headers, "GET")
        if head.status != 200:
            said = _said(head, answer, 0)
            raise Halt(f"{said.why} ({said.error})")
        shown = msgspec.json.decode(answer, type=_Prompt)
        return PromptThere(shown.id, shown.version, [one["name"] for one in shown.variables])

    async def _sent(
        self, path: str, body: bytes, headers: Sequence[tuple[bytes, bytes]], method: str = "POST"
    ) -> tuple[Head, bytes]:
        """Raises Halt where nobody answers."""
        url = self._url + path
        for tried in range(TRIES):
            exchange = self._transport.send(Request(method, url, headers, body, TIMEOUTS))
            try:
                head = await exchange.head()
                pieces = []
                while piece := await exchange.read():
                    pieces.append(piece)
                return head, b"".join(pieces)
            except TransportError as wrong:
                if wrong.kind not in ("connect", "reset", "closed") or tried == TRIES - 1:
                    raise Halt(f"nobody answers at {url}: {wrong}; is it running? tidegate serve") from None
            finally:
                exchange.close()
            await asyncio.sleep(FIRST_WAIT_S * 2**tried)  # a gateway that starts again has the same answer for us
        raise AssertionError("the last try has ended")


def _said(head: Head, body: bytes, latency_ms: float) -> Said:
    fields: dict[str, Any] = {
        "request_id": (head.header(b"x-tidegate-request-id") or b"").decode("latin-1"),
        "latency_ms": round(latency_ms, 3),
        "cost_nusd": cost_of(head),
        "guards": tuple(
            one.strip()
            for one in (head.header(b"x-tidegate-guards") or b"").decode("latin-1").split(",")
            if one.strip()
        ),
    }
    if head.status == 200:
        try:
            choice = msgspec.json.decode(body, type=_Reply).choices[0].message
        except (msgspec.DecodeError, IndexError):
            return Said(error="malformed_answer", why=body[:200].decode("utf-8", "replace"), **fields)
        return Said(text=choice.content or choice.refusal or "", refused=bool(choice.refusal), **fields)
    return problem(head, body, fields)


def problem(head: Head, body: bytes, fields: Mapping[str, Any]) -> Said:
    """Of an answer that is an error."""
    try:
        error = msgspec.json.decode(body, type=_Problem).error
        code, why = error.code or error.type or f"http_{head.status}", error.message
    except msgspec.DecodeError:
        code, why = f"http_{head.status}", body[:200].decode("utf-8", "replace")
    return Said(error=code, why=why[:500], **fields)


def cost_of(head: Head) -> int | None:
    """What the question has cost: of one that was paid before and lost on the way to us, what it cost then."""
    lost = head.header(b"x-tidegate-cache-layer") == b"idempotent"
    said = head.header(b"x-tidegate-saved-usd" if lost else b"x-tidegate-cost-usd")
    if said is None:
        return 0 if head.status != 200 else None
    try:
        return int(Decimal(said.decode("latin-1")) * NUSD_PER_USD)
    except InvalidOperation:
        return None
