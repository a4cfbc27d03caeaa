"""What does one client want, and what is it told? An HTTP request and the one response to it, bounded in every way."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from tidegate import api
from tidegate.api.heads import JSON, Head, lines, parted
from tidegate.api.heads import Scope as Scope
from tidegate.core.errors import (
    BodyTooLarge,
    MethodNotAllowed,
    RequestTimeout,
    TidegateError,
    Unauthenticated,
    UnsupportedMedia,
)
from tidegate.core.experiments import Assigned
from tidegate.core.ports import Codec, Headers
from tidegate.gateway import Gateway
from tidegate.stages.record import status_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LINGER_S = 2.0
LONG_WAIT_S = 60.0
TURN = "tidegate.turn"


class Turn(Protocol):
    """What our own server knows of a request besides what ASGI tells: it stands in the scope as `extensions[TURN]`."""

    @property
    def head(self) -> Head: ...

    def scope(self) -> Scope:
        """The request as ASGI has it."""

    async def receive(self) -> Message: ...

    async def send(self, message: Message) -> None: ...

    def whole(self) -> bytes | None:
        """All of the body, if it has come already and nothing of it was received."""

    def on_leave(self, leaving: Callable[[], None]) -> None:
        """Call `leaving` once, if the client goes before its answer is complete: at once if it has gone."""

    def answer(self, status: int, fields: bytes, body: bytes) -> bool:
        """The whole response at once, where nothing must be waited for; else False, and `send` must be called.

        `fields` are lines of its head.
        """

    def say(self, body: bytes, *, last: bool) -> bool:
        """A piece of the body, the same way."""

    def flows(self) -> bool:
        """Whether `say` would send a piece, and `pour` may be called."""

    def pour(self, piece: bytes) -> None:
        """A piece that is not the last, while it flows."""


class ClientGone(asyncio.CancelledError):
    """The client left, so nobody needs what is done for it any more."""


class Extra(msgspec.Struct, frozen=True):
    """What every response to a client says besides, CORS among it: as headers, and as lines."""

    headers: Headers
    lines: bytes


class Incoming(msgspec.Struct, eq=False):
    head: Head
    _owed: bool  # a body was announced and has not been read to its end
    _receive: Receive
    _send: Send
    _config: api.Config
    extra: Extra
    turn: Turn | None  # None: the server is another
    address: str
    started: bool = False
    any_kind: bool = False  # the body may be something else than JSON
    bound: tuple[int, str] | None = None  # how large it may be, and the key that says so; None: api.max_body
    codec: Codec | None = None  # in which errors are told, and what their heads tell of the call
    told: Callable[[], Headers] = tuple
    failure: Exception | None = None  # of a page
    tried: Assigned | None = None  # while another configuration is tried, which of the two answers
    gateway: Gateway | None = None  # of a page that asks models: the one that answers, where that is the other

    @classmethod
    def of(cls, scope: Scope, receive: Receive, send: Send, config: api.Config, extra: Extra) -> Incoming:
        """As ASGI tells it."""
        head, extensions = Head(scope), scope.get("extensions")
        turn = extensions.get(TURN) if extensions else None
        return cls(head, head.has_body, receive, send, config, extra, turn, head.peer)

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def path(self) -> str:
        return self.head.path

    @property
    def headers(self) -> Headers:
        return self.head.headers

    @property
    def by_name(self) -> Mapping[bytes, bytes]:
        return self.head.by_name

    @property
    def credential(self) -> str | None:
        return self.head.credential

    def header(self, name: bytes) -> bytes | None:
        return self.head.by_name.get(name)

    # --- what comes in

    def whole(self) -> bytes | None:
        """The body, where there is nothing to wait for; else None, and `body` must be called. Raises 413 415."""
        if not self.head.is_json:
            self._check_kind()
        body = self.turn.whole() if self.turn is not None else None
        if body is not None:
            self._owed = False
            if len(body) > self._most()[0]:
                raise self._too_large()
        return body

    async def body(self) -> bytes:
        """The whole body. Raises 408 413 415, or ClientGone."""
        body = self.whole()
        if body is not None:
            return body
        most = self._most()[0]
        length = self.header(b"content-length")
        if length is not None and length.isdigit() and int(length) > most:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._config.body_timeout):
                return await self._read(most)
        except TimeoutError:
            raise RequestTimeout(
                f"the body did not arrive within {float(self._config.body_timeout):g} s (api.body_timeout)"
            ) from None

    async def next_message(self) -> Message:
        """What comes next, as ASGI has it: for who reads the body piece by piece."""
        message = await self._receive()
        self._owed = bool(message.get("more_body"))
        return message

    async def _read(self, most: int) -> bytes:
        message = await self.next_message()
        whole = bytearray()
        while message["type"] == "http.request":
            whole += message.get("body", b"")
            if len(whole) > most:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(whole)
            message = await self.next_message()
        raise ClientGone

    def _most(self) -> tuple[int, str]:
        return self.bound or (self._config.max_body, "api.max_body")

    def _too_large(self) -> BodyTooLarge:
        most, key = self._most()
        return BodyTooLarge(f"the body is larger than {int(most)} bytes ({key})")

    def _check_kind(self) -> None:
        encoding = (self.header(b"content-encoding") or b"identity").strip().lower()
        if encoding != b"identity":
            raise UnsupportedMedia(f"the body is compressed ({encoding.decode('latin-1')[:40]}); send it plain")
        kind = (self.header(b"content-type") or JSON).partition(b";")[0].strip().lower()
        if kind != JSON and not kind.endswith(b"+json") and not self.any_kind:
            raise UnsupportedMedia(
                f"the body must be JSON, with the header 'Content-Type: application/json'; "
                f"this one says {kind.decode('latin-1')[:60]}"
            )

    async def left(self) -> None:
        """Return when the client has gone. `send` to a client that has gone says nothing, so somebody must watch."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    # --- what goes out

    async def answer(self, status: int, body: bytes, headers: Headers = (), kind: bytes = JSON) -> None:
        """The whole response at once."""
        await self.answer_in(status, lines([(b"content-type", kind), *headers]), body)

    async def answer_in(self, status: int, fields: bytes, body: bytes) -> None:
        """The same, with the lines of its head: those that most answers need are rendered faster than headers are."""
        if self.turn is not None and not self._owed:
            self.started = self.turn.answer(status, fields + self.extra.lines, body)
            if self.started:
                return
        await self.start(status, [*parted(fields), (b"content-length", str(len(body)).encode())])
        if self._owed:
            await self.piece(body, last=False)
            await self._hear_out()
            body = b""
        await self.piece(body, last=True)

    async def _hear_out(self) -> None:
        """Until the client is done sending, or has had time to read our answer: to whom still sends into a connection
        that was closed, the answer is lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self._owed:
                    await self.next_message()

    async def start(self, status: int, headers: Headers) -> None:
        self.started = True
        close = [(b"connection", b"close")] if self._owed else []
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *close, *self.extra.headers]}
        )

    async def pass_on(self, message: Message) -> None:
        """What a page says, as ASGI has it."""
        await self._send(message)

    async def piece(self, body: bytes, *, last: bool) -> None:
        if self.turn is not None and self.turn.say(body, last=last):
            return
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    async def problem(self, error: TidegateError, codec: Codec, headers: Headers = ()) -> None:
        """`error` as a response, in the dialect of `codec`."""
        status = status_of(error)
        await self.answer(status, codec.render_error(error, status), [*advice(error), *headers])


def advice(error: TidegateError) -> Headers:
    """What the head of an error response says of it."""
    found = []
    if error.retry_after_s is not None:
        found.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    if error.status == 429 and (not error.retryable or (error.retry_after_s or 0) > LONG_WAIT_S):
        found.append((b"x-should-retry", b"false"))  # SDKs obey it: a loop is not fed, and nobody sleeps for an hour
    if isinstance(error, Unauthenticated):
        found.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        found.append((b"allow", error.allowed.encode()))
    return found
