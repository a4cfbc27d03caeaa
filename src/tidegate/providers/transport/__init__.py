"""How do bytes reach a provider and come back? HTTP/1.1 on asyncio.Protocol and httptools, pooled per origin.

`wire` says and reads HTTP, `exchange` carries one request over one socket, `pool` makes and keeps the sockets, `tls`
asks who is there. No cookies, redirects, proxies or decompression: a provider needs none.
"""

from __future__ import annotations

import asyncio
import ssl

from tidegate.core.ports import Request
from tidegate.providers.transport.exchange import HttpExchange
from tidegate.providers.transport.pool import Config, Pool
from tidegate.providers.transport.tls import client_context
from tidegate.providers.transport.wire import Address, request_head, request_line

__all__ = ["Config", "HttpTransport"]

LINES_KEPT = 1000  # requests to a few providers repeat a few (method, URL)


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
        self._pools: dict[Address, Pool] = {}
        self._lines: dict[tuple[str, str], tuple[Pool, bytes]] = {}
        self._closed = False

    @property
    def busy(self) -> int:
        return sum(pool.busy for pool in self._pools.values())

    def send(self, request: Request) -> HttpExchange:
        """Begin at once. Raises ValueError, before anything is sent, for a URL or header that cannot be."""
        method = request.method
        known = self._lines.get((method, request.url))
        pool, line = known or self._new_line(method, request.url)
        head_bytes = request_head(line, method, request.headers, len(request.body))
        exchange = HttpExchange(pool, request, head_bytes)
        pool.begin(exchange)
        return exchange

    def _new_line(self, method: str, url: str) -> tuple[Pool, bytes]:
        address, line = request_line(method, url)
        pool = self._pools.get(address)
        if pool is None:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            pool = self._pools[address] = Pool(address, self._loop, self._config, self._ssl_context)
            if self._closed:
                pool.shut()
        if len(self._lines) >= LINES_KEPT:
            self._lines.clear()
        self._lines[method, url] = pool, line
        return pool, line

    async def aclose(self) -> None:
        """Every exchange fails, every socket is closed. Returns when that is so."""
        self._closed = True
        for pool in self._pools.values():
            pool.shut()
        for pool in list(self._pools.values()):
            await pool.emptied()
