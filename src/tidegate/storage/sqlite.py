"""What is kept on one machine? Keys, rows and sums in one SQLite file, which several processes may use at once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tidegate.core.analytics import PeopleAsked, PeopleLine, TimesAsked, TimesLine
from tidegate.core.errors import ConfigError
from tidegate.core.experiments import UnitLine
from tidegate.core.money import Usage
from tidegate.core.opinions import OPINION_SUMS
from tidegate.core.ports import (
    Acted,
    Anything,
    Bearer,
    Closed,
    Kept,
    Once,
    StoreDown,
    Totals,
)
from tidegate.core.search import CallsAsked, Place, rulings
from tidegate.core.usage import SUMS, UsageAsked, UsageLine
from tidegate.storage.audit.log import Chains, Log
from tidegate.storage.copies import keep_copy
from tidegate.storage.days import Days, Piece, pieces
from tidegate.storage.facts import FactTables, days_of, facts
from tidegate.storage.ledger import Position, Row, add, tally
from tidegate.storage.listing import listing, reached
from tidegate.storage.once import OnceTable
from tidegate.storage.opinions import OpinionTable, Said
from tidegate.storage.rollups import COLUMNS, COUNT, Part, Rollups, line, query, waiting
from tidegate.storage.rows import AGE, AGES, TABLES, bearer, bearer_query, columns, restored, value, values
from tidegate.storage.tables import Dialect, Tables
from tidegate.storage.trials import TrialTable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_S = 5.0  # how long to wait for another process that writes
LARGEST = 2**63 - 1
OURS = int.from_bytes(b"TGAT", "big")  # the application_id of a file of ours, set by the first migration

_TOTALS_FIELDS = Totals.__struct_fields__


# --- the file -----------------------------------------------------------------------------------------------------


class _Worker:
    """A thread and the connection that is its own."""

    def __init__(self, name: str, path: Path, busy_s: float) -> None:
        self._path = path
        self._busy_s = busy_s
        self._thread = ThreadPoolExecutor(1, name)
        self._connection: sqlite3.Connection | None = None
        self._closing: Future[None] | None = None

    def connect(self, prepare: Work[None]) -> Future[None]:
        return self._thread.submit(self._connect, prepare)

    def _connect(self, prepare: Work[None]) -> None:
        try:
            self._connection = sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None)
            self._patiently(prepare, self._connection)
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    def _patiently(self, prepare: Work[None], connection: sqlite3.Connection) -> None:
        """SQLite itself does not wait when two switch a new file to WAL at once."""
        until = time.monotonic() + self._busy_s
        while True:
            try:
                return prepare(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
            time.sleep(0.005)

    def submit(self, work: Work[T]) -> Future[T]:
        try:
            return self._thread.submit(self._do, work)
        except RuntimeError as error:
            raise StoreDown(f"the database {self._path} was closed") from error

    def _do(self, work: Work[T]) -> T:
        assert self._connection is not None
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise StoreDown(f"the database {self._path} does not answer: {error}") from error

    def close(self, *after: Future[None]) -> Future[None]:
        """When all that was submitted is done, and these."""
        if self._closing is None:
            self._closing = self._thread.submit(self._close, after)
            self._thread.shutdown(wait=False)
        return self._closing

    def _close(self, after: Sequence[Future[None]]) -> None:
        wait(after)
        if self._connection is not None:
            self._connection.close()

    def join(self) -> None:
        self._thread.shutdown()


class Database:
    """One file, one thread that writes and one that reads. Work that was begun is finished, whoever waits for it."""

    def __init__(self, path: Path, busy_s: float) -> None:
        self._writer = _Worker("tidegate-sqlite-write", path, busy_s)
        self._reader = _Worker("tidegate-sqlite-read", path, busy_s)

    @classmethod
    async def open(cls, path: Path, busy_s: float = BUSY_S, steps: str = "sqlite") -> Database:
        """Make the file, or bring it up to date by the `steps` of this name.

        Raises ConfigError when it cannot be used, and says what to do.
        """
        _create(path)
        database = cls(path, busy_s)
        try:
            await asyncio.wrap_future(
                database._writer.connect(partial(_bring_up_to_date, _migrations(steps), steps == "sqlite"))
            )
            await asyncio.wrap_future(database._reader.connect(_read_only))
        except BaseException:
            await database.aclose()
            raise
        return database

    async def read(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._reader.submit(work))

    async def write(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._writer.submit(work))

    async def look(self, work: Work[T]) -> T:
        return await self.read(work)

    async def alter(self, work: Work[T]) -> T:
        """In a transaction."""

        def within(db: sqlite3.Connection) -> T:
            with transaction(db):
                return work(db)

        return await self.write(within)

    def write_now(self, work: Work[T]) -> T:
        """The same for a thread, which may block."""
        return self._writer.submit(work).result()

    async def aclose(self) -> None:
        closing = self._writer.close(
            self._reader.close()
        )  # who is last tidies up, and two at once both think they are not
        await asyncio.wait([asyncio.wrap_future(closing)])  # which, unlike gather, cancels nothing when it is cancelled
        self._reader.join()
        self._writer.join()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# --- opening it ---------------------------------------------------------------------------------------------------


def _create(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(
            f"cannot write the database {path}: {error.strerror or error}; "
            "storage.data_dir must be a folder that Tidegate may write to"
        ) from error


def _read_only(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.execute("SELECT * FROM sqlite_master").fetchall()


def _bring_up_to_date(migrations: Sequence[str], keeps: bool, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    version = _pragma(connection, "user_version")
    # In this order: another process may be making the file right now, and then both come at once.
    if connection.execute("SELECT * FROM sqlite_master").fetchone() and _pragma(connection, "application_id") != OURS:
        raise ConfigError(f"the database {path} belongs to another program: choose another file for Tidegate")
    if version > len(migrations):
        raise ConfigError(
            f"the database {path} was written by a newer Tidegate (schema {version}, here {len(migrations)} is known): "
            "start that version or a later one, or restore the backup from before the upgrade"
        )
    if 0 < version < len(migrations) and keeps:
        keep_copy(Path(path), version)
    while version < len(migrations):
        try:  # all steps or none, so that no other process ever finds it halfway
            steps = "\n".join(migrations[version:])
            connection.executescript(f"BEGIN IMMEDIATE;\n{steps}\nPRAGMA user_version = {len(migrations)};\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if _pragma(connection, "user_version") == version:  # else another process did it just now
                raise
        version = _pragma(connection, "user_version")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _migrations(steps: str) -> list[str]:
    folder = files("tidegate.storage").joinpath("migrations", steps)
    return [file.read_text("utf-8") for file in sorted(folder.iterdir(), key=lambda file: file.name)]


def _unusable(path: Path, error: sqlite3.Error) -> ConfigError:
    advice = _ADVICE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "see whether the disk and the file are in order")
    return ConfigError(f"cannot use the database {path}: {error}; {advice}")


_ADVICE = {
    sqlite3.SQLITE_NOTADB: "this file is not Tidegate's: move it away, or choose another",
    sqlite3.SQLITE_CORRUPT: "restore it from a backup; what can be saved, `sqlite3 FILE .recover` prints",
    sqlite3.SQLITE_READONLY: "Tidegate must be allowed to write to the file and to its folder",
    sqlite3.SQLITE_CANTOPEN: "Tidegate must be allowed to write to the file and to its folder",
    sqlite3.SQLITE_BUSY: "another process keeps it locked: wait for that one, or stop it",
    sqlite3.SQLITE_FULL: "free some space on the disk",
}


# --- the control plane --------------------------------------------------------------------------------------------


_BEARER = bearer_query("?")
_ONCE = OnceTable("once", "?")
_DIALECT = Dialect("", "?")
_CHAINS = Chains(_DIALECT)


class SqliteStore:
    """A Store. `books` is the database half of a ledger in the same file; close the ledger before the store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.books = SqliteBooks(database)
        self.tables = Tables(database, _DIALECT)
        self.log = Log(self.tables, _CHAINS)

    @classmethod
    async def open(cls, path: Path, busy_s: float = BUSY_S) -> SqliteStore:
        """Raises ConfigError when the file cannot be used."""
        return cls(await Database.open(path, busy_s))

    async def bearer(self, key_id: str) -> Bearer | None:
        row = await self._database.read(lambda db: db.execute(_BEARER, (key_id,)).fetchone())
        return bearer(row) if row else None

    async def find(self, kind: type[Kept], id: str) -> Kept | None:
        return await self._database.read(lambda db: _find(db, kind, id))

    async def every(self, kind: type[Kept]) -> list[Kept]:
        sql = f"SELECT {columns(kind)} FROM {TABLES[kind]} ORDER BY {AGES.get(kind, AGE)}, rowid"
        return [restored(kind, row) for row in await self._database.read(lambda db: db.execute(sql).fetchall())]

    async def add(self, one: Anything) -> None:
        kind = type(one)
        sql = f"INSERT INTO {TABLES[kind]} ({columns(kind)}) VALUES ({_marks(len(kind.__struct_fields__))})"

        def insert(db: sqlite3.Connection) -> None:
            try:
                db.execute(sql, values(one))
            except sqlite3.IntegrityError as error:
                raise ValueError(f"there is a {kind.__name__.lower()} {one.id!r} already") from error

        await self._database.write(insert)

    async def change(self, one: Kept, **fields: Any) -> Kept | None:
        kind = type(one)
        new: list[Any] = [value(field) for field in fields.values()]
        old: list[Any] = [value(getattr(one, name)) for name in fields]
        where = "".join(f" AND {name} IS ?" for name in fields)
        sql = f"UPDATE {TABLES[kind]} SET {', '.join(f'{name} = ?' for name in fields)} WHERE id = ?{where}"

        def update(db: sqlite3.Connection) -> Kept | None:
            with transaction(db):
                return _find(db, kind, one.id) if db.execute(sql, (*new, one.id, *old)).rowcount else None

        return await self._database.write(update)

    async def note_used(self, at_ms: Mapping[str, int]) -> None:
        sql = "UPDATE keys SET last_used_ms = ? WHERE id = ? AND coalesce(last_used_ms, 0) < ?"

        def update(db: sqlite3.Connection) -> None:
            with transaction(db):
                db.executemany(sql, [(at, id, at) for id, at in at_ms.items()])

        await self._database.write(update)

    async def begin_once(self, once: Once, now_ms: int) -> Once | None:
        return await self._database.write(lambda db: _ONCE.begin(db, once, now_ms))

    async def end_once(self, once: Once) -> None:
        await self._database.write(lambda db: _ONCE.end(db, once))

    async def forget_begun(self) -> int:
        return await self._database.write(_ONCE.forget)

    async def aclose(self) -> None:
        await self._database.aclose()


def _find(db: sqlite3.Connection, kind: type[Kept], id: str) -> Kept | None:
    row = db.execute(f"SELECT {columns(kind)} FROM {TABLES[kind]} WHERE id = ?", (id,)).fetchone()
    return restored(kind, row) if row else None


def _marks(count: int) -> str:
    return ", ".join("?" * count)


# --- the ledger's half --------------------------------------------------------------------------------------------


_CALL_FIELDS = (
    "id, at_ms, key_id, dialect, operation, route, target, outcome, status, error, cost_nusd, input_tokens, "
    "output_tokens, duration_us, user, session, organisation_id, team_id, kind, cache, guards, trace_id, row"
)
_INSERT_CALL = f"INSERT OR IGNORE INTO calls ({_CALL_FIELDS}) VALUES ({_marks(_CALL_FIELDS.count(',') + 1)})"
_KNOWN = "SELECT id FROM calls WHERE id IN (SELECT value FROM json_each(?))"
_ACCOUNT = f"SELECT segment, byte, {', '.join(_TOTALS_FIELDS)} FROM spools WHERE id = ?"
_NOTE = (
    f"REPLACE INTO spools (id, segment, byte, {', '.join(_TOTALS_FIELDS)}) VALUES ({_marks(3 + len(_TOTALS_FIELDS))})"
)


_PIECES = ", ".join(
    f"json_extract(value, '$[{at}]') AS {name}" for at, name in enumerate(("of_ms", "begin_ms", "until_ms"))
)
_ROLL_UP = (
    f"INSERT INTO usage_hours ({COLUMNS}) VALUES ({_marks(COUNT)}) ON CONFLICT (hour, digest) DO UPDATE SET "
    + ", ".join(f"{name} = min({name} + excluded.{name}, {LARGEST})" for name in SUMS)
)
HANDFULS = (64, 16, 4, 1)  # rows to a statement: few sizes, for each is a statement of its own


def _in_handfuls(db: sqlite3.Connection, sql: str, rows: Sequence[Sequence[object]]) -> None:
    """What `executemany` does, in few steps of `sql`, an INSERT of the values of one row.

    Each step gives the interpreter away and has to get it back, from a loop that is busy.
    """
    before, values, behind = sql.partition(" VALUES ")
    one, end, after = behind.partition(")")
    at = 0
    for size in HANDFULS:
        many = before + values + ", ".join([one + end] * size) + after
        while len(rows) - at >= size:
            db.execute(many, [*chain.from_iterable(rows[at : at + size])])
            at += size


_FACTS = FactTables("", "?", many=_in_handfuls)
_TRIALS = TrialTable("", "?", many=_in_handfuls)
_DAYS = Days("", "?", counts="json_group_object(CAST(bucket AS TEXT), calls)")
_OPINIONS = OpinionTable("opinions", "?")
_FORGET = "DELETE FROM calls WHERE seq IN (SELECT seq FROM calls WHERE at_ms < ? ORDER BY at_ms LIMIT ?)"


class SqliteBooks:
    """Rows and sums, for a SpoolLedger."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rollups = Rollups()

    def account(self, spool: str) -> tuple[Position, Totals]:
        return self._database.write_now(lambda db: _account(db, spool))

    def take(self, spool: str, rows: Sequence[Row], position: Position, said: Sequence[Closed | Acted] = ()) -> Totals:
        return self._database.write_now(lambda db: _take(db, spool, rows, position, said, self._rollups))

    async def totals(self, besides: str) -> Totals:
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in _TOTALS_FIELDS)
        sql = f"SELECT {sums} FROM spools WHERE id <> ?"
        return Totals(*await self._database.read(lambda db: db.execute(sql, (besides,)).fetchone()))

    async def find(self, call_id: str) -> bytes | None:
        sql = "SELECT row FROM calls WHERE id = ?"
        found = await self._database.read(lambda db: db.execute(sql, (call_id,)).fetchone())
        return found[0] if found else None

    async def after(self, seq: int, most: int, user: str | None = None) -> list[tuple[int, str, bytes]]:
        whose, values = ("", (seq, most)) if user is None else ("user = ? AND", (user, seq, most))
        sql = f"SELECT seq, id, row FROM calls WHERE {whose} seq > ? ORDER BY seq LIMIT ?"
        return await self._database.read(lambda db: db.execute(sql, values).fetchall())

    async def times(self, asked: TimesAsked) -> list[TimesLine]:
        return await self._database.read(lambda db: _FACTS.times(db, asked, _DAYS))

    async def people(self, asked: PeopleAsked) -> list[PeopleLine]:
        return await self._database.read(lambda db: _FACTS.people(db, asked, _DAYS))

    async def opine(self, said: Said) -> None:
        await self._database.write(lambda db: _OPINIONS.put(db, said))

    async def opinions(self, call_id: str) -> list[bytes]:
        return await self._database.read(lambda db: _OPINIONS.of(db, call_id))

    async def opined(self, asked: UsageAsked) -> list[UsageLine]:
        part = _part("opinions", "hour", pieces(waiting(asked), set()).hours)
        sql, values = query(asked, [part], mark="?", of=OPINION_SUMS)
        found = await self._database.read(lambda db: db.execute(sql, values).fetchall())
        return [line(asked, row, OPINION_SUMS) for row in found]

    async def units(self, experiment: str) -> list[UnitLine]:
        return await self._database.read(lambda db: _TRIALS.units(db, experiment))

    async def rename_units(self, units: Sequence[tuple[str, str, str]]) -> None:
        await self._database.alter(lambda db: _TRIALS.rename(db, units))

    async def forget_trials(self, before_ms: int, most: int) -> int:
        return await self._database.write(lambda db: _TRIALS.forget(db, before_ms, most))

    async def last(self) -> int:
        sql = "SELECT coalesce(max(seq), 0) FROM calls"
        number: int = await self._database.read(lambda db: db.execute(sql).fetchone()[0])
        return number

    async def usage(self, asked: UsageAsked) -> list[UsageLine]:
        found = await self._database.read(lambda db: _usage(db, asked))
        return [line(asked, row) for row in found]

    async def fold(self, before_ms: int) -> bool:
        return await self._database.alter(lambda db: _DAYS.fold(db, before_ms))

    async def calls(self, asked: CallsAsked) -> tuple[list[tuple[str, bytes]], Place | None]:
        return await self._database.read(lambda db: _calls(db, asked))

    async def forget(self, before_ms: int, most: int) -> int:
        return await self._database.write(lambda db: db.execute(_FORGET, (before_ms, most)).rowcount)


def _usage(db: sqlite3.Connection, asked: UsageAsked) -> list[Any]:
    return db.execute(*query(asked, _DAYS.usage(db, asked, _part), mark="?")).fetchall()


def _part(table: str, column: str, some: list[Piece]) -> Part:
    return Part(table, column, f"SELECT {_PIECES} FROM json_each(?)", [msgspec.json.encode(some).decode()])


def _calls(db: sqlite3.Connection, asked: CallsAsked) -> tuple[list[tuple[str, bytes]], Place | None]:
    question = listing(asked, table="calls", mark="?", within="instr")
    some = db.execute(question.some, question.values).fetchall()
    last = None if len(some) == asked.most else db.execute(question.last, question.looked).fetchone()
    rows = [db.execute("SELECT id, row FROM calls WHERE seq = ?", (seq,)).fetchone() for _, seq in some]
    return [row for row in rows if row is not None], reached(asked, some, last)


def _account(db: sqlite3.Connection, spool: str) -> tuple[Position, Totals]:
    found = db.execute(_ACCOUNT, (spool,)).fetchone() or (0,) * (2 + len(_TOTALS_FIELDS))
    return Position(*found[:2]), Totals(*found[2:])


def _take(
    db: sqlite3.Connection,
    spool: str,
    rows: Sequence[Row],
    position: Position,
    said: Sequence[Closed | Acted],
    rollups: Rollups,
) -> Totals:
    with transaction(db):
        ids = msgspec.json.encode([row.closed.id for row in rows]).decode()
        known = {id for (id,) in db.execute(_KNOWN, (ids,))}
        new = {row.closed.id: row for row in reversed(rows) if row.closed.id not in known}  # of two alike, the first
        _DAYS.unfold(db, days_of(row.closed for row in new.values()))
        _in_handfuls(db, _INSERT_CALL, [_values(row) for row in reversed(new.values())])
        _in_handfuls(db, _ROLL_UP, [one.values for one in rollups.of(row.closed for row in new.values())])
        _FACTS.add(db, facts((row.closed for row in new.values()), rollups), _DAYS)
        _TRIALS.add(db, (row.closed for row in new.values()))
        taken = tally(*(row.closed for row in new.values()))
        _, before = _account(db, spool)
        sums = (_bounded(value) for value in msgspec.structs.astuple(add(before, taken)))
        db.execute(_NOTE, (spool, *position, *sums))
        if said:
            _CHAINS.append(db, spool, [one for one in said if isinstance(one, Acted) or one.id in new])
    return taken


def _values(row: Row) -> tuple[object, ...]:
    closed = row.closed
    heard, said = _tokens(closed.usage)
    return (
        closed.id,
        closed.at_ms,
        closed.key_id,
        closed.dialect,
        closed.operation,
        closed.route,
        closed.target,
        closed.outcome,
        closed.status,
        closed.error,
        None if closed.cost_nusd is None else _bounded(closed.cost_nusd),
        heard,
        said,
        closed.duration_us,
        closed.user,
        closed.session,
        closed.organisation_id,
        closed.team_id,
        closed.kind,
        closed.cache,
        rulings(closed) if closed.guards else None,
        closed.trace_id,
        row.sealed,
    )


def _bounded(number: int) -> int:
    """As much of `number` as a column holds: a provider may report any usage, and a row must never be refused."""
    return number if -LARGEST <= number <= LARGEST else max(-LARGEST, min(number, LARGEST))


def _tokens(used: Mapping[str, int]) -> tuple[int, int]:
    """Of input and of output, as much of them as a column holds."""
    heard, said = used.get("input", 0), used.get("output", 0)
    if len(used) > 2 or "input" not in used or "output" not in used:  # almost all have these two alone
        usage = msgspec.convert(used, Usage)
        heard, said = usage.input_total, usage.output_total
    return _bounded(heard), _bounded(said)
