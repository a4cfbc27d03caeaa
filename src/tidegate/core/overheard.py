"""What did an answer say in the end? A reply heard as it passes by, for who wants its text and may not hold it up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from tidegate.core.call import Call, Event, Reply, ReplyHead
from tidegate.core.chat import Channel


class Overheard(ABC):
    """The same reply; `ended` is called once, at its end, if it ends well. It must not wait."""

    def __init__(self, call: Call, reply: Reply, most: int) -> None:
        """`most`: characters; of a longer text nothing is kept."""
        self.head: ReplyHead = reply.head
        self.as_asked = reply.as_asked
        self._call = call
        self._events = reply.events
        self._most = most
        self._texts: list[str] = []
        self._size = 0

    @property
    def events(self) -> AsyncIterator[list[Event]]:
        return self

    def __aiter__(self) -> AsyncIterator[list[Event]]:
        return self

    async def __anext__(self) -> list[Event]:
        events = await anext(self._events)
        if self._size <= self._most:
            for event in events:
                for channel, text in event.texts():
                    if channel.choice != 0:
                        continue
                    if channel.kind == "text":
                        self._texts.append(text)
                        self._size += len(text)
                    else:
                        self.beside(channel)
        last = events[-1]
        if last.last and last.error is None:
            self.ended("".join(self._texts) if self._size <= self._most else None)
        return events

    def beside(self, channel: Channel) -> None:  # noqa: B027 most want to know nothing of it
        """Something is said that is no text of the answer."""

    @abstractmethod
    def ended(self, text: str | None) -> None:
        """The text of the first choice; None where it is longer than wanted."""
