"""What did the answer look like? One object of bytes per reply, and how it is told again, in any form and dialect."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from tidegate.core.call import Asked, Event, ReplyHead
from tidegate.core.chat import Change, Channel, Finished
from tidegate.core.errors import TidegateError
from tidegate.core.guard import Verdict
from tidegate.core.money import Usage
from tidegate.core.ports import Codecs, Headers, Place, Vault
from tidegate.core.shared import SharedFlight

KEPT_HEADERS = (b"content-type", b"content-disposition")  # the others are about the one time when it was bought
LAST = 4  # events, among which the end says why it ended


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A complete reply, as it came. `key` is the one it was stored under: what is found under another is not ours."""

    key: bytes
    dialect: str
    operation: str
    stream: bool
    wants_usage: bool
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    usage: Usage
    cost_nusd: int | None
    bought_ms: int
    verdicts: tuple[Verdict, ...] = ()  # what guards made of it, when it came
    call: str = ""  # the id of the one that bought it

    @property
    def head(self) -> ReplyHead:
        return ReplyHead(self.dialect, self.headers, None, self.status)

    def is_as_asked(self, asked: Asked) -> bool:
        return is_form(self.stream, self.wants_usage, asked)

    def events(self, codecs: Codecs) -> list[Event]:
        """As they came, but for those that were withheld. Raises TidegateError for what is no reply."""
        codec = codecs.get((self.dialect, self.operation))
        if codec is None:
            raise ValueError(f"nothing here reads {self.operation!r} in the dialect {self.dialect!r}")
        decoder = codec.decoder(stream=self.stream, withhold_usage=False)
        found = [*decoder.feed(self.body), *decoder.end()]
        return [Event(usage=self.usage), *found] if self.stream else found


class Kept(NamedTuple):
    """One as it is put away."""

    reply: bytes  # sealed
    until_ms: int  # it is good, since 1970
    tags: tuple[str, ...] = ()  # what it can be purged by


UNKEPT = Kept(b"", 0)
_PACK = msgspec.msgpack.Encoder()
_ENTRY = msgspec.msgpack.Decoder(Entry)


def is_form(stream: bool, wants_usage: bool, asked: Asked) -> bool:
    return stream == asked.stream and (wants_usage == asked.wants_usage or not stream)


def may_be_kept(flight: SharedFlight) -> bool:
    """Only what is complete, whole, and an answer: not one of our own for want of a better, not a refusal."""
    if flight.ending != "complete" or not flight.whole or flight.head is None:
        return False
    if flight.head.target is None or not 200 <= flight.head.status < 300:
        return False
    if flight.call.chosen is not None and flight.call.chosen.is_wanting:
        return False
    return not any(
        isinstance(change, Finished) and change.reason == "content_filter"
        for event in flight.events[-LAST:]
        for change in event.changes()
    )


def entry_of(flight: SharedFlight, key: bytes, now_ms: int) -> Entry:
    call, head = flight.call, flight.head
    assert call.asked is not None and head is not None
    return Entry(
        key,
        head.dialect,
        call.operation,
        *flight.form,
        head.status,
        kept_headers(head.headers),
        b"".join([event.raw for event in flight.events]),
        call.usage,
        call.cost_nusd,
        now_ms,
        call.guarded.answered,
        call.id,
    )


def kept_headers(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name, value) for name, value in headers if name in KEPT_HEADERS)


def place(key: bytes) -> Place:
    """Where an entry of the cache stands, under the house's own key: answers are shared."""
    return Place("cache", key.hex(), "body")


def pack(entry: Entry, vault: Vault, at: Place) -> bytes:
    text = _PACK.encode(entry)
    return vault.seal(zlib.crc32(text).to_bytes(4, "big") + text, at)


def unpack(stored: bytes, key: bytes, vault: Vault, at: Place) -> Entry:
    """Raises ValueError for what was not stored here, under this key, or was changed since."""
    plain = vault.unseal(stored, at)
    text = plain[4:]
    if zlib.crc32(text) != int.from_bytes(plain[:4], "big"):
        raise ValueError("its bytes were changed")
    entry = _ENTRY.decode(text)
    if entry.key != key:
        raise ValueError("it was stored under another key")
    return entry


class Whole(Event):
    """A stored reply as one event; it is read only where somebody wants to know what it says."""

    __slots__ = ("_codecs", "_entry")

    def __init__(self, entry: Entry, codecs: Codecs) -> None:
        super().__init__(entry.body, opens=True, last=True, usage=entry.usage)
        self._entry = entry
        self._codecs = codecs

    def texts(self) -> Iterable[tuple[Channel, str]]:
        return [one for event in self._entry.events(self._codecs) for one in event.texts()]

    def changes(self) -> Sequence[Change]:
        return [one for event in self._entry.events(self._codecs) for one in event.changes()]


def told_again(entry: Entry, asked: Asked, dialect: str, codecs: Codecs, *, changed: bool = False) -> list[Event]:
    """The events for this client. `changed`: somebody will change what they say, so each stands by itself.

    Raises ValueError when the entry makes no sense.
    """
    if entry.dialect == dialect and entry.is_as_asked(asked) and not changed:
        return [Whole(entry, codecs)]
    try:
        events = entry.events(codecs)
    except TidegateError as wrong:
        raise ValueError(wrong.message) from None
    if not events or not events[-1].last:
        raise ValueError("its end is missing")
    return events
