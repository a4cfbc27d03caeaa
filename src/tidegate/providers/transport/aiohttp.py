"""How are providers reached where the own transport cannot: through an HTTP proxy, or a server that it does not please?

The same port and the same exchanges, with aiohttp below them instead of `pool`. It costs three times the CPU, so it is
an extra that is loaded when `transport.kind` asks for it. What differs is said in docs/decisions/0006-aiohttp.md.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import Context
from math import inf
from typing import Any, cast

import aiohttp
from aiohttp.http_exceptions import ContentLengthError, HttpProcessingError
from yarl import URL

from tidegate.core.ports import Head, Request
from tidegate.providers.transport.exchange import SLACK_S, SLICE, TOO_SLOW, HttpExchange
from tidegate.providers.transport.pool import LAST_WAIT_S, Config, told
from tidegate.providers.transport.reach import Reach, Refused, literal
from tidegate.providers.transport.tls import ResumingContext, client_context
from tidegate.providers.transport.wire import (
    BODY_EXPECTED,
    LAST,
    OURS,
    Address,
    Fault,
    authority,
    request_head,
    request_line,
)

MAX_FIELDS = 1000  # header fields of one response
OWN_FIELDS = ("accept", "accept-encoding", "content-type", "user-agent")  # what aiohttp would add of itself
SHUTTING_DOWN = Fault("closed", "is not asked any more: Tidegate is shutting down")


class AiohttpTransport:
    """All connections to all providers, through `config.proxy` where there is one. Made on the event loop it serves."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Certificates are verified as by the own transport."""
        self.config = config or Config()
        self.loop = loop or asyncio.get_running_loop()
        self.ssl_context = ssl_context or client_context(self.config.ca_file)
        self.errands: dict[asyncio.Task[Any], Errand] = {}
        self._connector = Connector(self)
        self._tasks: set[asyncio.Task[None]] = set()
        self.proxy = None if self.config.proxy is None else URL(self.config.proxy.value)
        self.session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=OWN_FIELDS,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the clocks are the errands'
            max_line_size=self.config.max_head,
            max_field_size=self.config.max_head,
            max_headers=MAX_FIELDS,
        )
        self.reach = Reach(self.config.private_hosts)
        self._closed = False

    @property
    def busy(self) -> int:
        return len(self.errands) + self._connector.left_alone

    def send(self, request: Request) -> HttpExchange:
        """Begin at once. Raises ValueError, before anything is sent, for a URL or header that cannot be."""
        address, line = request_line(request.method, request.url)
        head_bytes = request_head(line, request.method, request.headers, len(request.body))
        errand = Errand(self, address, request, _fields(address, request), head_bytes)
        address_said = literal(address.host)
        why = self.reach.why_not(address.host, address_said, foreign=request.foreign) if address_said else None
        if self._closed:
            errand.exchange.fail(SHUTTING_DOWN)
        elif why is not None:  # a proxy would not ask
            errand.exchange.fail(Fault("connect", why))
        else:
            errand.begin(errand.exchange)
        return errand.exchange

    def start(self, errand: Errand) -> asyncio.Task[None]:
        # In a context of its own: a connection outlives the call that asked for it.
        task = self.loop.create_task(errand.run(), context=Context(), name="errand")
        self.errands[task] = errand
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        errand = self.errands.get(task)
        if errand is not None:  # a mistake of ours, which asyncio logs; nobody shall wait for it
            errand.fail(Fault("protocol", "could not be understood"))

    async def aclose(self) -> None:
        """Every exchange fails, every socket is closed. Returns when that is so."""
        self._closed = True
        for errand in list(self.errands.values()):
            errand.fail(SHUTTING_DOWN)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WAIT_S)
        await self._connector.emptied()
        await self.session.close()


class Connector(aiohttp.TCPConnector):
    """Makes connections in tasks of its own, which are cancelled by nobody but the end of the house.

    uvloop loses a socket whose making is cancelled at the wrong moment. Whoever leaves meanwhile leaves nothing behind:
    the connection is kept for the next.
    """

    def __init__(self, transport: AiohttpTransport) -> None:
        config = transport.config
        super().__init__(
            ssl=transport.ssl_context, limit=0, limit_per_host=config.max_per_origin, keepalive_timeout=config.idle_s
        )
        self._transport = transport
        self._making: set[asyncio.Task[aiohttp.connector.Connection]] = set()
        self._foreign: set[asyncio.Task[aiohttp.connector.Connection]] = set()
        self.left_alone = 0  # connections in the making whose errand has left

    async def connect(self, req: Any, traces: Any, timeout: Any) -> aiohttp.connector.Connection:
        errand = self._transport.errands[cast("asyncio.Task[Any]", asyncio.current_task())]
        bound = aiohttp.ClientTimeout(total=None, connect=errand.exchange.request.timeouts.connect, sock_connect=None)
        while True:
            making = self._transport.loop.create_task(super().connect(req, traces, bound), name="connection")
            self._making.add(making)
            if errand.exchange.request.foreign:
                self._foreign.add(making)
                making.add_done_callback(self._foreign.discard)
            making.add_done_callback(self._making.discard)
            try:
                await asyncio.wait([making])
            except asyncio.CancelledError:
                self.left_alone += 1
                making.add_done_callback(self._keep)
                raise
            connection = making.result()
            # aiohttp looks at a connection when it comes back, not when it goes out: what has been said on it since,
            # unasked, would be taken for the answer to this request.
            if connection.protocol is not None and connection.protocol.should_close:
                connection.close()
                continue
            errand.connected(connection)
            return connection

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[aiohttp.abc.ResolveResult]:
        """Those of its addresses that may be connected to: these very ones are. A proxy may be anywhere."""
        found = await super()._resolve_host(host, port, traces)
        proxy = self._transport.proxy
        if proxy is not None and host == proxy.host:
            return found
        foreign = asyncio.current_task() in self._foreign
        allowed = self._transport.reach.allowed(host, [one["host"] for one in found], foreign=foreign)
        return [one for one, may in zip(found, allowed, strict=True) if may]

    def _keep(self, making: asyncio.Task[aiohttp.connector.Connection]) -> None:
        self.left_alone -= 1
        if not making.cancelled() and making.exception() is None:
            making.result().release()

    async def emptied(self) -> None:
        for making in self._making:
            making.cancel()
        if self._making:
            await asyncio.wait(self._making, timeout=LAST_WAIT_S)


class Errand:
    """One request on its way. For its exchange it is both the pool that it waits in and the connection that carries it.

    It has one timer, which is armed for the nearest deadline and, when it fires, asks again what the deadline is.
    """

    def __init__(
        self,
        transport: AiohttpTransport,
        address: Address,
        request: Request,
        fields: list[tuple[str, str]],
        head_bytes: bytes,
    ) -> None:
        self.address = address
        self.loop = transport.loop
        self.exchange = HttpExchange(self, request, head_bytes, self.loop.time() + request.timeouts.total)
        self._transport = transport
        self._fields = fields
        self._task: asyncio.Task[None] | None = None
        self._socket: asyncio.Transport | None = None  # from the moment that there is a connection
        self._tls: ssl.SSLObject | None = None
        self._resting = False
        self._room = asyncio.Event()
        self._moved_at = 0.0
        self._armed = inf
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    # --- told by the exchange

    def begin(self, exchange: HttpExchange) -> None:
        exchange.wait()
        self._task = self._transport.start(self)

    def leave(self, exchange: HttpExchange) -> None:
        if self._socket is None:
            self.drop()

    def scarce(self) -> str:
        through = "" if self._transport.proxy is None else f" through the proxy {self._transport.proxy.host}"
        return f"could not be reached{through}, or had all its connections (max_per_origin) in use,"

    def drop(self) -> None:
        """Close the socket, if there is one, whatever is still to be said on it."""
        if self._over:
            return
        self._detach()
        if self._socket is not None:
            with suppress(AttributeError):  # older Pythons: TLS that aiohttp has closed twice has nothing left to abort
                self._socket.abort()
        if self._task is not None:
            self._task.cancel()

    def pause(self) -> None:
        self._resting = True

    def resume(self) -> None:
        if self._resting:
            self._resting = False
            self._moved()
            self._room.set()

    # --- told by aiohttp

    def connected(self, connection: aiohttp.connector.Connection) -> None:
        """There is one, and the request is going to be sent on it."""
        self._socket = cast(asyncio.Transport, connection.transport)
        self._tls = self._socket.get_extra_info("ssl_object")
        self.exchange.carried(self)
        self.exchange.sent = True
        self._moved()

    async def run(self) -> None:
        request = self.exchange.request
        try:
            body = request.body if len(request.body) <= SLICE else Slices(request.body, self._moved)
            async with self._transport.session.request(
                request.method, URL(request.url, encoded=True), headers=self._fields, data=body or None,
                allow_redirects=False, proxy=self._transport.proxy, ssl=request.tls or True,
            ) as response:  # fmt: skip
                await self._read(response)
        except (aiohttp.ClientError, OSError) as error:  # asyncio.TimeoutError is one
            self.fail(self._fault(error))

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        config = self._transport.config
        head = Head(response.status, [(name.lower(), value) for name, value in response.raw_headers])
        if response.status == 101:
            self.fail(Fault("protocol", "answered 101, which nobody asked for"))
        elif sum(len(name) + len(value) + 4 for name, value in head.headers) > config.max_head:
            self.fail(Fault("too_large", f"sent a response with a head of more than {config.max_head} bytes"))
        size = 0
        while not self._over:
            self._moved()
            if self.exchange.received is None:
                self.exchange.receive(head, b"")
            piece = await response.content.readany()
            size += len(piece)
            if size > config.max_body:
                self.fail(Fault("too_large", f"sent a response with a body of more than {config.max_body} bytes"))
            elif piece:
                self.exchange.receive(head, piece)
                while self._resting and not self._over:
                    self._room.clear()
                    await self._room.wait()
            else:
                self._finish()

    # --- how it ends

    def _finish(self) -> None:
        if not self._over:
            context = self.exchange.request.tls or self._transport.ssl_context
            if self._tls is not None and isinstance(context, ResumingContext):
                context.remember(self._tls)
            self._detach()
            self.exchange.finish()

    def fail(self, fault: Fault) -> None:
        if not self._over:
            self.drop()
            self.exchange.fail(fault)

    def _detach(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._transport.errands.pop(self._task, None)
        self.exchange.let_go()

    def _fault(self, error: Exception) -> Fault:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return Fault("tls", f"failed at the TLS handshake: {error}; trust it with ca_file")
        if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
            return Fault("tls", f"failed at the TLS handshake: {error}")
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return Fault("connect", f"could not be reached: the proxy answered {error.status} {error.message}")
        if self._socket is None:
            if isinstance(error, TimeoutError):
                return Fault("timeout", f"{self.scarce()} within its time (timeouts.connect)")
            why = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            if isinstance(why, Refused):
                return Fault("connect", str(why))
            said = told(why) if isinstance(why, OSError) else str(error)
            return Fault("connect", f"could not be reached: {said}")
        cause = error.__cause__
        if isinstance(cause, HttpProcessingError) and not isinstance(cause, ContentLengthError):
            return Fault("protocol", f"sent what is not HTTP/1.1 ({error})")
        return Fault("reset", f"closed the connection before the end of its answer: {error}")

    # --- the clock

    def _deadline(self) -> tuple[float, str]:
        timeouts, total_at = self.exchange.request.timeouts, self.exchange.total_at
        if self.exchange.received is None:
            step, name = self._moved_at + timeouts.first_byte, "first_byte"
        else:
            step, name = (inf if self._resting else self._moved_at + timeouts.idle), "idle"
        return (step, name) if step <= total_at else (total_at, "total")

    def _moved(self) -> None:
        """It has made progress."""
        self._moved_at = self.loop.time()
        self._watch()

    def _watch(self) -> None:
        deadline = self._deadline()[0]
        if deadline < self._armed and not self._over:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = deadline
            self._timer = self.loop.call_at(deadline, self._on_time)

    def _on_time(self) -> None:
        self._timer, self._armed = None, inf
        deadline, name = self._deadline()
        if self.loop.time() + SLACK_S < deadline:
            self._watch()
            return
        seconds = getattr(self.exchange.request.timeouts, name)
        self.fail(Fault("timeout", f"{TOO_SLOW[name]} within {seconds:g} s (timeouts.{name})"))


class Slices:
    """A large body, piece by piece: each that leaves is progress."""

    def __init__(self, body: bytes, moved: Any) -> None:
        self._left = memoryview(body)
        self._moved = moved

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._moved()
        if not self._left:
            raise StopAsyncIteration
        piece, self._left = self._left[:SLICE], self._left[SLICE:]
        return bytes(piece)


def _fields(address: Address, request: Request) -> list[tuple[str, str]]:
    """Raises ValueError for a value that is not UTF-8, by name only: aiohttp sends text."""
    fields = [("host", authority(address))]
    if not any(name.lower() == b"accept-encoding" for name, _ in request.headers):
        fields.append(("accept-encoding", "identity"))  # nothing here decompresses
    for name, value in request.headers:
        if name.lower() not in OURS or (name.lower(), value) == LAST:
            try:
                fields.append((name.decode("ascii"), value.decode("utf-8")))
            except UnicodeDecodeError:
                raise ValueError(f"header {name[:100]!r} cannot be sent: its value is not UTF-8") from None
    if request.body or request.method in BODY_EXPECTED:
        fields.append(("content-length", str(len(request.body))))
    return fields
