"""What is to be asked when nobody waits, who is at it, and what came of it?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from tidegate.core.batches import Config, Counts, Dialect, Ended, LineState, Mistake, Question, Said
from tidegate.core.parcels import Parcel

Holds = Literal["input", "output", "errors"]


class File(msgspec.Struct, frozen=True):
    """What somebody has uploaded, or what came of a batch. Nobody but the key that it belongs to ever sees it."""

    id: str
    tenant: str
    key_id: str
    name: str
    bytes: int
    created_ms: int
    until_ms: int  # it is kept so long
    holds: Holds = "input"
    batch: str = ""  # whose results it holds


class Starter(msgspec.Struct, frozen=True):
    """Who started a batch, as far as it must be known when its lines are asked."""

    key_id: str
    name: str
    tenant: str
    address: str = ""
    principal: bytes = b""  # of somebody without a key in the store: as their token told


class Batch(msgspec.Struct, frozen=True):
    """Many questions. What is None or empty is not known yet."""

    id: str
    dialect: Dialect
    endpoint: str
    source: str  # the file that it was made of; where it had none, its own id
    starter: Starter
    created_ms: int
    until_ms: int
    window: str = "24h"  # as the client has said it
    metadata: Mapping[str, Any] | None = None
    state: Literal["validating", "in_progress", "ended"] = "validating"
    began_ms: int | None = None
    cancelled_ms: int | None = None
    ended_ms: int | None = None
    ended: Ended | None = None
    counts: Counts = Counts()
    mistakes: tuple[Mistake, ...] = ()
    output: str | None = None  # files
    errors: str | None = None


class Line(NamedTuple):
    """A question that is ours to ask, for as long as the lease lasts."""

    batch: Batch
    number: int
    tries: int  # this one included
    asked: Question
    parcel: str = ""  # that it went with; or home


class Fate(NamedTuple):
    """What becomes of a line: an end with a result, or another try from `at_ms` on."""

    line: Line
    state: LineState = "pending"
    said: Said | None = None
    at_ms: int = 0
    counted: bool = True  # as a try
    home: bool = False  # it is not handed over again


class Held(msgspec.Struct, frozen=True):
    """What is kept of a line, for whom it is about."""

    batch: str
    line: int
    state: LineState
    custom_id: str | None
    asked: str | None = None  # until it is answered
    said: str | None = None


class Batches(Protocol):
    """Files and batches, durable, for as long as they are kept. Whose they are is asked each time. Raises StoreDown."""

    config: Config
    news: asyncio.Event  # set when there is something new to do

    # files

    async def put(self, file: File, content: bytes) -> None: ...

    async def file(self, id: str, key_id: str) -> File | None: ...

    async def files(self, key_id: str, after: str | None, most: int) -> list[File]:
        """Newest first, behind `after`."""

    async def kept(self, key_id: str) -> int:
        """Bytes that it has uploaded."""

    async def part(self, file: str, number: int) -> bytes | None:
        """A piece of what was uploaded, from 0; None: there are no more."""

    async def drop(self, file: File) -> bool: ...

    # batches

    async def add(self, batch: Batch, content: bytes | None = None) -> None:
        """`content`: its lines, where it was made of no file."""

    async def batch(self, id: str, key_id: str | None) -> Batch | None:
        """`key_id`: whose it must be; None, here and below: for who runs Tidegate, whosever it is."""

    async def batches(self, key_id: str | None, dialect: Dialect | None, after: str | None, most: int) -> list[Batch]:
        """Newest first, behind `after`."""

    async def cancel(self, id: str, key_id: str, now_ms: int) -> Batch | None:
        """What is open and not under way is not asked any more. Twice is as good as once."""

    async def page(self, batch: Batch, states: Sequence[LineState], after: int) -> tuple[bytes, int] | None:
        """Results of lines that have ended so, behind line `after`, and which is the last; None: there are no more."""

    async def remove(self, batch: Batch) -> bool:
        """One that has ended, with its results."""

    # who is at it

    async def unended(self) -> list[Batch]:
        """All that have not ended, oldest first; without counts."""

    async def take_batch(self, id: str, holder: str, now_ms: int, until_ms: int) -> bool:
        """To read its lines; somebody else's lease may have ended."""

    async def fill(self, batch: Batch, lines: Sequence[tuple[int, Question | Mistake]]) -> None:
        """Its lines; those that are there already stay as they are."""

    async def filled(self, batch: Batch, mistakes: Sequence[Mistake], now_ms: int) -> None:
        """All are there; now they may be asked."""

    async def take(self, batch: Batch, holder: str, most: int, now_ms: int, until_ms: int) -> list[Line]:
        """The next of its lines that nobody has. Several processes that take at once never take the same."""

    async def hold(self, holder: str, until_ms: int) -> None:
        """Whatever `holder` has stays its own until then."""

    async def release(self, holder: str | None, now_ms: int) -> int:
        """What `holder` has may be taken by others; None: what any holder had that has not held it until now."""

    async def settle(self, holder: str, fates: Sequence[Fate]) -> None:
        """In one step, each with its result. Of a line that is not `holder`'s any more nothing is written."""

    async def hand_over(self, parcel: Parcel, lines: Sequence[int], holder: str, until_ms: int) -> bool:
        """Put lines that are `holder`'s into a parcel that is its own until then. False: they are not all its own."""

    async def parcels(self) -> list[Parcel]:
        """All that there are, oldest first."""

    async def take_parcel(self, id: str, holder: str, now_ms: int, until_ms: int) -> bool: ...

    async def note_parcel(self, parcel: Parcel) -> None:
        """What is known of it now; it is nobody's then."""

    async def bring(self, batch: Batch, parcel: str, lines: Sequence[int], holder: str, until_ms: int) -> list[Line]:
        """Of these, those that are still in the parcel: now they are `holder`'s, to be given their results."""

    async def end_parcel(self, parcel: Parcel, at_ms: int, *, home: bool) -> int:
        """Lines without a result are asked from `at_ms` on; `home`: by us. How many."""

    async def away(self) -> int:
        """Lines of all batches that are with providers."""

    async def end(self, batch: Batch, now_ms: int) -> Batch | None:
        """End it where no line is open; before, end what has expired or was cancelled. None: it goes on."""

    async def counts(self, batch: str) -> Counts: ...

    async def waiting(self) -> int:
        """Lines of all batches that nobody has."""

    # what is not kept any more

    async def of(self, subject: str) -> list[Held]:
        """Lines of an end user, as far as they can be read."""

    async def forget_of(self, subject: str) -> int:
        """What an end user asked and was answered, and files that hold it. How many lines."""

    async def forget(self, before_ms: int, most: int) -> int:
        """Delete some whose time was over by then, 0 when none is left."""
