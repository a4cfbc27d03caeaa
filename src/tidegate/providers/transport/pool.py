"""Which connection? Those to one address: idle ones, those that carry an exchange, and those being made.

The pool, and no caller, owns a connection while it is being made. A caller that leaves meanwhile leaves nothing behind:
the connection goes to whoever waits next, or is kept.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import OrderedDict
from contextvars import Context
from typing import Annotated, Any, Literal, cast

import msgspec

from tidegate.core.values import Secret
from tidegate.providers.transport.connection import Connection
from tidegate.providers.transport.exchange import HttpExchange
from tidegate.providers.transport.reach import NAME, Reach, Refused
from tidegate.providers.transport.tls import ResumingContext
from tidegate.providers.transport.wire import Address, Fault, ResponseParser

LAST_WAIT_S = 5.0  # for TLS handshakes under way when the house closes
TURNS_TO_CLOSE = 100  # of the event loop: an aborted connection says that it is lost within two or three

Count = Annotated[int, msgspec.Meta(ge=1)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How connections to providers are made and kept.

    max_per_origin: connections to one scheme, host and port; more requests than that queue.
    idle_s: seconds after which an unused connection is closed.
    max_head: bytes of the head of a response.
    max_body: bytes of its body.
    ca_file: certificates to trust besides those of this machine, in PEM.
    kind: our own transport, or aiohttp's, which is slower and can go through a proxy; it needs the extra `aiohttp`.
    proxy: the HTTP proxy that aiohttp goes through, http://NAME:PASSWORD@HOST:PORT or env:HTTPS_PROXY. No proxy is
        found by itself.
    private_hosts: names that may lead to private addresses though they look public, `*.example.com` for all below one;
        and link-local addresses that may be asked.
    """

    max_per_origin: Count = 1000
    idle_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    max_head: Count = 64 * 1024
    max_body: Count = 64 * 1024 * 1024
    ca_file: str | None = None
    kind: Literal["own", "aiohttp"] = "own"
    proxy: Secret | None = None
    private_hosts: tuple[str, ...] = ()


def trouble(config: Config) -> tuple[str, str] | None:
    """The key that cannot be so, and why."""
    for at, host in enumerate(config.private_hosts):
        if not NAME.fullmatch(host):
            return f"private_hosts[{at}]", f"must be a name, *.NAME or an address, not {host!r}"
    return None


class Pool:
    """The connections to one address."""

    __slots__ = (
        "_closed", "_config", "_connecting", "_foreign", "_idle", "_open", "_policy", "_reaching", "_ssl_context",
        "_waiting", "address", "carrying", "loop",
    )  # fmt: skip

    def __init__(
        self,
        address: Address,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        ssl_context: ssl.SSLContext,
        reach: Reach,
        *,
        foreign: bool = False,
    ) -> None:
        self.address = address
        self.loop = loop
        self.carrying = 0
        self._config = config
        self._ssl_context = ssl_context if address.scheme == "https" else None
        self._policy = reach
        self._foreign = foreign
        self._idle: dict[Connection, None] = {}  # most recently used last
        self._open: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._reaching: set[asyncio.Task[None]] = set()  # those of them that may still be cancelled
        self._waiting: OrderedDict[HttpExchange, None] = OrderedDict()  # who came first is first
        self._closed: Fault | None = None

    @property
    def busy(self) -> int:
        return self.carrying + len(self._connecting)

    def begin(self, exchange: HttpExchange) -> None:
        if self._closed is not None:
            exchange.fail(self._closed)
            return
        if not exchange.retried:  # one old connection has failed it already; the next one is to be new
            while self._idle:
                connection = self._idle.popitem()[0]
                if not connection.transport.is_closing():
                    connection.carry(exchange)
                    return
        self._waiting[exchange] = None
        if exchange.retried:
            self._waiting.move_to_end(exchange, last=False)
        exchange.wait()
        self._fill()

    def leave(self, exchange: HttpExchange) -> None:
        self._waiting.pop(exchange, None)

    def scarce(self) -> str:
        if len(self._open) >= self._config.max_per_origin:
            return f"has all its {self._config.max_per_origin} connections (max_per_origin) in use: none was free"
        return "could not be reached"

    def proved(self, connection: Connection) -> None:
        if isinstance(self._ssl_context, ResumingContext):
            self._ssl_context.remember(connection.transport.get_extra_info("ssl_object"))

    def release(self, connection: Connection, hint_s: float | None) -> None:
        if self._waiting:
            connection.carry(self._waiting.popitem(last=False)[0])
            return
        self._idle[connection] = None
        # Half a second before the server does it, or in the middle if that is short: who closes first, knows.
        keep_s = self._config.idle_s if hint_s is None else min(self._config.idle_s, max(hint_s - 0.5, hint_s / 2))
        connection.keep(keep_s)

    def forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def lost(self, connection: Connection) -> None:
        self.forget(connection)
        self._open.discard(connection)
        self._fill()

    # --- making connections

    def _fill(self) -> None:
        """One connection in the making for each exchange that waits, within the bound."""
        while (
            len(self._connecting) < len(self._waiting)
            and len(self._connecting) + len(self._open) < self._config.max_per_origin
        ):
            newest = next(reversed(self._waiting))
            # In a context of its own: it outlives the call that asked for it.
            task = self.loop.create_task(self._connect(newest.request.timeouts.connect), context=Context())
            self._connecting.add(task)
            self._reaching.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        self._reaching.discard(task)
        if not task.cancelled():
            task.result()  # a mistake of ours is logged, and not made again at once
        self._fill()

    async def _connect(self, seconds: float) -> None:
        """Make one connection and hand it out. Takes at most twice `seconds`, whoever waits or has left."""
        task = cast(asyncio.Task[None], asyncio.current_task())
        tls = self._ssl_context is not None
        try:
            reached = await self._reach(seconds)
        except TimeoutError:
            return  # those who wait have clocks of their own
        except Refused as why:
            self._failed(task, Fault("connect", str(why)))
            return
        except (OSError, UnicodeError) as error:  # among them socket.gaierror
            self._failed(task, Fault("connect", f"could not be reached: {told(error)}"))
            return
        # Not to be cancelled from here on: uvloop never calls connection_lost on what is cancelled too late.
        self._reaching.discard(task)
        try:
            _, connection = await self.loop.create_connection(
                lambda: Connection(self, ResponseParser(self._config.max_head, self._config.max_body)),
                sock=reached,
                ssl=self._ssl_context,
                server_hostname=self.address.host if tls else None,
                ssl_handshake_timeout=seconds if tls else None,
            )
        except OSError as error:  # among them ssl.SSLError
            hint = "; trust it with ca_file" if isinstance(error, ssl.SSLCertVerificationError) else ""
            self._failed(task, Fault("tls", f"failed at the TLS handshake: {error}{hint}"))
            return
        if connection.transport.is_closing():
            self._failed(task, Fault("connect", "closed the connection as soon as it was made"))
            return
        self._connecting.discard(task)
        self._open.add(connection)
        if self._closed is None:
            self.release(connection, None)
        else:
            connection.abort()

    def _failed(self, task: asyncio.Task[None], fault: Fault) -> None:
        """One failure is one waiter's, unless the connections still being made are enough for all who wait."""
        self._connecting.discard(task)
        if len(self._waiting) > len(self._connecting):
            self._waiting.popitem(last=False)[0].fail(fault)

    async def _reach(self, seconds: float) -> socket.socket:
        """A connected socket. May be cancelled at any time, as the socket is still ours.

        The addresses of the host are tried in turn, each for its share of the time that is left.
        """
        deadline = self.loop.time() + seconds
        addresses = await self._resolve(deadline)
        for left in range(len(addresses), 0, -1):
            family, kind, proto, _, where = addresses[-left]
            reached = socket.socket(family, kind, proto)
            try:
                reached.setblocking(False)
                async with asyncio.timeout((deadline - self.loop.time()) / left):
                    await self.loop.sock_connect(reached, where)
                _keep_alive(reached)
                return reached
            except BaseException as error:
                reached.close()
                if left == 1 or not isinstance(error, OSError):
                    raise
        raise OSError("its name has no address")

    async def _resolve(self, deadline: float) -> list[tuple[Any, ...]]:
        """The addresses that may be connected to: these very ones are, whatever the name means a moment later."""
        host, port = self.address.host, self.address.port
        try:  # a literal address needs no thread
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            async with asyncio.timeout_at(deadline):
                found = await self.loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        allowed = self._policy.allowed(host, [str(one[4][0]) for one in found], foreign=self._foreign)
        return [one for one, may in zip(found, allowed, strict=True) if may]

    def shut(self) -> None:
        """Whatever is under way ends now, and nothing begins any more."""
        self._closed = Fault("closed", "is not asked any more: Tidegate is shutting down")
        for exchange in list(self._waiting):
            exchange.fail(self._closed)
        for connection in list(self._open):
            connection.cut(self._closed)
        for task in self._reaching:
            task.cancel()

    async def emptied(self) -> None:
        """Returns when the sockets are closed and nothing is being made any more."""
        if self._connecting:
            await asyncio.wait(self._connecting, timeout=LAST_WAIT_S)
        for _ in range(TURNS_TO_CLOSE):
            if not self._open:
                break
            await asyncio.sleep(0)


def told(error: OSError | UnicodeError) -> str:
    """What went wrong, without the address: clients are told it too."""
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _keep_alive(connected: socket.socket) -> None:
    """A model may think for minutes without a byte. Meanwhile routers forget quiet connections, and servers die."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
