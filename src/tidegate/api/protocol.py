"""How long may a client take to say what it wants? uvicorn's HTTP protocol, with bounds on all but the body.

uvicorn waits for ever for headers and takes any number of them, and appends a chunked body's trailers to the headers:
an `Authorization` that comes after the body. Here the head has a size and a time, and what comes after it is dropped.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tidegate import api
from tidegate.core.errors import BadRequest, HeadTooLarge, RequestTimeout, TidegateError
from tidegate.providers.openai.wire import write_error

LINGER_S = 1.0  # so long is heard to its end who is told that it is wrong: to close at once would take the answer away

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


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
    _head_size = 0  # of the lines that are complete; trailers are counted on
    _unfinished = 0  # bytes that came since, other than a body's: a line without an end, and what frames chunks
    _wrong: TidegateError | None = None
    _deaf = False  # our last word is said
    _answering: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(self.head_timeout, self._too_slow)

    def _too_slow(self) -> None:
        if self._busy is not None:  # an answer goes out meanwhile, perhaps for minutes, and is not to suffer from this
            self._wait_for_head()
        elif self._head_size or self._unfinished:
            self._refuse(
                RequestTimeout(f"the headers did not arrive within {self.head_timeout:g} s (api.head_timeout)")
            )
        else:  # opened to be used later, perhaps: an answer now would be taken for the answer to what is asked then
            self.transport.close()

    # --- what comes

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._in_head and self._timer is None:
            self._wait_for_head()
        if self._in_head and b"pgrade" in data:
            # From who offers another protocol httptools takes no body; and Java's client offers one with every request.
            head, end, rest = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest
        self._unfinished += len(data)
        super().data_received(data)
        if self._unfinished > self.max_head:
            self._refuse(self._too_large())

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_size = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unfinished = 0
        self._stop_timer()
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            raise self._stop(BadRequest(f"there are {hosts} Host headers; send one"))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True  # the next request of this connection; its time begins with its first byte
        self._head_size = self._unfinished = 0

    def _count(self, size: int) -> None:
        self._unfinished = 0
        self._head_size += size
        if self._head_size > self.max_head:
            raise self._stop(self._too_large())

    def _too_large(self) -> HeadTooLarge:
        return HeadTooLarge(f"the headers are larger than {self.max_head} bytes (api.max_head)")

    def _stop(self, wrong: TidegateError) -> TidegateError:
        """The parser turns whatever is raised into an error of its own."""
        self._wrong = wrong
        return wrong

    # --- what is said

    @property
    def _busy(self) -> RequestResponseCycle | None:
        """The request that is being answered."""
        return self._answering if self._answering and not self._answering.response_complete else None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._wrong or BadRequest("this is not HTTP/1.1 as RFC 9112 has it; look at the raw request"))

    def _refuse(self, wrong: TidegateError) -> None:
        if self._deaf or self.transport.is_closing():
            return
        self._stop_timer()
        busy = self._busy
        # While a whole request is being answered, this would be taken for its answer. Then nothing more is said at all.
        if busy is None or (busy.more_body and not busy.response_started):
            body = write_error(wrong, wrong.status)
            head = (
                f"HTTP/1.1 {wrong.status} {HTTPStatus(wrong.status).phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self._leave()
        self._deaf = True
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _leave(self) -> None:
        """uvicorn tells only the newest request of a connection that nobody listens any more."""
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._leave()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
