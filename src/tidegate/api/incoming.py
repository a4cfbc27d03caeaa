"""What does one client want, and what is it told? An HTTP request and the one response to it, bounded in every way."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Protocol

from tidegate import api
from tidegate.core.errors import (
    BodyTooLarge,
    MethodNotAllowed,
    RequestTimeout,
    TidegateError,
    Unauthenticated,
    UnsupportedMedia,
)
from tidegate.core.ports import Codec, Headers
from tidegate.stages.record import status_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = b"application/json"
LINGER_S = 2.0
LONG_WAIT_S = 60.0
TURN = "tidegate.turn"


class Turn(Protocol):
    """What our own server knows of a request besides what ASGI tells: it stands in the scope as `extensions[TURN]`."""

    def whole(self) -> bytes | None:
        """All of the body, if it has come already and nothing of it was received."""

    def on_leave(self, leaving: Callable[[], None]) -> None:
        """Call `leaving` once, if the client goes before its answer is complete: at once if it has gone."""

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """The whole response at once, where nothing must be waited for; else False, and `send` must be called."""

    def say(self, body: bytes, *, last: bool) -> bool:
        """A piece of the body, the same way."""

    def flows(self) -> bool:
        """Whether `say` would send a piece, and `pour` may be called."""

    def pour(self, piece: bytes) -> None:
        """A piece that is not the last, while it flows."""


class ClientGone(asyncio.CancelledError):
    """The client left, so nobody needs what is done for it any more."""


class Incoming:
    __slots__ = (
        "_config",
        "_owed",
        "_receive",
        "_send",
        "address",
        "any_kind",
        "by_name",
        "codec",
        "extra",
        "failure",
        "headers",
        "method",
        "path",
        "query",
        "raw_path",
        "started",
        "told",
        "turn",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, config: api.Config, extra: Headers) -> None:
        self._config = config
        self._receive = receive
        self._send = send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: str = scope["raw_path"].decode("latin-1") if "raw_path" in scope else self.path
        self.query: bytes = scope.get("query_string", b"")
        self.headers: Headers = scope["headers"]
        self.by_name = by_name = dict(reversed(self.headers))  # of two alike, the first
        extensions, client = scope.get("extensions"), scope.get("client")
        self.turn: Turn | None = extensions.get(TURN) if extensions else None  # None: the server is another
        self.address: str = client[0] if client else ""
        self.extra = extra  # on every response to this client, CORS among it
        self.started = False
        self.any_kind = False  # the body may be something else than JSON
        self.codec: Codec | None = None  # in which errors are told, and what their heads tell of the call
        self.told: Callable[[], Headers] = tuple
        self.failure: Exception | None = None  # of a page
        # A body was announced and has not been read to its end.
        self._owed = by_name.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in by_name

    def header(self, name: bytes) -> bytes | None:
        return self.by_name.get(name)

    def text(self, name: bytes, most: int) -> str | None:
        """A header as text of at most so many characters; None when it is absent or empty."""
        value = self.header(name)
        return value.decode("utf-8", "replace").strip()[:most] or None if value else None

    @property
    def credential(self) -> str | None:
        """The key that was presented, by either of the two headers that clients use."""
        key = self.by_name.get(b"authorization", b"").strip()
        scheme, _, rest = key.partition(b" ")
        if scheme.lower() == b"bearer":
            key = rest.strip()
        return (key or self.by_name.get(b"x-api-key", b"").strip()).decode("latin-1") or None

    # --- what comes in

    def whole(self) -> bytes | None:
        """The body, where there is nothing to wait for; else None, and `body` must be called. Raises 413 415."""
        by_name = self.by_name
        if by_name.get(b"content-type") != JSON or b"content-encoding" in by_name:
            self._check_kind()
        body = self.turn.whole() if self.turn is not None else None
        if body is not None:
            self._owed = False
            if len(body) > self._config.max_body:
                raise self._too_large()
        return body

    async def body(self) -> bytes:
        """The whole body. Raises 408 413 415, or ClientGone."""
        body = self.whole()
        if body is not None:
            return body
        most = self._config.max_body
        length = self.by_name.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > most:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._config.body_timeout):
                return await self._read(most)
        except TimeoutError:
            raise RequestTimeout(
                f"the body did not arrive within {float(self._config.body_timeout):g} s (api.body_timeout)"
            ) from None

    async def _next(self) -> Message:
        message = await self._receive()
        self._owed = bool(message.get("more_body"))
        return message

    async def _read(self, most: int) -> bytes:
        message = await self._next()
        whole = bytearray()
        while message["type"] == "http.request":
            whole += message.get("body", b"")
            if len(whole) > most:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(whole)
            message = await self._next()
        raise ClientGone

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than {int(self._config.max_body)} bytes (api.max_body)")

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

    def answered(self, status: int, body: bytes, headers: Headers = (), kind: bytes = JSON) -> bool:
        """The whole response, where nothing must be waited for; else False, and `answer` must be called."""
        if self.turn is None or self._owed:
            return False
        self.started = self.turn.answer(status, [(b"content-type", kind), *headers, *self.extra], body)
        return self.started

    async def answer(self, status: int, body: bytes, headers: Headers = (), kind: bytes = JSON) -> None:
        """The whole response at once."""
        if self.answered(status, body, headers, kind):
            return
        said = (b"content-type", kind)
        await self.start(status, [said, (b"content-length", str(len(body)).encode()), *headers])
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
                    await self._next()

    async def start(self, status: int, headers: Headers) -> None:
        self.started = True
        close = [(b"connection", b"close")] if self._owed else []
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *close, *self.extra]})

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
