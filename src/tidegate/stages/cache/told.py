"""How is a reply read that somebody else paid for?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from tidegate.core.call import Event, ReplyHead
from tidegate.core.flight import Reader


class Told:
    """A reply that somebody else paid for."""

    __slots__ = ("as_asked", "events", "head")

    def __init__(self, head: ReplyHead, events: AsyncIterator[list[Event]], *, as_asked: bool) -> None:
        self.head = head
        self.events = events
        self.as_asked = as_asked


class AtOnce:
    """All events in one list."""

    __slots__ = ("_events",)

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def __aiter__(self) -> AtOnce:
        return self

    async def __anext__(self) -> list[Event]:
        events, self._events = self._events, []
        if not events:
            raise StopAsyncIteration
        return events


class Gathered:
    """All of a stream at once, for a client that did not want one: an error must still find it without a status."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __aiter__(self) -> Gathered:
        return self

    async def __anext__(self) -> list[Event]:
        events = [event async for some in self._reader for event in some]
        if not events:
            raise StopAsyncIteration
        return events
