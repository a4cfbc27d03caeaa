"""What did calls cost, on one machine? The ledger's half that is an SQLite file: rows and their sums."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec

from tidegate.core.analytics import PeopleAsked, PeopleLine, TimesAsked, TimesLine
from tidegate.core.experiments import UnitLine
from tidegate.core.opinions import OPINION_SUMS
from tidegate.core.ports import Acted, Closed, Totals
from tidegate.core.search import CallsAsked, Place, rulings
from tidegate.core.tally import Arrival
from tidegate.core.usage import SUMS, UsageAsked, UsageLine
from tidegate.storage.audit.log import Chains
from tidegate.storage.books import Position, Row
from tidegate.storage.days import Days, Piece, pieces
from tidegate.storage.facts import FactTables, days_of, facts
from tidegate.storage.listing import listing, reached
from tidegate.storage.opinions import OpinionTable, Said
from tidegate.storage.rollups import COLUMNS, COUNT, Part, Rollups, line, query, waiting
from tidegate.storage.sqlite.file import Database, transaction
from tidegate.storage.tables import Dialect
from tidegate.storage.tallies import add, tally, tokens
from tidegate.storage.trials import TrialTable

LARGEST = 2**63 - 1

_TOTALS_FIELDS = Totals.__struct_fields__
_DIALECT = Dialect("", "?")
CHAINS = Chains(_DIALECT)


def marks(count: int) -> str:
    return ", ".join("?" * count)


_CALL_FIELDS = (
    "id, at_ms, key_id, dialect, operation, route, target, outcome, status, error, cost_nusd, input_tokens, "
    "output_tokens, duration_us, user, session, organisation_id, team_id, kind, cache, guards, trace_id, row"
)
_INSERT_CALL = f"INSERT OR IGNORE INTO calls ({_CALL_FIELDS}) VALUES ({marks(_CALL_FIELDS.count(',') + 1)})"
_KNOWN = "SELECT id FROM calls WHERE id IN (SELECT value FROM json_each(?))"
_ACCOUNT = f"SELECT segment, byte, {', '.join(_TOTALS_FIELDS)} FROM spools WHERE id = ?"
_NOTE = (
    f"REPLACE INTO spools (id, segment, byte, {', '.join(_TOTALS_FIELDS)}) VALUES ({marks(3 + len(_TOTALS_FIELDS))})"
)


_PIECES = ", ".join(
    f"json_extract(value, '$[{at}]') AS {name}" for at, name in enumerate(("of_ms", "begin_ms", "until_ms"))
)
_ROLL_UP = (
    f"INSERT INTO usage_hours ({COLUMNS}) VALUES ({marks(COUNT)}) ON CONFLICT (hour, digest) DO UPDATE SET "
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

    patience_s = 0.05

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

    async def units(self, experiment: str, behind: str = "") -> list[UnitLine]:
        return await self._database.read(lambda db: _TRIALS.units(db, experiment, behind))

    async def arrivals(self, experiment: str, parts: int) -> list[Arrival]:
        return await self._database.read(lambda db: _TRIALS.arrivals(db, experiment, parts))

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
            CHAINS.append(db, spool, [one for one in said if isinstance(one, Acted) or one.id in new])
    return taken


def _values(row: Row) -> tuple[object, ...]:
    closed = row.closed
    heard, said = tokens(closed.usage)
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
        _bounded(heard),
        _bounded(said),
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
