"""What happens to one request? The exchange that its caller reads, and leaves at any time, synchronously."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Protocol

import msgspec

from tidegate.core.ports import Head, Request, TransportError
from tidegate.providers.transport.wire import Address, Fault

SLICE = 256 * 1024  # of a body is sent at once, the first together with the head; each that leaves is progress
FULL = 256 * 1024  # bytes waiting for a reader at which the socket rests
SLACK_S = 0.001  # uvloop's timers count whole milliseconds
TOO_SLOW = {
    "first_byte": "did not begin to answer",
    "idle": "sent nothing more of the body",
    "total": "did not finish its answer",
}

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
