"""How do bytes reach a provider and come back? HTTP/1.1 on asyncio.Protocol and httptools, pooled per origin.

`wire` says and reads HTTP, `exchange` carries one request over one socket, `pool` makes and keeps the sockets, `tls`
asks who is there. No cookies, redirects, proxies or decompression: a provider needs none.
"""

from __future__ import annotations

import asyncio
import ssl

from tidegate.core.ports import Headers, Request
from tidegate.providers.transport.exchange import HttpExchange
from tidegate.providers.transport.pool import Config, Pool, trouble
from tidegate.providers.transport.reach import Reach
from tidegate.providers.transport.tls import client_context
from tidegate.providers.transport.wire import Address, measured, request_fields, request_line

__all__ = ["Config", "HttpTransport", "trouble"]

Where = tuple[Address, ssl.SSLContext | None, bool]

LINES_KEPT = 1000  # requests to a few providers repeat a few (method, URL)


class Known:
    """What requests with one method and URL have in common: where they go, and the head of the last one."""

    __slots__ = ("fields", "headers", "line", "pool")

    def __init__(self, pool: Pool, line: bytes) -> None:
        self.pool = pool
        self.line = line
        self.headers: Headers | None = None
        self.fields = b""


class HttpTransport:
    """All connections to all providers: the `Transport` of the port. Bound to the event loop that first sends."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Certificates are verified by what this machine trusts and `config.ca_file`, or as `ssl_context` says."""
        self._config = config or Config()
        self._ssl_context = ssl_context or client_context(self._config.ca_file)
        self._loop = loop
        self._reach = Reach(self._config.private_hosts)
        self._pools: dict[Where, Pool] = {}
        self._known: dict[tuple[str, str, ssl.SSLContext | None, bool], Known] = {}
        self._closed = False

    @property
    def busy(self) -> int:
        return sum(pool.busy for pool in self._pools.values())

    def send(self, request: Request) -> HttpExchange:
        """Begin at once. Raises ValueError, before anything is sent, for a URL or header that cannot be."""
        known = request.method, request.url, request.tls, request.foreign
        about = self._known.get(known) or self._new(*known)
        headers = tuple(request.headers)
        if headers != about.headers:  # else they are what they were the last time, as they almost always are
            about.fields = request_fields(about.line, headers)
            about.headers = headers
        pool = about.pool
        head_bytes = measured(about.fields, request.method, len(request.body))
        exchange = HttpExchange(pool, request, head_bytes, pool.loop.time() + request.timeouts.total)
        pool.begin(exchange)
        return exchange

    def _new(self, method: str, url: str, tls: ssl.SSLContext | None, foreign: bool) -> Known:
        address, line = request_line(method, url)
        where = address, tls, foreign
        pool = self._pools.get(where)
        if pool is None:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            context = tls or self._ssl_context
            pool = self._pools[where] = Pool(address, self._loop, self._config, context, self._reach, foreign=foreign)
            if self._closed:
                pool.shut()
        if len(self._known) >= LINES_KEPT:
            self._known.clear()
        about = self._known[method, url, tls, foreign] = Known(pool, line)
        return about

    async def aclose(self) -> None:
        """Every exchange fails, every socket is closed. Returns when that is so."""
        self._closed = True
        for pool in self._pools.values():
            pool.shut()
        for pool in list(self._pools.values()):
            await pool.emptied()
