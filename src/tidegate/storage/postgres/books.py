"""What did calls cost, in PostgreSQL? Rows in a partition for each day, sums by the hour, each exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
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
from tidegate.storage.postgres.arrays import columns, together, unnest
from tidegate.storage.postgres.lanes import Connection, Lanes
from tidegate.storage.postgres.schema import LOCK
from tidegate.storage.rollups import COLUMNS, LAST_MS, Part, Rollups, clean, line, query, waiting
from tidegate.storage.tables import Dialect
from tidegate.storage.tallies import add, tally, tokens
from tidegate.storage.trials import TrialTable

DAY_MS = 86_400_000
LARGEST = 2**63 - 1
USAGE_S = 30.0  # a question about usage may take longer than one about a key
DIALECT = Dialect("tidegate.", "%s", as_bytes=True)
CHAINS = Chains(DIALECT, many=together)
LOCK_S = 2  # whoever deletes a partition waits so long for those who read it, and tries again later

_CALLS = {  # a column, and its type
    **{"id": "text", "at_ms": "bigint", "key_id": "text", "organisation_id": "text", "team_id": "text"},
    **{"dialect": "text", "operation": "text", "route": "text", "target": "text", "outcome": "text"},
    **{"status": "integer", "error": "text", "cost_nusd": "bigint", "input_tokens": "bigint"},
    **{"output_tokens": "bigint", "duration_us": "bigint", '"user"': "text", "session": "text", "kind": "text"},
    **{"cache": "text", "guards": "text", "trace_id": "text", '"row"': "bytea"},
}


_CALL_TYPES = [*_CALLS.values()]
_INSERT = (
    f"INSERT INTO tidegate.calls ({', '.join(_CALLS)}) SELECT {', '.join(_CALLS)} "
    f"FROM {unnest(_CALL_TYPES)} WITH ORDINALITY AS one ({', '.join(_CALLS)}, place) ORDER BY place "
    "ON CONFLICT DO NOTHING RETURNING id"
)
_ROLLUP_TYPES = ["bigint", "bytea", *["text"] * (COLUMNS.count(",") - 1 - len(SUMS)), *["bigint"] * len(SUMS)]
_ROLL_UP = (
    f"INSERT INTO tidegate.usage_hours AS u ({COLUMNS}) SELECT * FROM {unnest(_ROLLUP_TYPES)} "
    "ON CONFLICT (hour, digest) DO UPDATE SET "
    + ", ".join(f"{name} = least(u.{name}::numeric + excluded.{name}, {LARGEST})::bigint" for name in SUMS)
)
_TOTALS = Totals.__struct_fields__
_ACCOUNT = f"SELECT segment, byte, {', '.join(_TOTALS)} FROM tidegate.spools WHERE id = %s"
_NOTE = (
    f"INSERT INTO tidegate.spools AS s (id, segment, byte, {', '.join(_TOTALS)}) "
    f"VALUES ({', '.join(['%s'] * (3 + len(_TOTALS)))}) ON CONFLICT (id) DO UPDATE SET "
    "segment = excluded.segment, byte = excluded.byte, "
    + ", ".join(
        f"{name} = greatest(least(s.{name}::numeric + excluded.{name}, {LARGEST}), -{LARGEST})::bigint"
        for name in _TOTALS
    )
    + f" RETURNING {', '.join(_TOTALS)}"
)
_PARTITIONS = (
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'tidegate.calls'::regclass ORDER BY c.relname"
)
_FACTS = FactTables("tidegate.", "%s", as_bytes=True, many=together)
_TRIALS = TrialTable("tidegate.", "%s", as_bytes=True, many=together)
_OPINIONS = OpinionTable("tidegate.opinions", "%s", as_bytes=True)
FOLD = int.from_bytes(b"fold", "big")  # locks of days, beside LOCK
_DAYS = Days(
    "tidegate.",
    "%s",
    counts="json_object_agg(bucket, calls)::text",
    as_bytes=True,
    alone=f"SELECT pg_advisory_xact_lock({FOLD}, ?)",
    among=f"SELECT pg_advisory_xact_lock_shared({FOLD}, ?)",
)
_PIECES = "SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS one (of_ms, begin_ms, until_ms)"


class PostgresBooks:
    """Rows and sums, for a SpoolLedger."""

    patience_s = 0.2  # ten round trips, for few rows or many

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._rollups = Rollups()
        self._days: set[str] = set()  # partitions that are known to be there
        self._last: dict[str, Totals] = {}  # what a spool summed to when we last heard

    def account(self, spool: str) -> tuple[Position, Totals]:
        position, totals = self._lanes.do(lambda db: _account(db, spool))
        self._last[spool] = totals
        return position, totals

    def take(self, spool: str, rows: Sequence[Row], position: Position, said: Sequence[Closed | Acted] = ()) -> Totals:
        days = {_day(row.closed.at_ms) for row in rows}
        if not days <= self._days:
            self._lanes.do(lambda db: _make_partitions(db, days))
            self._days |= days
        try:
            after = self._lanes.do(lambda db: _take(db, spool, rows, position, said, self._rollups))
        except Exception:
            self._days.clear()  # somebody may have deleted one
            raise
        # Against what we last heard, not against what was there before: when the line breaks during a COMMIT nobody
        # knows whether it was done, and what was done then is told now.
        before, self._last[spool] = self._last.get(spool, Totals()), after
        return add(after, before, -1)

    async def totals(self, besides: str) -> Totals:
        sums = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in _TOTALS)
        sql = f"SELECT {sums} FROM tidegate.spools WHERE id <> %s"
        found = await self._lanes.ask(lambda db: db.execute(sql, (besides,)).fetchone(), again=True)
        return Totals(*found or ())

    async def find(self, call_id: str) -> bytes | None:
        sql = 'SELECT "row" FROM tidegate.calls WHERE id = %s'
        found = await self._lanes.ask(lambda db: db.execute(sql, (clean(call_id),)).fetchone(), again=True)
        return bytes(found[0]) if found else None

    async def after(self, seq: int, most: int, user: str | None = None) -> list[tuple[int, str, bytes]]:
        whose, values = ("", (seq, most)) if user is None else ('"user" = %s AND', (clean(user), seq, most))
        sql = f'SELECT seq, id, "row" FROM tidegate.calls WHERE {whose} seq > %s ORDER BY seq LIMIT %s'.encode()
        found = await self._lanes.ask(lambda db: db.execute(sql, values).fetchall(), again=True)
        return [(number, id, bytes(sealed)) for number, id, sealed in found]

    async def times(self, asked: TimesAsked) -> list[TimesLine]:
        return await self._lanes.ask(lambda db: _FACTS.times(db, asked, _DAYS), again=True, within_s=USAGE_S)

    async def people(self, asked: PeopleAsked) -> list[PeopleLine]:
        return await self._lanes.ask(lambda db: _FACTS.people(db, asked, _DAYS), again=True, within_s=USAGE_S)

    async def opine(self, said: Said) -> None:
        await self._lanes.ask(lambda db: _OPINIONS.put(db, said), again=True)

    async def opinions(self, call_id: str) -> list[bytes]:
        return await self._lanes.ask(lambda db: _OPINIONS.of(db, call_id), again=True)

    async def opined(self, asked: UsageAsked) -> list[UsageLine]:
        part = _part("tidegate.opinions", "hour", pieces(waiting(asked), set()).hours)
        sql, values = query(asked, [part], mark="%s", of=OPINION_SUMS, joined=_laterally)
        found = await self._lanes.ask(
            lambda db: db.execute(sql.encode(), values).fetchall(), again=True, within_s=USAGE_S
        )
        return [line(asked, row, OPINION_SUMS) for row in found]

    async def units(self, experiment: str, behind: str = "") -> list[UnitLine]:
        return await self._lanes.ask(lambda db: _TRIALS.units(db, experiment, behind), again=True, within_s=USAGE_S)

    async def arrivals(self, experiment: str, parts: int) -> list[Arrival]:
        return await self._lanes.ask(lambda db: _TRIALS.arrivals(db, experiment, parts), again=True, within_s=USAGE_S)

    async def rename_units(self, units: Sequence[tuple[str, str, str]]) -> None:
        await self._lanes.ask(lambda db: _rename(db, units), again=True)

    async def forget_trials(self, before_ms: int, most: int) -> int:
        return await self._lanes.ask(lambda db: _TRIALS.forget(db, before_ms, most), within_s=USAGE_S)

    async def last(self) -> int:
        sql = b"SELECT coalesce(max(seq), 0) FROM tidegate.calls"
        found = await self._lanes.ask(lambda db: db.execute(sql).fetchone(), again=True)
        return found[0] if found else 0

    async def usage(self, asked: UsageAsked) -> list[UsageLine]:
        found = await self._lanes.ask(lambda db: _usage(db, asked), again=True, within_s=USAGE_S)
        return [line(asked, row) for row in found]

    async def fold(self, before_ms: int) -> bool:
        return await self._lanes.ask(lambda db: _fold(db, before_ms), again=True, within_s=USAGE_S)

    async def calls(self, asked: CallsAsked) -> tuple[list[tuple[str, bytes]], Place | None]:
        return await self._lanes.ask(lambda db: _calls(db, asked), again=True, within_s=USAGE_S)

    async def forget(self, before_ms: int, most: int) -> int:
        """Whole days, one at a time."""
        return await self._lanes.ask(lambda db: _forget(db, _day(before_ms)), within_s=USAGE_S)


def _rename(db: Connection, units: Sequence[tuple[str, str, str]]) -> None:
    with db.transaction():
        _TRIALS.rename(db, units)


def _usage(db: Connection, asked: UsageAsked) -> list[Any]:
    sql, values = query(asked, _DAYS.usage(db, asked, _part), mark="%s", joined=_laterally)
    return db.execute(sql.encode(), values).fetchall()


def _laterally(table: str, where: str) -> str:
    """Each piece by its index: PostgreSQL does not know how short they are, and would read the whole table at once."""
    return f"CROSS JOIN LATERAL (SELECT * FROM {table} u WHERE {where} OFFSET 0) u"


def _part(table: str, column: str, some: list[Piece]) -> Part:
    return Part(table, column, _PIECES, _turned(some, len(Piece._fields)))


def _fold(db: Connection, before_ms: int) -> bool:
    with db.transaction():
        db.execute(f"SET LOCAL lock_timeout = '{LOCK_S}s'".encode())
        return _DAYS.fold(db, before_ms)


def _calls(db: Connection, asked: CallsAsked) -> tuple[list[tuple[str, bytes]], Place | None]:
    only = {name: clean(value) for name, value in asked.only.items()}
    question = listing(msgspec.structs.replace(asked, only=only), table="tidegate.calls", mark="%s", within="strpos")
    some = db.execute(question.some.encode(), question.values).fetchall()
    last = None if len(some) == asked.most else db.execute(question.last.encode(), question.looked).fetchone()
    rows = db.execute(
        b'SELECT id, "row" FROM tidegate.calls WHERE at_ms = ANY(%s) AND seq = ANY(%s) ORDER BY at_ms DESC, seq DESC',
        ([at for at, _ in some], [seq for _, seq in some]),
    ).fetchall()
    return [(id, bytes(sealed)) for id, sealed in rows], reached(asked, some, last)


def _account(db: Connection, spool: str) -> tuple[Position, Totals]:
    found = db.execute(_ACCOUNT.encode(), (spool,)).fetchone() or (0,) * (2 + len(_TOTALS))
    return Position(*found[:2]), Totals(*found[2:])


def _take(
    db: Connection,
    spool: str,
    rows: Sequence[Row],
    position: Position,
    said: Sequence[Closed | Acted],
    rollups: Rollups,
) -> Totals:
    """What the spool sums to then."""
    with db.transaction():
        _DAYS.unfold(db, days_of(row.closed for row in rows))
        first = {row.closed.id: row.closed for row in reversed(rows)}
        inserted = db.execute(_INSERT.encode(), columns([_values(row) for row in rows], _CALL_TYPES)).fetchall()
        new = [first[id] for (id,) in inserted]
        sums = [one.values for one in rollups.of(new)]
        if sums:
            db.execute(_ROLL_UP.encode(), columns(sums, _ROLLUP_TYPES))
        _FACTS.add(db, facts(new, rollups), _DAYS)
        _TRIALS.add(db, new)
        taken = [_bounded(value) for value in msgspec.structs.astuple(tally(*new))]
        totals = Totals(*db.execute(_NOTE.encode(), (spool, *position, *taken)).fetchone() or ())
        if said:
            ids = {one.id for one in new}
            CHAINS.append(db, spool, [one for one in said if isinstance(one, Acted) or one.id in ids])
    return totals


def _turned(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Columns of rows."""
    return [[row[place] for row in rows] for place in range(width)]


def _values(row: Row) -> tuple[Any, ...]:
    """By _CALLS."""
    closed = row.closed
    heard, said = tokens(closed.usage)
    return (
        *(closed.id, _when(closed), closed.key_id, closed.organisation_id, closed.team_id),
        *(closed.dialect, closed.operation, _text(closed.route), _text(closed.target), closed.outcome),
        *(closed.status, closed.error, None if closed.cost_nusd is None else _bounded(closed.cost_nusd)),
        *(_bounded(heard), _bounded(said), closed.duration_us),
        *(_text(closed.user), _text(closed.session), closed.kind, closed.cache, rulings(closed)),
        *(closed.trace_id, row.sealed),
    )


def _text(text: str | None) -> str | None:
    return clean(text) if text else text


def _bounded(number: int) -> int:
    """As much of `number` as a column holds: a row must never be refused."""
    return max(-LARGEST, min(number, LARGEST))


# --- partitions -----------------------------------------------------------------------------------------------------


def _when(closed: Closed) -> int:
    return min(max(closed.at_ms, 0), LAST_MS)


def _day(at_ms: int) -> str:
    """The partition of that day: calls_20261126."""
    return f"calls_{datetime.fromtimestamp(min(max(at_ms, 0), LAST_MS) / 1000, UTC):%Y%m%d}"


def _make_partitions(db: Connection, days: set[str]) -> None:
    """In a transaction of their own: the lock that it takes is a short one."""
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        there = {name for (name,) in db.execute(_PARTITIONS)}
        for day in sorted(days - there):
            begin = round(datetime.strptime(f"{day}+0000", "calls_%Y%m%d%z").timestamp() * 1000)
            db.execute(
                f"CREATE TABLE tidegate.{day} PARTITION OF tidegate.calls "
                f"FOR VALUES FROM ({begin}) TO ({begin + DAY_MS})".encode()
            )


def _forget(db: Connection, before: str) -> int:
    """How many partitions were deleted: one, or none that is as old."""
    with db.transaction():
        db.execute(f"SET LOCAL lock_timeout = '{LOCK_S}s'".encode())
        db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        oldest = db.execute(_PARTITIONS.encode()).fetchone()
        if oldest is None or oldest[0] >= before:
            return 0
        db.execute(f"DROP TABLE tidegate.{oldest[0]}".encode())
    return 1
