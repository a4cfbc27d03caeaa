"""What is kept for several machines? Keys, rows and sums in PostgreSQL, in a schema of its own."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import psycopg

from tidegate.core.ports import Anything, Bearer, Kept, Once, StoreDown
from tidegate.storage.audit.log import Log
from tidegate.storage.books import Notice
from tidegate.storage.once import OnceTable
from tidegate.storage.postgres.books import CHAINS, DIALECT, PostgresBooks
from tidegate.storage.postgres.lanes import Address, Connection, Gone, Lanes, refused
from tidegate.storage.postgres.schema import ready
from tidegate.storage.rollups import clean
from tidegate.storage.rows import (
    AGE,
    AGES,
    TABLES,
    bearer,
    bearer_query,
    columns,
    newest_query,
    restored,
    value,
    values,
)
from tidegate.storage.tables import Tables

CONNECTIONS = 4
TIMEOUT_S = 5.0
START_S = 60.0  # another process may be changing the tables
HOT_S = 0.25  # how long a call waits to hear whether a key that was good is so still
STALE_S = 900.0  # so long keys are served from memory while the database does not answer
REMEMBERED = 10_000

_SCHEMA = "tidegate."
_BEARER = bearer_query("%s", _SCHEMA).encode()
_NAMES = b"SELECT id, name FROM tidegate.keys WHERE id = ANY(%s)"
_ONCE = OnceTable(f"{_SCHEMA}once", "%s", as_bytes=True)


class PostgresStore:
    """A Store. `books` is the database half of a ledger in the same database; close the ledger before the store.

    While the database does not answer, keys that were looked up in the last quarter of an hour stay what they were.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.books = PostgresBooks(lanes)
        self.tables = Tables(lanes, DIALECT)
        self.log = Log(self.tables, CHAINS)
        self._known: OrderedDict[str, tuple[float, Bearer]] = OrderedDict()
        self._looking: dict[str, asyncio.Task[Bearer | None]] = {}

    @classmethod
    async def open(
        cls,
        url: str,
        notice: Notice,
        *,
        connections: int = CONNECTIONS,
        timeout_s: float = TIMEOUT_S,
        prepares: bool = True,
    ) -> PostgresStore:
        """Makes the tables of an empty database. Raises ConfigError for one that cannot be used as it is."""
        lanes = Lanes(Address(url, timeout_s, prepares), connections, timeout_s, notice)
        try:
            await asyncio.to_thread(lanes.do, ready, within_s=START_S)
        except StoreDown as down:
            await lanes.aclose()
            raise refused("storage.database", down.message) from None
        except BaseException:
            await lanes.aclose()
            raise
        return cls(lanes)

    async def bearer(self, key_id: str) -> Bearer | None:
        """Once for all who want to know it at the same time: of a busy key, many do each second."""
        looking = self._looking.get(key_id)
        if looking is None:
            looking = asyncio.get_running_loop().create_task(self._look_up(key_id), name=f"look up {key_id}")
            self._looking[key_id] = looking
            looking.add_done_callback(partial(self._looked, key_id))
        await asyncio.wait([looking])
        return looking.result()

    def _looked(self, key_id: str, looking: asyncio.Task[Bearer | None]) -> None:
        del self._looking[key_id]
        if not looking.cancelled():
            looking.exception()  # who asked may have left

    async def _look_up(self, key_id: str) -> Bearer | None:
        known = self._known.get(key_id)
        try:
            row = await self._lanes.ask(
                lambda db: db.execute(_BEARER, (clean(key_id),)).fetchone(),
                again=True,
                within_s=HOT_S if known else None,
            )
        except Gone:
            if known is None or time.monotonic() > known[0] + STALE_S:
                raise
            return known[1]
        if row is None:
            self._known.pop(key_id, None)
            return None
        found = bearer(row)
        self._known[key_id] = (time.monotonic(), found)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    async def find(self, kind: type[Kept], id: str) -> Kept | None:
        return await self._lanes.ask(lambda db: _find(db, kind, id), again=True)

    async def every(self, kind: type[Kept]) -> list[Kept]:
        sql = f"SELECT {columns(kind)} FROM {_SCHEMA}{TABLES[kind]} ORDER BY {AGES.get(kind, AGE)}, place".encode()
        return [restored(kind, row) for row in await self._lanes.ask(lambda db: db.execute(sql).fetchall(), again=True)]

    async def newest(self, kind: type[Kept], after: str | None, most: int) -> list[Kept]:
        sql, behind = newest_query(kind, "%s", _SCHEMA, "place").encode(), _clean(after)
        asked = (behind, behind, most)
        rows = await self._lanes.ask(lambda db: db.execute(sql, asked).fetchall(), again=True)
        return [restored(kind, row) for row in rows]

    async def key_names(self, ids: Collection[str]) -> dict[str, str]:
        asked = ([clean(id) for id in ids],)
        return dict(await self._lanes.ask(lambda db: db.execute(_NAMES, asked).fetchall(), again=True))

    async def add(self, one: Anything) -> None:
        kind = type(one)
        marks = ", ".join(["%s"] * len(kind.__struct_fields__))
        sql = f"INSERT INTO {_SCHEMA}{TABLES[kind]} ({columns(kind)}) VALUES ({marks})".encode()
        kept = [_clean(field) for field in values(one)]

        def insert(db: Connection) -> None:
            try:
                db.execute(sql, kept)
            except psycopg.errors.UniqueViolation as error:
                raise ValueError(f"there is a {kind.__name__.lower()} {one.id!r} already") from error

        await self._lanes.ask(insert)

    async def change(self, one: Kept, **fields: Any) -> Kept | None:
        kind = type(one)
        new: list[Any] = [_clean(value(field)) for field in fields.values()]
        old: list[Any] = [_clean(value(getattr(one, name))) for name in fields]
        same = "".join(f" AND {name} IS NOT DISTINCT FROM %s" for name in fields)
        sets = ", ".join(f"{name} = %s" for name in fields)
        sql = f"UPDATE {_SCHEMA}{TABLES[kind]} SET {sets} WHERE id = %s{same} RETURNING {columns(kind)}".encode()
        row = await self._lanes.ask(lambda db: db.execute(sql, (*new, clean(one.id), *old)).fetchone())
        self._known.clear()  # keys of what was changed here must not be served as they were, should it go away now
        return restored(kind, row) if row else None

    async def note_used(self, at_ms: Mapping[str, int]) -> None:
        sql = "UPDATE tidegate.keys SET last_used_ms = %s WHERE id = %s AND coalesce(last_used_ms, 0) < %s"
        used = [(at, clean(id), at) for id, at in sorted(at_ms.items())]

        def update(db: Connection) -> None:
            with db.transaction():
                db.cursor().executemany(sql, used)

        await self._lanes.ask(update)

    async def begin_once(self, once: Once, now_ms: int) -> Once | None:
        once = _clean_once(once)
        return await self._lanes.ask(lambda db: _ONCE.begin(db, once, now_ms))

    async def end_once(self, once: Once) -> None:
        once = _clean_once(once)
        await self._lanes.ask(lambda db: _ONCE.end(db, once), again=True)

    async def forget_begun(self) -> int:
        return await self._lanes.ask(_ONCE.forget, again=True)

    async def aclose(self) -> None:
        await self._lanes.aclose()


def _clean_once(once: Once) -> Once:
    return Once(clean(once.id), clean(once.holder), once.asked, once.until_ms, once.done)


def _find(db: Connection, kind: type[Kept], id: str) -> Kept | None:
    sql = f"SELECT {columns(kind)} FROM {_SCHEMA}{TABLES[kind]} WHERE id = %s".encode()
    row = db.execute(sql, (clean(id),)).fetchone()
    return restored(kind, row) if row else None


def _clean(field: Any) -> Any:
    return clean(field) if isinstance(field, str) else field
