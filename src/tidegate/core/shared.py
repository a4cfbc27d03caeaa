"""Who reads along? A flight that others may join: each reader has its own place, and all of them get all of it.

It stands in a table under its keys while it can be joined: in the air, and small enough to be told again from the
beginning. Whoever leads is only the one who pays; when the last reader leaves, it is out of the table in the same
breath, so that nobody joins what is about to end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tidegate.core.call import Event
from tidegate.core.errors import ShuttingDown, TidegateError, UpstreamLimited
from tidegate.core.flight import MAX_UNREAD, Flight, Reader

Table = dict[bytes, "SharedFlight"]


class SharedFlight(Flight, kw_only=True):
    """`most`: bytes of a reply that is kept whole, for those who join and for whoever stores it at the landing.

    `again`: it was led by somebody who had followed one that failed. `goes_on`: even when nobody reads. `form`: of its
    bytes: whether they are a stream, and whether that tells its usage.
    """

    table: Table
    keys: Sequence[bytes]
    most: int
    again: bool = False
    goes_on: bool = False
    form: tuple[bool, bool] = (False, False)
    landings: list[Callable[[SharedFlight], None]] = []  # of others than the payer
    whole: bool = True  # everything that came is still here
    _kept: int = 0  # bytes that came
    _seen: int = 0  # events that came and are not here any more

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = self.call.asked
        if asked is not None:
            self.form = (asked.stream, asked.wants_usage)
        for key in self.keys:
            self.table[key] = self

    def follow(self, told: Callable[[Event], None]) -> Follower:
        """A reader that pays nothing; `told` is called with the last event before it has it."""
        reader = Follower(self, _told=told)
        self._readers[reader] = None
        return reader

    def _push(self, events: list[Event]) -> None:
        for event in events:
            self._kept += len(event.raw)
        if self.whole and self._kept > self.most:
            self.whole = False
            self._unlist()
        super()._push(events)
        if not self._readers:
            self._drop()  # it goes on, or is about to end

    def _poured(self, events: list[Event]) -> bool:
        return False  # others may come, and want them too

    def _take(self, reader: Reader) -> list[Event]:
        events = self.events[reader.at - self._seen :]
        if events:
            reader.at += len(events)
            reader.taken = self._kept
            self._drop()
        return events

    def _drop(self) -> None:
        """Somebody has read, or left: go on if it was held up for them.

        While it is whole the fastest reader sets the pace, and the others find everything here. After that the slowest
        does, and what everybody has had is forgotten.
        """
        if self.whole:
            self._unread = 0  # whoever has just read has had everything
        else:
            readers = self._readers
            had = min((reader.at for reader in readers), default=self._seen + len(self.events)) - self._seen
            del self.events[:had]
            self._seen += had
            self._unread = self._kept - min((reader.taken for reader in readers), default=self._kept)
        if self._paused and self._unread <= MAX_UNREAD:
            self._go_on()

    def _left(self, reader: Reader) -> None:
        super()._left(reader)
        if self._readers and not self.whole:
            self._drop()  # it may have been the slowest

    def _desert(self) -> None:
        """Nobody reads any more. What goes on can be joined again, or is kept when it has landed."""
        route = self.call.route
        if self.goes_on or (route is not None and route.on_disconnect == "drain"):
            self._drop()
        else:
            self._unlist()
            super()._desert()

    def _land(self, failure: TidegateError | None) -> None:
        self._unlist()
        super()._land(failure)

    def _unlist(self) -> None:
        for key in self.keys:
            if self.table.get(key) is self:
                del self.table[key]
        self.keys = ()


class Follower(Reader, kw_only=True):
    """Reads what somebody else pays for."""

    _told: Callable[[Event], None]

    async def __anext__(self) -> list[Event]:
        events = await super().__anext__()
        if self._done:
            self._told(events[-1])
        return events


def may_lead(failure: TidegateError, *, again: bool) -> bool:
    """Whether a follower buys for itself when the flight it followed has failed before its first event.

    What only its payer was refused (402, 429) is nobody else's. Of the provider's failures the first is tried once
    more, by one of the followers; the second is everybody's.
    """
    if failure.status in (402, 429) and not isinstance(failure, UpstreamLimited):
        return True
    return not again and not isinstance(failure, ShuttingDown)
