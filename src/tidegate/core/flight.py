"""Who owns a reply? The house. A flight is one purchase from a provider; clients read it and never hold it.

The flight's task calls `buy`, which lets it hear a source; that pushes events into the flight from the socket's
callback, and readers look at them. When the last event is there, everything is given back first, then the flight lands:
its row is closed, and only then is the last event released. A reader that leaves does so synchronously; the last one
takes the flight with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar, Literal, Protocol

import msgspec

from tidegate.core.call import Call, Event, ReplyHead, Source
from tidegate.core.errors import Internal, TidegateError
from tidegate.core.world import World

Hear = Callable[[Source], Awaitable[None]]
Buy = Callable[[Call, Hear], Awaitable[None]]
Ending = Literal["complete", "failed", "broken", "abandoned"]

MAX_UNREAD = 256 * 1024  # bytes of events that wait for a slow reader before the socket is paused


class Flight(msgspec.Struct, eq=False):
    """One purchase, from take-off to landing.

    `ending` is None while in the air; then `complete` (last event, no error), `broken` (last event with an error),
    `failed` (no event ever; `failure` says why) or `abandoned` (nobody wanted the rest).
    """

    _world: World
    _buy: Buy
    call: Call
    _landing: Callable[[Flight], None]
    head: ReplyHead | None = None  # known once the first events are there
    events: list[Event] = []
    ending: Ending | None = None
    failure: TidegateError | None = None
    deserted: bool = False  # its last reader left before the last event came
    _readers: dict[Reader, None] = {}  # in the order they boarded; of thousands, any may leave at any time
    _source: Source | None = None
    _ended: asyncio.Future[None] | None = None
    _last: Event | None = None
    _begun: bool = False  # something of the reply was there to be read
    _stopped_by: TidegateError | None = None
    _unread: int = 0
    _paused: bool = False
    _task: asyncio.Task[None] = msgspec.UNSET  # type: ignore[assignment]  # from its first moment on

    def __post_init__(self) -> None:
        world = self._world
        world.flights.add(self)
        self._task = world.nursery.spawn(self._fly(), "flight", self._after)

    def board(self) -> Reader:
        reader = Reader(self)
        self._readers[reader] = None
        return reader

    def stop(self, why: TidegateError) -> None:
        """End now, with `why` as the last event; the house is closing."""
        if self.ending is None:
            self._stopped_by = why
            self._task.cancel()

    async def landed(self) -> None:
        """Return when it has, however."""
        if not self._task.done():
            await asyncio.wait([self._task])

    async def _fly(self) -> None:
        try:
            await self._buy(self.call, self._hear)
        except TidegateError as failure:
            self._land(failure)
        else:
            self._land(None)

    async def _hear(self, source: Source) -> None:
        """Take its events, until the last one is there."""
        self._source = source
        self.head = source.head
        source.begin(self._push)
        if self._last is None:
            self._ended = self._world.loop.create_future()
            await self._ended

    def _push(self, events: list[Event]) -> None:
        if events[-1].last:
            self._last = events.pop()
            if self._ended is not None and not self._ended.done():
                self._ended.set_result(None)
        if events and not self.deserted:
            self._begun = True
            if self._poured(events):
                return
            self.events += events
            for event in events:
                self._unread += len(event.raw)
            if self._unread > MAX_UNREAD and not self._paused:
                self._hold_up()
            self._wake()

    def _poured(self, events: list[Event]) -> bool:
        """Whether the only reader has them already. Nobody else can join a private flight."""
        for reader in self._readers:
            waiter, pour = reader.waiter, reader.pour
            if pour is None or waiter is None or self.events or waiter.done() or not pour.is_open():
                return False
            pour.take(events)
            return True
        return False

    def _hold_up(self) -> None:
        if self._source:
            self._paused = True
            self._source.pause()

    def _take(self, reader: Reader) -> list[Event]:
        """All that `reader` has not seen. Nobody else can join a private flight, so nothing is kept."""
        events = self.events
        if events:
            self.events = []
            self._unread = 0
            if self._paused:
                self._go_on()
        return events

    def _go_on(self) -> None:
        self._paused = False
        if self._source:
            self._source.resume()

    def _left(self, reader: Reader) -> None:
        if reader in self._readers:
            del self._readers[reader]
            if not self._readers and self.ending is None:
                self._desert()

    def _desert(self) -> None:
        """Nobody reads any more: end it, or hear it out, as the route says. The route's time bounds that."""
        self.deserted = self._last is None
        route = self.call.route
        if route is None or route.on_disconnect == "cancel":
            self._task.cancel()
        else:
            self.events = []
            self._unread = 0
            if self._paused:
                self._go_on()

    def _after(self, task: asyncio.Task[None]) -> None:
        """Land what never flew (a task cancelled before its first step runs no code of its own) or crashed."""
        crash = None if task.cancelled() else task.exception()
        mistake = None
        if crash is not None:
            self._world.events.notice("flight_crashed", {"request_id": self.call.id, "error": repr(crash)})
            mistake = Internal("Tidegate made a mistake; its log has the details under this request id")
        if self.ending is None:
            self._land(mistake or self._stopped_by)

    def _land(self, failure: TidegateError | None) -> None:
        self._world.flights.discard(self)
        # Nothing that knows each other is left behind: who must be found by the garbage collector costs as much as a
        # stage, and a call leaves forty.
        self.call.flight = self._source = None
        last = self._last
        if last is None and failure is not None and self.head is not None:
            last = Event(last=True, error=failure)  # the reply has begun: its error is its last event
        if last is not None and last.error is not None and not self._begun:
            failure = last.error  # nobody has read a word: it is refused, and no reply that broke
            last = None
        if last is not None:
            self.ending = "broken" if last.error else "complete"
            self.events.append(last)
        elif failure is not None:
            self.ending, self.failure = "failed", failure
        else:
            self.ending = "abandoned"
        try:
            self._landing(self)
        finally:
            self._wake()  # whatever became of the row, nobody waits for ever

    def _wake(self) -> None:
        for reader in self._readers:
            waiter = reader.waiter
            if waiter is None or waiter.done():
                continue
            pour = reader.pour
            if pour is not None and self.ending is None and pour.is_open():
                if events := self._take(reader):
                    pour.take(events)
            else:
                waiter.set_result(None)


class Pour(Protocol):
    """Where a reader's events go at once, while it waits for them: a step of the loop and of its task is spared."""

    @property
    def is_open(self) -> Callable[[], bool]:
        """Whether they would be taken without waiting."""

    def take(self, events: list[Event]) -> None:
        """Never with the last one of all: that is the reader's. Must not raise."""


class Reader(msgspec.Struct, eq=False):
    """A place in a flight: (flight, index). Waiting consumes nothing, so a cancelled wait loses nothing."""

    flight: Flight
    _done: bool = False
    at: int = 0  # events it has had, and bytes of them: where others read too
    taken: int = 0
    waiter: asyncio.Future[None] | None = None
    pour: Pour | None = None
    head: ReplyHead = msgspec.UNSET  # type: ignore[assignment]  # until it was entered

    as_asked: ClassVar[bool] = True

    async def __aenter__(self) -> Reader:
        """Wait for the first events. Raises what went wrong before there were any."""
        flight = self.flight
        try:
            while not flight.events and flight.ending is None:
                await self._news()
            self.head = self._begun()
        except BaseException:
            self.leave()  # what was never entered is never exited
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.flight._left(self)

    @property
    def events(self) -> Reader:
        return self

    async def opened(self) -> ReplyHead:
        """Wait for the first events. Raises what went wrong before there were any."""
        flight = self.flight
        while not flight.events and flight.ending is None:
            await self._news()
        return self._begun()

    def _begun(self) -> ReplyHead:
        flight = self.flight
        if flight.failure is not None:
            raise flight.failure
        if flight.head is None:
            raise asyncio.CancelledError  # the flight was taken from us: only a leaving reader sees this
        return flight.head

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> list[Event]:
        """The events that came since; never an empty list. The last one of all has `last=True`."""
        flight = self.flight
        while not (events := flight._take(self)):
            if self._done or flight.ending is not None:
                raise StopAsyncIteration
            await self._news()
        self._done = events[-1].last
        return events

    def leave(self) -> None:
        self.flight._left(self)

    def _news(self) -> asyncio.Future[None]:
        """Done when there is something new."""
        self.waiter = waiter = self.flight._world.loop.create_future()
        return waiter
