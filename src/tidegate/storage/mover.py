"""How do rows come from the spool into the books? By a thread of their own, each exactly once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tidegate.core.errors import ConfigError, StorageFull
from tidegate.core.ports import Acted, Closed, Opened, Record, StoreDown, Totals, Vault
from tidegate.storage.books import Books, Notice, Position, Row
from tidegate.storage.personal import SPOOL, Rows
from tidegate.storage.segments import Frame, scan, set_aside
from tidegate.storage.spool import Entry, Spool
from tidegate.storage.tallies import add, tally

WORTH_WRITING = 200  # rows, or fewer after the patience of the books: the thread shares the interpreter with the loop
BATCH = 500  # rows at most, when many wait
LOOK_S = 0.5  # how often to look for room, when nothing else happens
BACKOFF_S = (0.05, 2.0)
CLIENT_LEFT = 499


class Mover:
    """The thread between a spool and the books. While these do not answer, rows wait in the spool.

    It belongs to the event loop on which it was made: notices come there. The operator is told once that rows wait, and
    once when all is well again.
    """

    def __init__(
        self, books: Books, vault: Vault, notice: Notice, make_spool: Callable[[], Spool], *, audited: bool
    ) -> None:
        self._books = books
        self._vault = vault
        self._rows = Rows(vault)
        self._audited = audited
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
        self._told_full = False
        self._told_behind = False
        self.unreadable = 0  # rows
        self.before = Totals()  # what had come from this spool when it was opened
        self.twice = Totals()  # counted when appended, and then found to be in the books before
        self._ready: Future[Spool] = _running()
        self._done: Future[None] = _running()
        self._thread = threading.Thread(target=self._live, name="tidegate-ledger", daemon=True)

    # --- from the event loop ---

    async def start(self) -> Spool:
        """The spool, once what the last process left in it is in the books. Raises ConfigError."""
        self._thread.start()
        try:
            return await asyncio.wrap_future(self._ready)
        except BaseException:
            await self.aclose()
            raise

    def hurry(self) -> None:
        """There is something to move."""
        self._wake.set()

    async def flush(self, spool: Spool) -> None:
        """Return when everything appended so far is in the store. Raises StoreDown when it cannot be now."""
        stored: Future[None] = _running()
        with self._lock:
            if self._over and spool.released == spool.appended:
                return
            if self._over:
                raise _closed_early()
            self._flushes.append((spool.appended, stored))
        self._wake.set()
        await asyncio.wrap_future(stored)

    async def aclose(self) -> None:
        """Store what waits and give the spool back; what cannot be stored now is when the spool is opened again."""
        self._stopping = True
        self._wake.set()
        await asyncio.wrap_future(self._done)
        self._thread.join()

    def record(self, spooled: bytes) -> Record:
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
        self.before = self._books.account(spool.id)[1]

    def _read(self, path: Path) -> tuple[list[tuple[Frame, Record]], int]:
        """All that can be read of a segment, and how many bytes cannot; what is wrong is told."""
        found = scan(path.read_bytes())
        records: list[tuple[Frame, Record]] = []
        bad_bytes = found.damaged
        for frame in found.frames:
            try:
                records.append((frame, self.record(frame.payload)))
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
        return self._books.take(spool.id, rows, position, said if self._audited else ()), rows

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
                self._wake.wait(self._books.patience_s)
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
                self.twice = add(self.twice, add(counted, new, -1))
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
            record = entry.row or self.record(spooled)
            if isinstance(record, Opened):
                raise ValueError(f"the record of call {record.id!r} where its row should be is its opening")
            return record, spooled
        except ValueError as error:
            entry.segment.keep = True
            self.unreadable += 1
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


def _closed_early() -> StoreDown:
    return StoreDown("the ledger was closed before these rows were stored; they wait in the spool for the next start")


def _running() -> Future[Any]:
    """A future that cannot be cancelled: whoever leaves while waiting for it takes nothing with him."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future
