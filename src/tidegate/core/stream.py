"""Where does one server-sent event end and the next begin? Sans-I/O, by bytes, whatever the chunks were."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from tidegate.core.call import Event
from tidegate.core.errors import UpstreamFailed

T = TypeVar("T")

MAX_FRAME = 4 * 1024 * 1024  # an image in a delta is large; a line without an end is larger

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_BREAK = re.compile(rb"\n\r?\n|\r\r")  # after a line: an empty one, however lines end
_LINE = re.compile(rb"\r\n|\n|\r")


class Frames:
    """Cuts a byte stream into whole frames, terminators included: joined again, they are the stream."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = bytearray()  # of a frame that is not complete

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now. Raises UpstreamFailed when one grows over MAX_FRAME."""
        text = data
        if self.rest:
            looked = len(self.rest) - 2  # a break may begin in what was there, but does not end in it
            self.rest += data
            in_a_line = b"\n" not in data and b"\r" not in data
            if in_a_line or not _BREAK.search(self.rest, max(looked, 0)):
                self._check()
                return []
            text = bytes(self.rest)
            self.rest.clear()
        frames: list[bytes] = []
        at = 0
        if b"\r" in text:
            for gap in _BREAK.finditer(text):
                frames.append(text[at : gap.end()])
                at = gap.end()
        else:
            end = text.find(b"\n\n")
            while end >= 0:
                frames.append(text[at : end + 2])
                at = end + 2
                end = text.find(b"\n\n", at)
        self.rest += text[at:]
        self._check()
        return frames

    def _check(self) -> None:
        if len(self.rest) > MAX_FRAME:
            raise UpstreamFailed(f"one event of the stream is larger than {MAX_FRAME // 1024 // 1024} MiB")

    def end(self) -> bytes:
        """What is left when the stream has ended: a frame without its empty line, or nothing."""
        rest = bytes(self.rest)
        self.rest.clear()
        return rest


class FrameDecoder(ABC):
    """A streamed reply, up to its last event; a dialect says what one frame means.

    What makes no sense is raised after the events that came before it, even in the same piece: a reply is the same
    however the network cut it.
    """

    __slots__ = ("_ended", "_frames", "_wrong")

    def __init__(self) -> None:
        self._frames = Frames()
        self._ended = False
        self._wrong: UpstreamFailed | None = None

    @abstractmethod
    def event(self, frame: bytes) -> Event:
        """Raises UpstreamFailed."""

    @abstractmethod
    def unsaid_end(self) -> Event | None:
        """The last event, where a provider has said everything but this; None when it was cut off."""

    def feed(self, data: bytes) -> list[Event]:
        if self._ended:
            return []
        end = len(data) - 2
        if data.find(b"\n\n") == end >= 0 and not self._frames.rest and b"\r" not in data and self._wrong is None:
            event = self.event(data)  # what almost every piece is: one frame
            self._ended = event.last
            return [event]
        return self._events(self._frames.feed(data))

    def end(self) -> list[Event]:
        rest = self._frames.end()
        events = self._events([rest + b"\n\n"] if rest.strip() else [])  # else a client would wait for the empty line
        last = None if self._ended else self.unsaid_end()
        if last is not None:
            self._ended = True
            events.append(last)
        return events

    def _events(self, frames: Sequence[bytes]) -> list[Event]:
        if self._wrong is not None:
            raise self._wrong
        events: list[Event] = []
        for frame in frames:
            if self._ended:
                break  # some end twice, or wave after it
            try:
                event = self.event(frame)
            except UpstreamFailed as wrong:
                if not events:
                    raise
                self._wrong = wrong
                break
            self._ended = event.last
            events.append(event)
        return events


class WholeDecoder(ABC):
    """A reply that comes whole: one event, when the body has ended."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    @abstractmethod
    def event(self, body: bytes) -> Event:
        """Raises UpstreamFailed."""

    def feed(self, data: bytes) -> list[Event]:
        self._pieces.append(data)
        return []

    def end(self) -> list[Event]:
        return [self.event(b"".join(self._pieces))]


def understood(decoder: msgspec.json.Decoder[T], text: bytes) -> T:
    """What a provider said, typed. Raises UpstreamFailed."""
    try:
        return decoder.decode(text)
    except UNREADABLE as wrong:
        raise no_answer(wrong) from None


def no_answer(wrong: Exception) -> UpstreamFailed:
    return UpstreamFailed(f"it sent something that is no answer: {str(wrong)[:200]}")


def without_data(frame: bytes) -> Event:
    """A comment, to keep the connection awake, or what clients pass over: as it came.

    Raises UpstreamFailed for bytes that are no text: the clients we know fail on them, and never see what comes after.
    """
    try:
        frame.decode()
    except UnicodeDecodeError:
        raise UpstreamFailed("it sent something that is no text") from None
    return Event(frame)


def payload(frame: bytes) -> bytes:
    """The data of a frame; b"" for comments and frames without any."""
    if frame.startswith(b"data: ") and frame.find(b"\n") == len(frame) - 2:
        return frame[6:-2]  # what everybody sends
    return b"\n".join(_values(frame, b"data"))


def name(frame: bytes) -> bytes:
    """The event's name; b"" when it has none."""
    return next(_values(frame, b"event"), b"")


def _values(frame: bytes, field: bytes) -> Iterator[bytes]:
    for line in _LINE.split(frame):
        said, _, value = line.partition(b":")
        if said == field:
            yield value.removeprefix(b" ")
