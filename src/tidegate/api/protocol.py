"""How long may a client take to say what it wants? uvicorn's HTTP protocol, with bounds on the head of a request.

uvicorn waits for ever for headers and takes any number of them, and appends a chunked body's trailers to the headers:
an `Authorization` that comes after the body. Here the head has a size and a time, and what comes after it is dropped.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tidegate import api


def protocol(config: api.Config) -> type[HttpToolsProtocol]:
    """The class for `uvicorn.Config(http=…)`, with the bounds of `config`."""

    class Bounded(_Bounded):
        max_head = int(config.max_head)
        head_timeout = float(config.head_timeout)

    return Bounded


class _Bounded(HttpToolsProtocol):
    max_head: int
    head_timeout: float

    _timer: asyncio.TimerHandle | None = None
    _in_head = True  # until the blank line; again when the next request begins
    _head_size = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._in_head = True
        self._head_size = 0
        self._timer = self.loop.call_later(self.head_timeout, self._too_slow)

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self._refuse(408, "Request Timeout", "the headers did not arrive in time (api.head_timeout)")

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            if self._timer is None:
                self._wait_for_head()
            self._head_size += len(data)
        super().data_received(data)
        # Counted by what was received: one piece may carry the end of a head and a body, so look only when it goes on.
        if self._in_head and self._head_size > self.max_head and not self.transport.is_closing():
            self._refuse(431, "Request Header Fields Too Large", "the headers are too large (api.max_head)")

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_size = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True  # the next request of this connection; its time begins with its first byte

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Bad Request", "this is not HTTP/1.1 as it should be; see RFC 9112")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, phrase: str, message: str) -> None:
        self._stop_timer()
        body = b'{"error":{"message":"%b","type":"invalid_request_error","param":null,"code":"invalid_request"}}'
        body %= message.encode()
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, phrase.encode(), len(body), body)
        )
        self.transport.close()
