"""What happens to one request? The exchange that its caller reads, and the connection that carries it.

An exchange is left by its caller at any time, synchronously. A connection belongs to its pool; while it carries an
exchange the two know each other, and whichever ends first tells the other.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from math import inf
from typing import Protocol, cast

import msgspec

from tidegate.core.ports import Head, Request, TransportError
from tidegate.providers.transport.wire import Address, Fault, ResponseParser

SLICE = 256 * 1024  # of a body is sent at once, the first together with the head; each that leaves is progress
FULL = 256 * 1024  # bytes waiting for a reader at which the socket rests
SLACK_S = 0.001  # uvloop's timers count whole milliseconds

# What a server may be asked twice (RFC 9110, 9.2.2). Asking a model twice costs twice: POST is not among them.
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))

CLOSED = Fault("closed", "is not listened to any more: this exchange was closed")


class Way(Protocol):
    """How an exchange gets to a connection."""

    address: Address
    loop: asyncio.AbstractEventLoop

    def begin(self, exchange: HttpExchange) -> None:
        """Find it a connection, now or later."""

    def leave(self, exchange: HttpExchange) -> None:
        """It does not wait for a connection any more."""

    def scarce(self) -> str:
        """Why there is no connection yet."""


class Carrier(Protocol):
    """What carries an exchange."""

    def pause(self) -> None:
        """Stop reading from the socket."""

    def resume(self) -> None: ...

    def drop(self) -> None:
        """Close the socket: nobody listens any more."""


class Home(Way, Protocol):
    """What a connection needs of its pool."""

    carrying: int  # connections that carry an exchange

    def proved(self, connection: Connection) -> None:
        """It has carried its first exchange to the end."""

    def release(self, connection: Connection, hint_s: float | None) -> None:
        """It is free for another request. The server closes it after `hint_s` without one."""

    def forget(self, connection: Connection) -> None:
        """Do not hand it out again."""

    def lost(self, connection: Connection) -> None:
        """Its socket is closed."""


class HttpExchange(msgspec.Struct, eq=False):
    """One request and its response: the `Exchange` of the port. First half for its caller, second for the house."""

    _home: Way
    request: Request
    head_bytes: bytes
    total_at: float  # by the loop's clock
    sent: bool = False
    retried: bool = False
    paused: bool = False
    received: Head | None = None
    _pieces: list[bytes] = []
    _size: int = 0
    _over: bool = False
    _fault: Fault | None = None
    _connection: Carrier | None = None
    _connect_at: float = inf
    _timer: asyncio.TimerHandle | None = None  # only while waiting for a connection
    _waiter: asyncio.Future[None] | None = None
    on_data: Callable[[bytes], None] | None = None
    _on_end: Callable[[TransportError | None], None] | None = None
    _on_head: Callable[[Head], None] | None = None

    async def head(self) -> Head:
        while self.received is None:
            if self._fault is not None:
                raise self._error(self._fault)
            await self._news()
        if self._fault is CLOSED:
            raise self._error(CLOSED)
        return self.received

    async def read(self) -> bytes:
        while (piece := self.at_hand()) is None:
            await self._news()
        return piece

    def at_hand(self) -> bytes | None:
        if self._pieces:
            return self._take()
        if self._fault is not None:
            raise self._error(self._fault)
        return b"" if self._over else None

    def pipe(
        self,
        on_data: Callable[[bytes], None],
        on_end: Callable[[TransportError | None], None],
        on_head: Callable[[Head], None] | None = None,
    ) -> None:
        if self._fault is CLOSED:
            return
        self.on_data, self._on_end, self._on_head = on_data, on_end, on_head
        if self._pieces:
            on_data(self._take())
        if self._over:
            self._tell_end()

    def pause(self) -> None:
        self.paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        self.paused = False
        if self._connection is not None and self._size < FULL:
            self._connection.resume()

    def close(self) -> None:
        if self._fault is CLOSED:
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()
        if self._timer is not None:
            self._stop_waiting()
        self._over = True
        self._fault = CLOSED
        self._pieces.clear()
        self.on_data = self._on_end = self._on_head = None
        if self._waiter is not None:
            self._wake()

    def _take(self) -> bytes:
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        if self._connection is not None and not self.paused:
            self._connection.resume()
        return data

    def _news(self) -> asyncio.Future[None]:
        """Done when something has come. It is not consumed here, so a reader that is cancelled loses nothing."""
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError(f"two tasks read one response of {self._home.address}; only one may wait at a time")
        waiter = self._waiter = self._home.loop.create_future()
        return waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _error(self, fault: Fault) -> TransportError:
        # A new one each time: a traceback that is kept would keep whoever reads us.
        return TransportError(fault.kind, f"{self._home.address} {fault.said}", sent=self.sent)

    # --- waiting for a connection

    def wait(self) -> None:
        """There is none free: waiting counts as connecting."""
        loop = self._home.loop
        self._connect_at = loop.time() + self.request.timeouts.connect
        self._timer = loop.call_at(min(self._connect_at, self.total_at), self._waited_enough)

    def _waited_enough(self) -> None:
        timeouts = self.request.timeouts
        name = "connect" if self._connect_at <= self.total_at else "total"
        seconds = timeouts.connect if name == "connect" else timeouts.total
        self.fail(Fault("timeout", f"{self._home.scarce()} within {seconds:g} s (timeouts.{name})"))

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._home.leave(self)

    # --- told by the connection

    def carried(self, connection: Carrier) -> None:
        if self._timer is not None:
            self._stop_waiting()
        self._connection = connection

    def receive(self, head: Head | None, body: bytes) -> None:
        """What one read of the socket brought."""
        self.received = head
        if self._on_head is not None and head is not None:
            on_head, self._on_head = self._on_head, None
            on_head(head)
        on_data = self.on_data
        if on_data is not None:
            if body:
                on_data(body)
            return
        if body:
            self._pieces.append(body)
            self._size += len(body)
            if self._size >= FULL and self._connection is not None:
                self._connection.pause()
        if self._waiter is not None:
            self._wake()

    def let_go(self) -> None:
        self._connection = None

    def finish(self) -> None:
        """The response is complete."""
        if not self._over:
            self._over = True
            self._tell_end()

    def fail(self, fault: Fault) -> None:
        if not self._over:
            self._stop_waiting()
            self._over = True
            self._fault = fault
            self._tell_end()

    def begin_again(self) -> None:
        self.retried = True
        self._home.begin(self)

    def _tell_end(self) -> None:
        on_end = self._on_end
        self.on_data = self._on_end = self._on_head = None
        if on_end is None:
            if self._waiter is not None:
                self._wake()
        else:
            on_end(None if self._fault is None else self._error(self._fault))


class Connection(asyncio.Protocol):
    """One socket. It carries one exchange at a time, and between two it is idle in its pool.

    It has one timer, which is armed for the nearest deadline and, when it fires, asks again what the deadline is. An
    exchange moves the deadline later all the time and touches the timer almost never.
    """

    __slots__ = (
        "_armed", "_exchange", "_home", "_idle_until", "_moved_at", "_parser", "_resting", "_timer", "_unsent", "_used",
        "_writable", "transport",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, home: Home, parser: ResponseParser) -> None:
        self._home = home
        self._parser = parser
        self._exchange: HttpExchange | None = None
        self._used = False  # it has carried an exchange to its end
        self._unsent: memoryview | None = None  # what is left of a large body
        self._writable = True
        self._resting = False  # we do not read, because nobody reads us
        self._moved_at = 0.0  # when the exchange last made progress
        self._idle_until = inf
        self._armed = inf
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    # --- told by the pool

    def carry(self, exchange: HttpExchange) -> None:
        """Send its request, and bring it what comes."""
        self._home.carrying += 1
        self._exchange = exchange
        exchange.carried(self)
        request = exchange.request
        self._parser.expect(request.method)
        self.transport.write(exchange.head_bytes + request.body[:SLICE])  # a slice of all of it is no copy
        # Both loops hand the first write to the kernel on the spot. If that failed nothing has left.
        if not self.transport.is_closing():
            exchange.sent = True
        self._moved_at = now = self._home.loop.time()
        if len(request.body) > SLICE:
            self._unsent = memoryview(request.body)[SLICE:]
            self._send_on()
        if exchange.paused:
            self.pause()
        if self._armed > now + request.timeouts.first_byte or self._armed > exchange.total_at:
            self._watch()

    def keep(self, seconds: float) -> None:
        """Stay open for the next exchange, for so long."""
        self._idle_until = self._home.loop.time() + seconds
        if self._idle_until < self._armed:
            self._watch()

    def abort(self) -> None:
        self._home.forget(self)
        self.transport.abort()

    def cut(self, fault: Fault) -> None:
        """Close the socket, and end what it carries with `fault`."""
        exchange = self._exchange
        self.drop()
        if exchange is not None:
            exchange.fail(fault)

    # --- told by the exchange

    def drop(self) -> None:
        """Close the socket: what it carried has ended, and what is still coming would be in the way of the next."""
        if self._exchange is not None:
            self._detach(self._exchange)
        self.abort()

    def pause(self) -> None:
        if not self._resting:
            self._resting = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._resting:
            self._resting = False
            self.transport.resume_reading()
            self._moved_at = self._home.loop.time()
            self._watch()

    # --- told by the event loop

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.abort()  # what is said unasked is no answer to whatever is asked next
            return
        parser = self._parser
        body = parser.feed(data)
        head = parser.head
        if parser.complete:
            self._finish(exchange)
            exchange.receive(head, body)
            exchange.finish()
        elif parser.fault is not None:
            exchange.receive(head, body)
            self.drop()
            exchange.fail(parser.fault)
        elif exchange.received is not None:
            if body:
                self._moved_at = self._home.loop.time()
                if exchange.on_data is not None:
                    exchange.on_data(body)
                else:
                    exchange.receive(head, body)
        elif head is not None:
            self._moved_at = self._home.loop.time()
            exchange.receive(head, body)
            if self._exchange is exchange:
                self._watch()  # from here on it is another clock

    def eof_received(self) -> None:
        exchange = self._exchange
        if exchange is not None:
            parser = self._parser
            if self._goodbye():
                parser.eof()
            if parser.complete:
                self._finish(exchange)
                exchange.finish()
            else:
                if exchange.sent and not parser.heard and self._refused(exchange):
                    exchange.sent = False
                self._lose(exchange, parser.lost())
        self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._home.lost(self)
        if self._exchange is not None:
            kind, said = self._parser.lost()
            self._lose(self._exchange, Fault(kind, f"{said}: {error}" if error else said))

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._exchange is not None:
            self._moved_at = self._home.loop.time()
            self._send_on()

    # --- how an exchange goes on and ends

    def _send_on(self) -> None:
        while self._unsent and self._writable and not self.transport.is_closing():
            self.transport.write(self._unsent[:SLICE])
            self._unsent = self._unsent[SLICE:]

    def _detach(self, exchange: HttpExchange) -> None:
        self._home.carrying -= 1
        self._exchange = None
        self._unsent = None
        exchange.let_go()

    def _finish(self, exchange: HttpExchange) -> None:
        """The response is complete: free the connection before anyone reads the last of it."""
        parser = self._parser
        # A server that answers before it has read everything may take the rest of the request for the next one.
        free = parser.reusable and not self._unsent and not self.transport.get_write_buffer_size()
        self._detach(exchange)
        if not self._used:
            self._used = True
            self._home.proved(self)
        if not free or self.transport.is_closing():
            self.abort()
            return
        if self._resting:
            self.resume()
        self._home.release(self, parser.hint_s)

    def _lose(self, exchange: HttpExchange, fault: Fault) -> None:
        """The connection is gone, and `exchange` has not its whole response.

        It is begun again, once and without a word, when all of these hold: the connection had been used before (so that
        it may simply have grown old), not a byte of a response had come, and asking twice is harmless: either the
        method is idempotent, or nothing of the request can have reached the server (the first write failed, or see
        `_refused`). Everything else is for the caller to decide, who knows what a second POST costs.
        """
        self._detach(exchange)
        harmless = not exchange.sent or exchange.request.method in IDEMPOTENT
        if self._used and not self._parser.heard and harmless and not exchange.retried:
            exchange.begin_again()
        else:
            exchange.fail(fault)

    def _goodbye(self) -> bool:
        """Whether it was the server that ended the connection. With TLS it says so; a bare FIN may be anyone's."""
        tls: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return not tls.read(1)
        except ssl.SSLError:  # it wants more: asyncio tells us of a bare FIN, uvloop does not
            return False

    def _refused(self, exchange: HttpExchange) -> bool:
        """Whether the server had closed the connection before any of the request arrived. Linux knows, others do not.

        A FIN acknowledges everything that came before it. If, having read the FIN, our kernel still counts at least the
        whole request as unacknowledged or unsent, then the other side closed first, and has since discarded it.
        (A reset proves nothing: it is sent without an acknowledgement, and also by servers that crash at work.)
        """
        if sys.platform != "linux":
            return False
        info = self.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        if len(info) < 216:  # before Linux 4.19
            return False
        acked, not_sent, sent, sent_again = (
            struct.unpack_from(form, info, offset)[0]
            for form, offset in (("=Q", 120), ("=I", 144), ("=Q", 200), ("=Q", 208))
        )
        open_bytes = sent - sent_again - (acked - 1) + not_sent  # the SYN counts as one that was acknowledged
        return bool(open_bytes >= len(exchange.head_bytes) + len(exchange.request.body))

    # --- the clock

    def _deadline(self) -> tuple[float, str]:
        exchange = self._exchange
        if exchange is None:
            return self._idle_until, ""
        timeouts = exchange.request.timeouts
        if exchange.received is None:
            step, name = self._moved_at + timeouts.first_byte, "first_byte"
        elif self._resting:
            return exchange.total_at, "total"
        else:
            step, name = self._moved_at + timeouts.idle, "idle"
        return (step, name) if step <= exchange.total_at else (exchange.total_at, "total")

    def _watch(self) -> None:
        deadline = self._deadline()[0]
        if deadline < self._armed:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = deadline
            self._timer = self._home.loop.call_at(deadline, self._on_time)

    def _on_time(self) -> None:
        self._timer, self._armed = None, inf
        deadline, name = self._deadline()
        if self._home.loop.time() + SLACK_S < deadline:
            self._watch()
            return
        if self._exchange is None:
            self.abort()
            return
        seconds = getattr(self._exchange.request.timeouts, name)
        self.cut(Fault("timeout", f"{TOO_SLOW[name]} within {seconds:g} s (timeouts.{name})"))


TOO_SLOW = {
    "first_byte": "did not begin to answer",
    "idle": "sent nothing more of the body",
    "total": "did not finish its answer",
}
