"""What did every call cost? Spooled at once, in a database a moment later, in both exactly once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from tidegate.core.analytics import PeopleAsked, PeopleLine, TimesAsked, TimesLine
from tidegate.core.errors import ConfigError, StorageFull
from tidegate.core.experiments import UnitLine
from tidegate.core.opinions import Opinion
from tidegate.core.ports import (
    Acted,
    Backlog,
    CallsFound,
    CallsTaken,
    Closed,
    Opened,
    Record,
    Store,
    StoreDown,
    Totals,
    Vault,
)
from tidegate.core.search import CallsAsked, Place
from tidegate.core.usage import UsageAsked, UsageLine
from tidegate.storage import personal
from tidegate.storage.audit.log import Log
from tidegate.storage.opinions import Said
from tidegate.storage.personal import SPOOL, Rows
from tidegate.storage.spool import (
    MAX_BYTES,
    RESERVE_BYTES,
    SEGMENT_BYTES,
    Entry,
    Frame,
    Spool,
    preallocate,
    scan,
    set_aside,
)
from tidegate.storage.tables import Tables

T = TypeVar("T")
Notice = Callable[[str, Mapping[str, Any]], None]

WORTH_WRITING = 200  # rows, or
PATIENCE_S = 0.05  # this long after the first: batches are small, as their thread shares the interpreter with the loop
AT_ONCE = 100  # rows: a hundred summed together take half of what each by itself does
BATCH = 500  # rows at most, when many wait
LOOK_S = 0.5  # how often to look for room, when nothing else happens
BACKOFF_S = (0.05, 2.0)
PAGE = 100
CLIENT_LEFT = 499


# --- what a database owes the ledger -------------------------------------------------------------------------------


class Position(NamedTuple):
    """How far a spool has been read: behind this byte of this segment."""

    segment: int
    byte: int


class Row(NamedTuple):
    closed: Closed  # with aliases for names, where the vault seals
    sealed: bytes  # the same, as it is stored


class Books(Protocol):
    """The half of the ledger that is a database. Raises StoreDown.

    `account` and `take` are called from a thread and may block; the others are called from the event loop.
    """

    def account(self, spool: str) -> tuple[Position, Totals]:
        """How far this spool has been read, and what came from it sums to; from its beginning if it is new."""

    def take(self, spool: str, rows: Sequence[Row], position: Position, said: Sequence[Closed | Acted] = ()) -> Totals:
        """Store those whose id is new, the sums and the position, all or nothing. Returns what the new ones sum to.

        `said`: these and what administrators did, for the audit log; what is new of it is chained there.
        """

    async def totals(self, besides: str) -> Totals:
        """The sums over all spools but this one."""

    async def find(self, call_id: str) -> bytes | None:
        """The row as it was sealed."""

    async def after(self, seq: int, most: int, user: str | None = None) -> list[tuple[int, str, bytes]]:
        """The next rows, or an end user's, in the order in which they were taken, each with its number and id."""

    async def times(self, asked: TimesAsked) -> list[TimesLine]: ...

    async def people(self, asked: PeopleAsked) -> list[PeopleLine]: ...

    async def opine(self, said: Said) -> None: ...

    async def opinions(self, call_id: str) -> list[bytes]:
        """As they were sealed, oldest first."""

    async def opined(self, asked: UsageAsked) -> list[UsageLine]: ...

    async def units(self, experiment: str) -> list[UnitLine]: ...

    async def rename_units(self, units: Sequence[tuple[str, str, str]]) -> None: ...

    async def last(self) -> int:
        """The number of the row that was taken last; 0 when there is none."""

    async def usage(self, asked: UsageAsked) -> list[UsageLine]:
        """Answered from sums that `take` brings up to date in its transaction."""

    async def calls(self, asked: CallsAsked) -> tuple[list[tuple[str, bytes]], Place | None]:
        """The rows of a page as they were sealed, and behind which the next one begins."""

    async def forget_trials(self, before_ms: int, most: int) -> int:
        """Delete what calls that began before then were to experiments that are archived: some of them."""

    async def fold(self, before_ms: int) -> bool:
        """Add up one whole day that ended before then and is not yet; False: there is none left."""

    async def forget(self, before_ms: int, most: int) -> int:
        """Delete rows of calls that began before then, and no sums: some of them, 0 when there is nothing left to do.

        Meant to be called again and again, so that no step is long.
        """


class Home(Store, Protocol):
    """A store that keeps the books too, in the same database. Close the ledger before it."""

    @property
    def books(self) -> Books: ...

    @property
    def log(self) -> Log:
        """The audit log."""

    @property
    def tables(self) -> Tables: ...


class Tally:
    """A sum that grows by one row at a time."""

    __slots__ = ("_calls", "_cost_nusd", "_errors", "_tokens", "_unpriced")

    def __init__(self, so_far: Totals) -> None:
        self._calls = so_far.calls
        self._errors = so_far.errors
        self._cost_nusd = so_far.cost_nusd
        self._unpriced = so_far.unpriced
        self._tokens = so_far.tokens

    def count(self, row: Closed) -> None:
        self._calls += 1
        self._errors += row.outcome not in ("ok", "client_left")
        self._cost_nusd += row.cost_nusd or 0
        self._unpriced += row.cost_nusd is None
        self._tokens += sum(row.usage.values())

    def totals(self) -> Totals:
        return Totals(self._calls, self._errors, self._cost_nusd, self._unpriced, self._tokens)


def tally(*rows: Closed) -> Totals:
    """These rows, as a sum."""
    found = Tally(Totals())
    for row in rows:
        found.count(row)
    return found.totals()


def add(a: Totals, b: Totals, sign: int = 1) -> Totals:
    return Totals(
        a.calls + sign * b.calls,
        a.errors + sign * b.errors,
        a.cost_nusd + sign * b.cost_nusd,
        a.unpriced + sign * b.unpriced,
        a.tokens + sign * b.tokens,
    )


def interrupted(opened: Opened) -> Closed:
    """The row of a call whose process died before it ended.

    What the client saw, how long it took, which tokens were used and what they cost is not known, and the row says so:
    status 499, duration 0, cost None. What had been reserved for it bounds its cost.
    """
    return Closed(
        id=opened.id,
        at_ms=opened.at_ms,
        key_id=opened.key_id,
        dialect=opened.dialect,
        operation=opened.operation,
        outcome="interrupted",
        status=CLIENT_LEFT,
        duration_us=0,
        overhead_us=0,
        route=opened.route,
        model=opened.model,
        stream=opened.stream,
        cost_nusd=None,
        at_most_nusd=opened.reserved_nusd or None,
        user=opened.user,
        session=opened.session,
        tags=opened.tags,
        kind=opened.kind,
        organisation_id=opened.organisation_id,
        team_id=opened.team_id,
        user_id=opened.user_id,
        arms=opened.arms,
    )


# --- the ledger -----------------------------------------------------------------------------------------------------


class SpoolLedger:
    """A Ledger: records go to a spool, and a thread of its own takes rows from there to the books.

    `append` belongs to the event loop on which the ledger was opened; notices come there too. While the books do not
    answer, rows wait in the spool; the operator is told once, and once when all is well again.
    """

    _spool: Spool  # from `open` on

    def __init__(
        self, books: Books, vault: Vault, notice: Notice, make_spool: Callable[[], Spool], *, audited: bool = False
    ) -> None:
        self._books = books
        self._vault = vault
        self._rows = Rows(vault)
        self.audited = audited
        self._notice = notice
        self._make_spool = make_spool
        self._loop = asyncio.get_running_loop()
        self._encode = msgspec.json.Encoder().encode
        self._decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
        self._wake = threading.Event()
        self._stopping = False
        self._lock = threading.Lock()  # of the two below
        self._flushes: list[tuple[int, Future[None]]] = []  # done when so many rows are stored
        self._over = False
        self._unreadable = 0  # rows; written by our thread
        self._told_full = False
        self._told_behind = False
        # Each written by one thread only: `_mine` by the loop, `_twice` by ours.
        self._mine = Tally(Totals())
        self._uncounted: list[Closed] = []
        self._twice = Totals()  # counted when appended, and then found to be in the books before
        self._ready: Future[Spool] = _running()
        self._done: Future[None] = _running()
        self._thread = threading.Thread(target=self._live, name="tidegate-ledger", daemon=True)

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

        ledger = cls(books, vault, notice, make_spool, audited=audited)
        ledger._thread.start()
        try:
            ledger._spool = await asyncio.wrap_future(ledger._ready)
        except BaseException:
            await ledger.aclose()
            raise
        return ledger

    # --- from the event loop ---

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
                self._wake.set()
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
            self._wake.set()

    async def find(self, call_id: str) -> Closed | None:
        waiting = self._spool.find(call_id)
        if waiting is not None:
            found = self._record(waiting)
            return found if isinstance(found, Closed) else None
        stored = await self._books.find(call_id)
        return (await self._opened([(call_id, stored)]))[0] if stored else None

    async def totals(self) -> Totals:
        others = await self._books.totals(besides=self._spool.id)
        return add(add(others, self._count()), self._twice, -1)

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

    async def units(self, experiment: str) -> list[UnitLine]:
        await self.flush()
        return await self._books.units(experiment)

    async def rename_units(self, units: Sequence[tuple[str, str, str]]) -> None:
        await self.flush()
        await self._books.rename_units(units)

    def backlog(self) -> Backlog:
        return Backlog(self._spool.waiting, self._spool.bytes, self._unreadable)

    async def flush(self) -> None:
        """Return when everything appended so far is in the store. Raises StoreDown when it cannot be now."""
        stored: Future[None] = _running()
        with self._lock:
            if self._over and self._spool.released == self._spool.appended:
                return
            if self._over:
                raise _closed_early()
            self._flushes.append((self._spool.appended, stored))
        self._wake.set()
        await asyncio.wrap_future(stored)

    async def aclose(self) -> None:
        """Store what waits and give the spool back; what cannot be stored now is when the spool is opened again."""
        self._stopping = True
        self._wake.set()
        await asyncio.wrap_future(self._done)
        self._thread.join()

    def _record(self, spooled: bytes) -> Record:
        return self._decoder.decode(self._vault.unseal(spooled, SPOOL))

    # --- from our own thread ---

    def _live(self) -> None:
        try:
            spool = self._make_spool()
            try:
                self._recover(spool)
                self._ready.set_result(spool)
                self._move_rows(spool)
            finally:
                spool.close()
        except OSError as error:
            self._fail(ConfigError(f"the spool cannot be used: {error}; storage.data_dir must be a folder to write to"))
        except (StorageFull, StoreDown) as error:
            self._fail(ConfigError(f"{error} (what is in the spool stays there)"))
        except BaseException as error:  # noqa: BLE001 whoever waits for this thread must hear of anything
            self._fail(error)
        finally:
            with self._lock:
                self._over = True
            self._answer_flushes(2**63, _closed_early())
            self._done.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if self._ready.done():
            self._tell("ledger_stopped", error=str(error), what_to_do="restart; what is in the spool is stored then")
        else:
            self._ready.set_exception(error)

    def _recover(self, spool: Spool) -> None:
        """Store what the last process did not live to store, and end the calls that it did not live to end."""
        position, _ = self._books.account(spool.id)
        opened: dict[str, Opened] = {}
        damaged: list[Path] = []
        for path in spool.leftovers:
            records, bad_bytes = self._read(path)
            ended: list[tuple[Closed | Acted, bytes]] = []
            for frame, record in records:
                if isinstance(record, Opened):
                    opened[record.id] = record
                    continue
                opened.pop(record.id, None)
                if int(path.stem) != position.segment or frame.start >= position.byte:
                    ended.append((record, frame.payload))
            self._take_all(spool, ended, position)
            if bad_bytes:
                damaged.append(path)
        orphans = [interrupted(record) for record in opened.values()]
        lost = self._take_all(spool, [(row, self._vault.seal(self._encode(row), SPOOL)) for row in orphans], position)
        if lost:
            self._tell("calls_interrupted", calls=lost)
        for path in spool.leftovers:
            set_aside(path) if path in damaged else path.unlink()
        spool.begin(after=position.segment)
        spool.prepare()
        self._mine = Tally(self._books.account(spool.id)[1])

    def _read(self, path: Path) -> tuple[list[tuple[Frame, Record]], int]:
        """All that can be read of a segment, and how many bytes cannot; what is wrong is told."""
        found = scan(path.read_bytes())
        records: list[tuple[Frame, Record]] = []
        bad_bytes = found.damaged
        for frame in found.frames:
            try:
                records.append((frame, self._record(frame.payload)))
            except ValueError:
                bad_bytes += len(frame.payload)
        if found.torn:
            self._tell("spool_repaired", segment=str(path), torn_bytes=found.torn)
        if bad_bytes:
            self._tell(
                "spool_damaged",
                segment=str(path.with_suffix(".corrupt")),
                damaged_bytes=bad_bytes,
                what_to_do="every record that could be read is stored and the file kept: delete it, or name it .seg "
                "to have it read again at the next start (when the vault had the wrong key, say)",
            )
        return records, bad_bytes

    def _take_all(self, spool: Spool, ended: Sequence[tuple[Closed | Acted, bytes]], position: Position) -> int:
        """How many calls of them were new."""
        batches = (ended[begin : begin + BATCH] for begin in range(0, len(ended), BATCH))
        return sum(self._take(spool, batch, position)[0].calls for batch in batches)

    def _take(
        self, spool: Spool, ended: Sequence[tuple[Closed | Acted, bytes]], position: Position
    ) -> tuple[Totals, list[Row]]:
        """Store what has ended, each with the bytes that were spooled."""
        said: list[Closed | Acted] = []
        rows: list[Row] = []
        if self._vault.seals:
            self._rows.expect(one for one, _ in ended if isinstance(one, Closed))
        for one, spooled in ended:
            if isinstance(one, Closed):
                row = self._stored(one, spooled)
                rows.append(row)
                said.append(row.closed)
            else:
                said.append(self._rows.veiled(one))
        return self._books.take(spool.id, rows, position, said if self.audited else ()), rows

    def _stored(self, closed: Closed, spooled: bytes) -> Row:
        if not self._vault.seals:
            return Row(closed, spooled)
        masked = self._rows.masked(closed)
        # What a unit is called is sealed with the row; experiments are told of it all the same.
        return Row(msgspec.structs.replace(masked, arms=closed.arms), self._rows.sealed(masked))

    def _move_rows(self, spool: Spool) -> None:
        wait_s = 0.0
        while True:
            self._wait(spool, wait_s)
            self._tell_room(spool)
            try:
                self._move_waiting(spool)
            except Exception as error:  # noqa: BLE001 whatever it is, the rows are safe and this thread must go on
                self._answer_flushes(2**63, StoreDown(str(error)))
                if not self._told_behind:
                    self._told_behind = True
                    self._tell("store_behind", error=str(error), what_to_do="rows wait in the spool until it is back")
                if self._stopping:
                    return
                wait_s = min(max(2 * wait_s, BACKOFF_S[0]), BACKOFF_S[1])
                continue
            wait_s = 0.0
            if self._told_behind:
                self._told_behind = False
                self._tell("store_caught_up")
            if self._stopping and not spool.waiting:
                return

    def _wait(self, spool: Spool, backoff_s: float) -> None:
        if backoff_s:
            self._wake.wait(backoff_s)
        elif spool.waiting < WORTH_WRITING and not self._hurried:
            if not spool.waiting:
                self._wake.wait(LOOK_S)
                self._wake.clear()
            if 0 < spool.waiting < WORTH_WRITING and not self._hurried:
                self._wake.wait(PATIENCE_S)
        self._wake.clear()

    @property
    def _hurried(self) -> bool:
        return self._stopping or bool(self._flushes)

    def _move_waiting(self, spool: Spool) -> None:
        while entries := spool.oldest(BATCH):
            ended = [one for entry in entries if (one := self._ended(entry))]
            new, rows = self._take(spool, ended, Position(entries[-1].segment.number, entries[-1].end))
            if new.calls != len(rows):
                counted = tally(*(row.closed for row in rows))
                self._twice = add(self._twice, add(counted, new, -1))
            spool.release(entries)
            spool.trim()
            self._tell_room(spool)
            self._answer_flushes(spool.released, None)
            if spool.waiting < WORTH_WRITING and not self._hurried:
                return
        self._answer_flushes(spool.released, None)

    def _ended(self, entry: Entry) -> tuple[Closed | Acted, bytes] | None:
        spooled = entry.segment.payload(entry.start, entry.end)
        try:
            record = entry.row or self._record(spooled)
            if isinstance(record, Opened):
                raise ValueError(f"the record of call {record.id!r} where its row should be is its opening")
            return record, spooled
        except ValueError as error:
            entry.segment.keep = True
            self._unreadable += 1
            self._tell("row_unreadable", request_id=entry.call_id, segment=str(entry.segment.path), error=str(error))
            return None

    def _tell_room(self, spool: Spool) -> None:
        spool.prepare()
        if spool.trouble and not self._told_full:
            self._tell("spool_full", error=spool.trouble, what_to_do="calls are refused once the room left is used")
        elif not spool.trouble and self._told_full:
            self._tell("spool_has_room")
        self._told_full = spool.trouble is not None

    def _answer_flushes(self, stored: int, error: Exception | None) -> None:
        with self._lock:
            answered = [future for rows, future in self._flushes if rows <= stored]
            self._flushes = [(rows, future) for rows, future in self._flushes if rows > stored]
        for future in answered:
            future.set_exception(error) if error else future.set_result(None)

    def _tell(self, name: str, **fields: Any) -> None:
        with suppress(RuntimeError):  # the loop is gone, and with it whoever listened
            self._loop.call_soon_threadsafe(self._notice, name, fields)


def _closed_early() -> StoreDown:
    return StoreDown("the ledger was closed before these rows were stored; they wait in the spool for the next start")


def _running() -> Future[Any]:
    """A future that cannot be cancelled: whoever leaves while waiting for it takes nothing with him."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future
