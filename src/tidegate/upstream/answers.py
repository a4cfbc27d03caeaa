"""What do we answer ourselves, without a provider? What is known anyway, or a text for when nobody is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tidegate.core.call import Event, ReplyHead
from tidegate.core.chat import Began, Change, Channel, Delta, Finished

NEUTRAL = "tidegate"  # the dialect of a reply that has no bytes yet: the client's own writes them
WRITTEN = ("chat", "complete")  # operations whose answer is a text
STATIC = "static_answer"  # what stands in rows and heads in place of a target


class OwnAnswer:
    """A reply that nobody had to be asked for."""

    def __init__(self, dialect: str, event: Event) -> None:
        self.head = ReplyHead(dialect, [(b"content-type", b"application/json")], None)
        self._event = event

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        push([self._event])

    def pause(self) -> None:
        """It is here already."""

    def resume(self) -> None:
        """It is here already."""


class StaticEvent(Event):
    """A whole answer of one text, in no dialect."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        super().__init__(opens=True, last=True)
        self._text = text

    def texts(self) -> Iterable[tuple[Channel, str]]:
        return ((Channel(), self._text),)

    def changes(self) -> Sequence[Change]:
        return (Began("", "", 0), Delta(Channel(), self._text), Finished(0, "stop"))


def static(text: str) -> OwnAnswer:
    return OwnAnswer(NEUTRAL, StaticEvent(text))
