"""What did every call cost? Spooled at once, in a database a moment later, in both exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tidegate.core.analytics import PeopleAsked, PeopleLine, TimesAsked, TimesLine
from tidegate.core.experiments import UnitLine
from tidegate.core.opinions import Opinion
from tidegate.core.ports import Acted, Backlog, CallsFound, CallsTaken, Closed, Opened, Record, Totals, Vault
from tidegate.core.search import CallsAsked
from tidegate.core.tally import Arrival
from tidegate.core.usage import UsageAsked, UsageLine
from tidegate.storage import personal
from tidegate.storage.books import Books, Notice
from tidegate.storage.mover import WORTH_WRITING, Mover
from tidegate.storage.personal import SPOOL, Rows
from tidegate.storage.segments import preallocate
from tidegate.storage.spool import MAX_BYTES, RESERVE_BYTES, SEGMENT_BYTES, Spool
from tidegate.storage.tallies import Tally, add

T = TypeVar("T")

AT_ONCE = 100  # rows: a hundred summed together take half of what each by itself does
PAGE = 100


class SpoolLedger:
    """A Ledger: records go to a spool, and a Mover takes rows from there to the books.

    It belongs to the event loop on which it was opened.
    """

    def __init__(self, books: Books, vault: Vault, mover: Mover, spool: Spool, *, audited: bool) -> None:
        self._books = books
        self._vault = vault
        self._rows = Rows(vault)
        self._mover = mover
        self._spool = spool
        self.audited = audited
        self._encode = msgspec.json.Encoder().encode
        self._mine = Tally(mover.before)
        self._uncounted: list[Closed] = []

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        books: Books,
        vault: Vault,
        notice: Notice,
        *,
        spool: str = "spool",
        max_spool_bytes: int = MAX_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
        allocate: Callable[[int, int], None] = preallocate,
        audited: bool = False,
    ) -> SpoolLedger:
        """Claim `<data_dir>/<spool>`, and first bring into the books what the last process left there.

        Raises ConfigError when the folder or the books cannot be used.
        """

        def make_spool() -> Spool:
            return Spool(
                data_dir / spool,
                segment_bytes=segment_bytes,
                max_bytes=max_spool_bytes,
                reserve_bytes=reserve_bytes,
                allocate=allocate,
            )

        mover = Mover(books, vault, notice, make_spool, audited=audited)
        return cls(books, vault, mover, await mover.start(), audited=audited)

    @property
    def id(self) -> str:
        """Of the spool: who writes, in the audit log."""
        return self._spool.id

    def append(self, record: Record) -> None:
        if isinstance(record, Acted):
            self._append_act(record)
            return
        spool, sealed = self._spool, self._vault.seal(self._encode(record), SPOOL)
        if isinstance(record, Opened):
            spool.append(record.id, sealed, closes=False)
        elif spool.append(record.id, sealed, closes=True, row=record):
            self._uncounted.append(record)
            waiting = spool.waiting
            if waiting == 1 or waiting == WORTH_WRITING:
                self._mover.hurry()
            if len(self._uncounted) >= AT_ONCE:
                self._count()

    def _count(self) -> Totals:
        """What was appended here sums to."""
        rows, self._uncounted = self._uncounted, []
        for row in rows:
            self._mine.count(row)
        return self._mine.totals()

    def _append_act(self, act: Acted) -> None:
        if self.audited:
            self._spool.append(act.id, self._vault.seal(self._encode(act), SPOOL), closes=True, row=act)
            self._mover.hurry()

    async def find(self, call_id: str) -> Closed | None:
        waiting = self._spool.find(call_id)
        if waiting is not None:
            found = self._mover.record(waiting)
            return found if isinstance(found, Closed) else None
        stored = await self._books.find(call_id)
        return (await self._opened([(call_id, stored)]))[0] if stored else None

    async def totals(self) -> Totals:
        others = await self._books.totals(besides=self._spool.id)
        return add(add(others, self._count()), self._mover.twice, -1)

    async def rows(self, user: str | None = None) -> AsyncIterator[Closed]:
        await self.flush()
        seq = 0
        while page := await self._books.after(seq, PAGE, user):
            for row in await self._opened([(id, sealed) for _, id, sealed in page]):
                yield row
            seq = page[-1][0]

    async def usage(self, asked: UsageAsked) -> list[UsageLine]:
        await self.flush()
        return await self._named(asked, self._books.usage)

    async def _named(
        self, asked: UsageAsked, ask: Callable[[UsageAsked], Awaitable[list[UsageLine]]]
    ) -> list[UsageLine]:
        """Asked with aliases, answered with names."""
        if not self._vault.seals:
            return await ask(asked)
        aliased = await asyncio.to_thread(personal.by_alias, asked, self._vault)
        return await asyncio.to_thread(personal.by_name, asked, await ask(aliased), self._vault)

    async def _opened(self, stored: Sequence[tuple[str, bytes]]) -> list[Closed]:
        return await self._aside(lambda: [self._rows.opened(id, sealed) for id, sealed in stored])

    async def _aside(self, work: Callable[..., T], *args: Any) -> T:
        """Beside the event loop, where the vault may have to wait for a key."""
        return await asyncio.to_thread(work, *args) if self._vault.seals else work(*args)

    async def calls(self, asked: CallsAsked) -> CallsFound:
        await self.flush()
        if self._vault.seals:
            asked = await asyncio.to_thread(personal.calls_by_alias, asked, self._vault)
        stored, reached = await self._books.calls(asked)
        return CallsFound(await self._opened(stored), reached)

    async def taken(self, behind: int | None, most: int = 1000) -> CallsTaken:
        found = [] if behind is None else await self._books.after(behind, most)
        seq = found[-1][0] if found else await self._books.last() if behind is None else behind
        return CallsTaken(await self._opened([(id, sealed) for _, id, sealed in found]), seq)

    async def times(self, asked: TimesAsked) -> list[TimesLine]:
        await self.flush()
        return await self._books.times(asked)

    async def people(self, asked: PeopleAsked) -> list[PeopleLine]:
        await self.flush()
        return await self._books.people(asked)

    async def opine(self, opinion: Opinion, of: Closed) -> None:
        await self._books.opine(await self._aside(self._rows.said, opinion, of))

    async def opinions(self, call_id: str) -> list[Opinion]:
        return await self._aside(self._rows.opinions, call_id, await self._books.opinions(call_id))

    async def opined(self, asked: UsageAsked) -> list[UsageLine]:
        return await self._named(asked, self._books.opined)

    async def units(self, experiment: str, behind: str = "") -> list[UnitLine]:
        if not behind:
            await self.flush()
        return await self._books.units(experiment, behind)

    async def arrivals(self, experiment: str, parts: int) -> list[Arrival]:
        await self.flush()
        return await self._books.arrivals(experiment, parts)

    async def rename_units(self, units: Sequence[tuple[str, str, str]]) -> None:
        await self.flush()
        await self._books.rename_units(units)

    def backlog(self) -> Backlog:
        return Backlog(self._spool.waiting, self._spool.bytes, self._mover.unreadable)

    async def flush(self) -> None:
        """Return when everything appended so far is in the store. Raises StoreDown when it cannot be now."""
        await self._mover.flush(self._spool)

    async def aclose(self) -> None:
        """Store what waits and give the spool back; what cannot be stored now is when the spool is opened again."""
        await self._mover.aclose()
