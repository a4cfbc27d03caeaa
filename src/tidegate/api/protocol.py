"""What is said on one connection, and how long may it take? HTTP/1.1 by httptools, with bounds on all but the body.

It takes the place of uvicorn's protocol under uvicorn's server. That one waits for ever for headers and takes any
number of them, appends a chunked body's trailers to the headers (an `Authorization` that comes after the body), tells
only the newest request of a connection that its client has left, and costs as much as a whole call may.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from math import inf
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from tidegate import api
from tidegate.api.crew import Crew
from tidegate.api.crowd import LINGERING, Crowd
from tidegate.api.heads import Head
from tidegate.api.repeats import Repeated, learnt
from tidegate.api.turn import Turn, problem
from tidegate.core.errors import BadRequest, HeadTooLarge, RequestTimeout, TidegateError
from tidegate.providers.openai.wire import write_error

LINGER_S = 1.0  # so long is heard to its end who is told that it is wrong: to close at once would take the answer away
SLACK_S = 0.001  # uvloop's timers count whole milliseconds
PATIENCE = 5  # heads of a connection that are learnt, each in the hope that it will be said again

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


def protocol(config: api.Config, clients: Crowd | None = None) -> type[HttpProtocol]:
    """The class for `uvicorn.Config(http=…)`, with the bounds of `config`."""

    class Bounded(HttpProtocol):
        crew = Crew()
        max_head = int(config.max_head)
        head_timeout = float(config.head_timeout)
        send_timeout = float(config.send_timeout)
        crowd = clients or Crowd(config)

    return Bounded


class HttpProtocol(asyncio.Protocol):
    """One connection. It has one timer, which asks what the deadline is when it fires: see `_expect_within`.

    While its client does not read there is another one.
    """

    crew: Crew
    max_head: int
    head_timeout: float
    send_timeout: float
    crowd: Crowd
    transport: asyncio.Transport

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.loop = _loop or asyncio.get_running_loop()
        self.writable = True
        self._application = config.loaded_app
        self._keep_alive_s = config.timeout_keep_alive
        self._house = server_state
        self._forget = server_state.tasks.discard
        self._state = app_state
        self._parser = httptools.HttpRequestParser(self)
        # Who says "close" with its first request and sends a second one is answered the first.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._drained = asyncio.Event()
        self._reading = True
        # what comes
        self._between = True  # not a byte of the next request has come
        self._in_head = True  # until the blank line; again when the next request begins
        self._head_size = 0  # of the lines that are complete; trailers are counted on
        self._unfinished = (
            0  # bytes that came since, other than a body's: a line without an end, and what frames chunks
        )
        self._wrong: TidegateError | None = None
        self._deaf = False  # our last word is said
        self._begin_head()
        self._repeated: Repeated | None = None
        self._patience = PATIENCE
        # who is answered
        self._turn: Turn | None = None
        self._newest: Turn | None = None
        self._last = False  # whatever is asked next is the last on this connection
        self._queue: deque[Turn] = deque()  # of requests that came before the one before them was answered
        # the clock
        self._timer: asyncio.TimerHandle | None = None
        self._due = inf
        self._armed = inf
        self._hurried = False  # by `head_timeout`
        self._unread: asyncio.TimerHandle | None = None
        self._lingers = False  # it was turned away, and is one of those who are told why

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)
        self._house.connections.add(self)  # type: ignore[arg-type]  # it is there to be counted and shut down
        self.crew.join()
        self._where: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "server": get_local_addr(transport),
            "client": get_remote_addr(transport),
            "scheme": "https" if is_ssl(transport) else "http",
            "root_path": "",
        }
        self._hurry()
        client = self._where["client"]
        self._peer: str = client[0] if client else ""
        wrong = self.crowd.enter(self._peer)
        if wrong is not None:
            self._turn_away(wrong)

    # --- what comes

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        between = self._between
        if between and self._repeated is not None and self._is_repeated(self._repeated, data):
            return
        before = self._newest
        if self._in_head and b"pgrade" in data:
            between = False
            # From who offers another protocol httptools takes no body; and Java's client offers one with every request.
            head, end, rest = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest
        self._unfinished += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # we speak nothing else
        except httptools.HttpParserError:
            wrong = self._wrong or BadRequest("this is not HTTP/1.1 as RFC 9112 has it; look at the raw request")
            self._refuse(wrong)
            return
        if between and self._patience and self._newest is not before:
            self._learn(data)
        if self._unfinished > self.max_head:
            self._refuse(self._too_large())
        elif self._in_head and not self._hurried and self._head_has_begun:
            self._hurry()

    def _is_repeated(self, known: Repeated, data: bytes) -> bool:
        """Whether `data` is just one request that differs from the last in its body alone; if so it is taken."""
        body = known.match(data)
        if body is None:
            return False
        self._due = inf
        self._hurried = False
        self._answer(Turn.whole_one(self, known.head, body))
        return True

    def _learn(self, data: bytes) -> None:
        """Most clients say the same with every request of a connection. Who does not is not tried for ever."""
        turn = self._newest
        if turn is not None and turn.keep_alive and not self._expects_continue:
            self._patience -= 1
            self._repeated = learnt(data, turn.head, self.max_head)

    def _begin_head(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._hosts = 0
        self._expects_continue = False

    @property
    def _head_has_begun(self) -> bool:
        return self._in_head and bool(self._head_size or self._unfinished)

    def on_message_begin(self) -> None:
        self._between = False
        self._in_head = True
        self._head_size = 0
        self._begin_head()

    def on_url(self, url: bytes) -> None:
        self._unfinished = 0
        self._head_size += len(url)
        if self._head_size > self.max_head:
            raise self._stop(self._too_large())
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._unfinished = 0
        self._head_size += len(name) + len(value) + 4
        if self._head_size > self.max_head:
            raise self._stop(self._too_large())
        if self._in_head:  # a trailer is dropped
            name = name.lower()
            if name == b"host":
                self._hosts += 1
            elif name == b"expect":
                self._expects_continue = value.lower() == b"100-continue"
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unfinished = 0
        self._due = inf
        self._hurried = False
        parser = self._parser
        version = parser.get_http_version()
        if self._hosts > 1 or (not self._hosts and version == "1.1"):
            raise self._stop(BadRequest(f"there are {self._hosts} Host headers; send one"))
        path, raw_path, query = _split(self._url)
        head = Head(
            {
                **self._where,
                "http_version": version,
                "method": parser.get_method().decode("ascii"),
                "path": path,
                "raw_path": raw_path,
                "query_string": query,
                "headers": self._headers,
                "state": self._state,
            }
        )
        keep_alive = version != "1.0" and parser.should_keep_alive()
        self._answer(Turn(self, head, keep_alive, self._expects_continue))

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        if self._newest is not None:
            self._newest.take(body)

    def on_message_complete(self) -> None:
        if self._newest is not None:
            self._newest.end()
        self._between = True
        self._in_head = True  # the next request of this connection; its time begins with its first byte
        self._head_size = self._unfinished = 0

    def _too_large(self) -> HeadTooLarge:
        return HeadTooLarge(f"the headers are larger than {self.max_head} bytes (api.max_head)")

    def _stop(self, wrong: TidegateError) -> TidegateError:
        """The parser turns whatever is raised into an error of its own."""
        self._wrong = wrong
        return wrong

    # --- who is answered: one after the other

    def _answer(self, turn: Turn) -> None:
        self._newest = turn
        if self._last:
            turn.keep_alive = False
        if self._turn is None:
            self._begin(turn)
        else:
            self.pause()
            self._queue.append(turn)

    def _begin(self, turn: Turn) -> None:
        self._turn = turn
        hand = self.crew.take(turn, self._application, self.loop, self._forget)
        self._house.tasks.add(hand.task)

    def turn_over(self) -> None:
        self._turn = None
        self._house.total_requests += 1
        if self.transport.is_closing():
            return
        if not self._reading:
            self.resume()
        if self._queue:
            self._begin(self._queue.popleft())
        elif not self._hurried:
            self._expect_within(self._keep_alive_s)

    @property
    def is_new(self) -> bool:
        """Nothing has been asked on it yet."""
        return self._newest is None

    def last(self) -> None:
        """One request more, if one is on its way; then its client connects again, and to somebody else."""
        self._last = True
        if not self.is_new:
            self.shutdown()

    def shutdown(self) -> None:
        """uvicorn's server leaves: end when what has come is answered."""
        if self._turn is None or self._newest is None:
            self.close()
        else:
            self._newest.keep_alive = False

    def close(self) -> None:
        """When all that was said has been read."""
        self.transport.close()
        self._expect_reading()

    # --- what is said besides

    def _refuse(self, wrong: TidegateError) -> None:
        if self._deaf or self.transport.is_closing():
            return
        busy = self._turn
        # While a whole request is being answered, this would be taken for its answer. Then nothing more is said at all.
        if busy is None or (busy.more and not busy.started):
            self.transport.write(problem(wrong.status, write_error(wrong, wrong.status)))
        self._leave()
        self._deaf = True
        if self.transport.can_write_eof():  # not with TLS, whose own goodbye comes with the end
            self.transport.write_eof()
        self._stop_timer()
        self._timer = self.loop.call_later(LINGER_S, self.close)

    def _turn_away(self, wrong: TidegateError) -> None:
        """One connection too many. It is told so, unless there are so many of them that telling would be the load."""
        if self.crowd.lingering < LINGERING:
            self.crowd.lingering += 1
            self._lingers = True
            self._refuse(wrong)
        else:
            self._deaf = True
            self.transport.abort()

    def _leave(self) -> None:
        for turn in (self._turn, *self._queue):
            if turn is not None:
                turn.leave()

    def connection_lost(self, exc: Exception | None) -> None:
        self._house.connections.discard(self)
        self.crowd.leave(self._peer)
        self.crowd.lingering -= self._lingers
        self._stop_timer()
        self._leave()
        self.crew.leave()
        self._read_on()

    # --- back-pressure

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self._reading:
            self._reading = True
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.writable = False
        self._drained.clear()
        self._expect_reading()

    def resume_writing(self) -> None:
        self._read_on()
        if self.transport.is_closing():
            self._expect_reading()

    def _read_on(self) -> None:
        self.writable = True
        self._drained.set()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _expect_reading(self) -> None:
        """A client that does not read what is sent cannot be told from one that has gone, and costs as much."""
        if self._unread is None and self.transport.get_write_buffer_size():
            self._unread = self.loop.call_later(self.send_timeout, self.transport.abort)

    async def drained(self) -> None:
        await self._drained.wait()

    # --- the clock

    def _hurry(self) -> None:
        self._hurried = True
        self._expect_within(self.head_timeout)

    def _expect_within(self, seconds: float) -> None:
        """The next head, or its end. A deadline moves with every request, the timer almost never."""
        self._due = self.loop.time() + seconds
        if self._due < self._armed:
            self._arm()

    def _arm(self) -> None:
        self._stop_timer()
        self._armed = self._due
        self._timer = self.loop.call_at(self._due, self._on_time)

    def _on_time(self) -> None:
        self._timer, self._armed = None, inf
        if self._due == inf:
            return
        if self.loop.time() + SLACK_S < self._due:
            self._arm()
        elif self._turn is not None:  # an answer goes out, perhaps for minutes, and is not to suffer from this
            self._hurry()
        elif self._head_has_begun:
            self._refuse(
                RequestTimeout(f"the headers did not arrive within {self.head_timeout:g} s (api.head_timeout)")
            )
        else:  # opened to be used later, perhaps: an answer now would be taken for the answer to what is asked then
            self.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _split(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, path as it came, and query."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""
