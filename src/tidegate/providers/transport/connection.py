"""What carries a request? A connection: one socket, that belongs to its pool.

While it carries an exchange the two know each other, and whichever ends first tells the other.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
from math import inf
from typing import Protocol, cast

from tidegate.providers.transport.exchange import SLACK_S, SLICE, TOO_SLOW, HttpExchange, Way
from tidegate.providers.transport.wire import Fault, ResponseParser

# What a server may be asked twice (RFC 9110, 9.2.2). Asking a model twice costs twice: POST is not among them.
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))


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
