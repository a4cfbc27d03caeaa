"""Where are a cache's vectors, when several processes share them? In PostgreSQL, with the extension pgvector.

What is on the way of a call is asked on connections of its own, within LOOK_S. When that fails once nobody asks any
more, and a task of ours tries the same question until it is answered in time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import psycopg

from tidegate.core.errors import ConfigError, StoreDown
from tidegate.core.ports import Answer, Entry, Learned, Near, Vector
from tidegate.storage.books import Notice
from tidegate.storage.postgres.lanes import REST_S, Address, Connection, Lanes, T, Work
from tidegate.storage.postgres.schema import bring_up_to_date
from tidegate.storage.rollups import clean

LOOK_S = 0.05  # of what a call waits for
WRITE_S = 5.0
START_S = 60.0
LANES = 2  # for look-ups; writes have one of their own
TOUCH_S = 600.0  # to what an entry's last use is known: to write it at each would be a write for each read
SEEK_S = (REST_S + 0.1, 30.0)  # how long after it was lost to look for it, at first and later
TOUCHED = 10_000  # entries whose use waits to be written
LEAVE_SHARE = 0.02  # of the bound: so many leave at once, for counting looks at all
EF_SEARCH = 100
WIDEST, WIDEST_HALVED = 2_000, 4_000  # dimensions that pgvector's index takes, in single and in half precision

OLDEST = (0, 8)  # of pgvector

_VERSION = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
_TABLE = "tidegate.semantic_entries"
_NOW_US = "(extract(epoch FROM clock_timestamp()) * 1e6)::bigint"
_ANSWERS = "SELECT id, digest, sketch, marks FROM tidegate.semantic_answers WHERE partition = %s AND id = ANY(%s)"
_REPLY = f"SELECT reply FROM {_TABLE} WHERE partition = %s AND id = %s AND until_ms > %s"
_DIMENSIONS = f"SELECT dimensions FROM {_TABLE} WHERE partition = %s LIMIT 1"
_SAY = "INSERT INTO tidegate.semantic_answers VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
_ADD = f"""
INSERT INTO {_TABLE} (partition, id, answer, marks, tags, used_us, dimensions, vector, until_ms, reply)
VALUES (%s, %s, %s, %s, %s, {_NOW_US}, %s, %s::vector, %s, %s)
ON CONFLICT (partition, id) DO NOTHING
"""
_JUDGE = f'UPDATE {_TABLE} SET "right" = "right" + %s, wrong = wrong + %s WHERE partition = %s AND id = %s'
_TOUCH = f"UPDATE {_TABLE} SET used_us = {_NOW_US} WHERE partition = %s AND id = ANY(%s) AND used_us <= {_NOW_US} - %s"
_OLDEST = f"""
WITH oldest AS (SELECT place FROM {_TABLE} ORDER BY used_us, place LIMIT %s),
gone AS (DELETE FROM {_TABLE} WHERE place IN (SELECT place FROM oldest) RETURNING partition, id, answer, used_us, place)
SELECT partition, id, answer FROM gone ORDER BY used_us, place
"""
_ORPHANS = f"""
DELETE FROM tidegate.semantic_answers a USING unnest(%s::text[], %s::text[]) AS said (partition, id)
WHERE a.partition = said.partition AND a.id = said.id
AND NOT EXISTS (SELECT 1 FROM {_TABLE} e WHERE e.partition = a.partition AND e.answer = a.id)
"""
_LEARNED = "SELECT version, state FROM tidegate.semantic_learned WHERE name = %s"
_FIRST = "INSERT INTO tidegate.semantic_learned VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_NEXT = "UPDATE tidegate.semantic_learned SET version = %(v)s, state = %(s)s WHERE name = %(n)s AND version = %(v)s - 1"


class Gone(NamedTuple):
    partition: str
    id: str
    answer: str


class PostgresVectors:
    """At most `bound` entries, about: each process counts them now and then."""

    def __init__(self, lanes: Lanes, writing: Lanes, bound: int, notice: Notice, look_s: float, touch_s: float) -> None:
        self._lanes = lanes
        self._writing = writing
        self._bound = bound
        self._notice = notice
        self._look_s = look_s
        self._touch_us = round(touch_s * 1e6)
        self._touched: dict[str, set[str]] = {}  # by partition: near to something since it was last written
        self._uncounted = bound  # added here since we counted
        self._indexed: set[int] = set()  # dimensions whose index is there
        self._seeking: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        bound: int,
        notice: Notice,
        *,
        prepares: bool = True,
        look_s: float = LOOK_S,
        touch_s: float = TOUCH_S,
    ) -> PostgresVectors:
        """Raises ConfigError when the database cannot be used, or has no pgvector."""
        address = Address(url, WRITE_S, prepares)
        lanes = Lanes(address, LANES, look_s, _unheard)
        found = cls(lanes, Lanes(address, 1, WRITE_S, _unheard), bound, notice, look_s, touch_s)
        try:
            await asyncio.to_thread(found._writing.do, _prepared, within_s=START_S)
            await found._warm()
        except StoreDown as down:
            await found.aclose()
            raise ConfigError(f"storage.database: {down.message}; it must be there when Tidegate starts") from None
        except BaseException:
            await found.aclose()
            raise
        return found

    # --- on the way of a call

    async def nearest(self, partition: str, vector: Vector, count: int) -> Sequence[Near]:
        found = await self._look(partial(_nearest, clean(partition), vector, count))
        touched = self._touched.setdefault(partition, set())
        if sum(map(len, self._touched.values())) < TOUCHED:
            touched.update(one.id for one in found)
        return found

    async def reply(self, partition: str, entry: str, now_ms: int) -> bytes | None:
        asked = (clean(partition), clean(entry), now_ms)
        row = await self._look(lambda db: db.execute(_REPLY, asked).fetchone())
        return row[0] if row else None

    async def _look(self, work: Work[T]) -> T:
        if self._seeking is not None:
            raise StoreDown("the vectors' database did not answer in time, and is looked for")
        try:
            return await self._lanes.ask(work, again=True, within_s=self._look_s)
        except StoreDown as down:
            if self._seeking is None:
                self._notice("vectors_lost", {"error": down.message})
                self._seeking = asyncio.get_running_loop().create_task(self._seek(work), name="seek vectors")
            raise

    async def _seek(self, work: Work[Any]) -> None:
        """Until the question that took too long is answered in time again."""
        wait_s = SEEK_S[0]
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, SEEK_S[1])
            with suppress(StoreDown):
                await self._warm()  # connecting may take longer than a call waits
                await self._lanes.ask(work, within_s=self._look_s)
                break
        self._seeking = None
        self._notice("vectors_back", {})

    async def _warm(self) -> None:
        """All connections for look-ups are made. Each goes to the one that least is asked of."""
        asked = [self._lanes.ask(lambda db: db.execute("SELECT 1"), again=True, within_s=WRITE_S) for _ in range(LANES)]
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    # --- beside it

    async def answers(self, partition: str, ids: Sequence[str]) -> Sequence[Answer]:
        asked = (clean(partition), [clean(id) for id in ids])
        rows = await self._writing.ask(lambda db: db.execute(_ANSWERS, asked).fetchall(), again=True)
        found = {row[0]: Answer(row[0], row[1], row[2], tuple(row[3])) for row in rows}
        return [found[id] for id in ids if id in found]

    async def add(self, partition: str, entry: Entry) -> Sequence[str]:
        self._uncounted += 1
        counts = self._uncounted > self._bound // 100
        touched, self._touched = self._touched, {}
        add = partial(_add, clean(partition), entry, self._touch_us, touched, self._bound if counts else None)
        dimensions = len(entry.vector) // 4
        if dimensions not in self._indexed:
            await self._writing.ask(partial(_index, dimensions), within_s=START_S)
            self._indexed.add(dimensions)
        left = await self._writing.ask(add)
        if counts:
            self._uncounted = 0
        return left

    async def judge(self, partition: str, entry: str, right: bool) -> None:
        asked = (int(right), int(not right), clean(partition), clean(entry))
        await self._writing.ask(lambda db: db.execute(_JUDGE, asked))

    async def forget(self, partition: str, entries: Sequence[str] | None = None) -> int:
        ids = None if entries is None else [clean(id) for id in entries]
        which = ("partition = %s", [clean(partition)]) if ids is None else (
            "partition = %s AND id = ANY(%s)", [clean(partition), ids]
        )  # fmt: skip
        return await self._writing.ask(partial(_forget, *which), again=True)

    async def purge(self, tag: str | None = None) -> int:
        which = ("true", []) if tag is None else ("%s = ANY(tags)", [clean(tag)])
        return await self._writing.ask(partial(_forget, *which), again=True)

    async def learned(self, name: str) -> Learned | None:
        row = await self._writing.ask(lambda db: db.execute(_LEARNED, (clean(name),)).fetchone(), again=True)
        return Learned(*row) if row else None

    async def teach(self, name: str, learned: Learned) -> bool:
        name = clean(name)
        if learned.version == 1:
            work: Work[int] = lambda db: db.execute(_FIRST, (name, 1, learned.state)).rowcount  # noqa: E731
        else:
            kept = {"n": name, "v": learned.version, "s": learned.state}
            work = lambda db: db.execute(_NEXT, kept).rowcount  # noqa: E731
        return await self._writing.ask(work) == 1

    async def aclose(self) -> None:
        if self._seeking is not None:
            self._seeking.cancel()
            await asyncio.wait([self._seeking])
        await self._lanes.aclose()
        await self._writing.aclose()


def _unheard(name: str, fields: object) -> None:
    """That the lanes are lost or back is told in our own words."""


def _prepared(db: Connection) -> None:
    try:
        if db.execute(_VERSION).fetchone() is None:
            db.execute("CREATE EXTENSION IF NOT EXISTS vector")
        (version,) = db.execute(_VERSION).fetchone() or ("0",)
    except psycopg.Error as wrong:
        raise ConfigError(
            f"storage.database: a semantic cache needs pgvector there: {str(wrong).partition(chr(10))[0]}; install it "
            "and run CREATE EXTENSION vector as a superuser, or set cache.kept: process"
        ) from wrong
    if (
        tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST
    ):  # before, an index does not look on until it has enough
        raise ConfigError(
            f"storage.database: pgvector {version} is too old for a semantic cache; install 0.8 or newer and run "
            "ALTER EXTENSION vector UPDATE, or set cache.kept: process"
        )
    bring_up_to_date(db, "pgvector", "pgvector_version")


def _index(dimensions: int, db: Connection) -> None:
    kind = _indexed_as(dimensions)
    if kind is not None:
        db.execute(
            f"CREATE INDEX IF NOT EXISTS semantic_entries_{dimensions} ON {_TABLE} "
            f"USING hnsw ((vector::{kind}({dimensions})) {kind}_ip_ops) WHERE dimensions = {dimensions}".encode()
        )


def _indexed_as(dimensions: int) -> str | None:
    if dimensions <= WIDEST:
        return "vector"
    return "halfvec" if dimensions <= WIDEST_HALVED else None


def _nearest(partition: str, vector: Vector, count: int, db: Connection) -> list[Near]:
    """Raises ValueError."""
    dimensions = len(vector) // 4
    kind = _indexed_as(dimensions) or "vector"
    sql = f"""
        SELECT id, -(vector <#> %(q)s::vector), answer, marks, "right", wrong FROM {_TABLE}
        WHERE dimensions = {dimensions} AND partition = %(p)s
        ORDER BY vector::{kind}({dimensions}) <#> %(q)s::vector::{kind}({dimensions}) LIMIT %(n)s
    """.encode()
    asked = {"q": _text(vector), "p": partition, "n": count}
    with db.transaction():
        # Of many partitions in one index, or few of its entries ours: the search goes on until there are enough.
        db.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        db.execute(f"SET LOCAL hnsw.ef_search = {EF_SEARCH}".encode())
        rows = db.execute(sql, asked).fetchall()
        if not rows:
            _check(db, partition, vector)
    found = [Near(row[0], row[1], row[2], tuple(row[3]), row[4], row[5]) for row in rows]
    return sorted(found, key=lambda one: -one.similarity)


def _check(db: Connection, partition: str, vector: Vector) -> None:
    """Raises ValueError for a vector that cannot be among those of this partition."""
    row = db.execute(_DIMENSIONS, (partition,)).fetchone()
    if row is not None and 4 * row[0] != len(vector):
        raise ValueError(
            f"a vector of {len(vector) / 4:g} numbers among entries of {row[0]}: another embedding model? "
            "Empty the semantic cache, or go back to the model that filled it"
        )


def _add(
    partition: str, entry: Entry, touch_us: int, touched: dict[str, set[str]], bound: int | None, db: Connection
) -> list[str]:
    """The ids of those that left. Raises ValueError."""
    answer = entry.answer
    with db.transaction():
        _check(db, partition, entry.vector)
        for name, ids in touched.items():
            db.execute(_TOUCH.encode(), (clean(name), sorted(ids), touch_us))
        _forget("partition = %s AND id = %s", [partition, clean(entry.id)], db)
        left = _make_room(db, bound) if bound is not None else []
        db.execute(_SAY, (partition, clean(answer.id), answer.digest, answer.sketch, _clean(answer.marks)))
        kept = (partition, clean(entry.id), clean(answer.id), _clean(entry.marks), _clean(entry.tags))
        db.execute(_ADD, (*kept, len(entry.vector) // 4, _text(entry.vector), entry.until_ms, entry.reply))
    return [one.id for one in left]


def _make_room(db: Connection, bound: int) -> list[Gone]:
    row = db.execute(f"SELECT count(*) FROM {_TABLE}").fetchone()
    assert row is not None
    over = row[0] - bound + 1
    if over <= 0:
        return []
    left = [Gone(*row) for row in db.execute(_OLDEST, (max(over, int(bound * LEAVE_SHARE)),)).fetchall()]
    _drop_orphans(db, left)
    return left


def _forget(where: str, values: list[Any], db: Connection) -> int:
    sql = f"DELETE FROM {_TABLE} WHERE {where} RETURNING partition, id, answer".encode()
    with db.transaction():
        gone = [Gone(*row) for row in db.execute(sql, values).fetchall()]
        _drop_orphans(db, gone)
    return len(gone)


def _drop_orphans(db: Connection, gone: Sequence[Gone]) -> None:
    """Answers that nobody gives any more."""
    said = sorted({(one.partition, one.answer) for one in gone})
    if said:
        db.execute(_ORPHANS, ([partition for partition, _ in said], [answer for _, answer in said]))


def _clean(texts: Sequence[str]) -> list[str]:
    return [clean(text) for text in texts]


def _text(vector: Vector) -> str:
    """As pgvector reads it."""
    if len(vector) % 4 or not vector:
        raise ValueError("a vector is whole numbers of four bytes")
    return f"[{','.join(map(repr, np.frombuffer(vector, '<f4').tolist()))}]"
