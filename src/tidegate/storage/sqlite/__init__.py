"""What is kept on one machine? Keys, rows and sums in one SQLite file, which several processes may use at once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tidegate.core.ports import Anything, Bearer, Kept, Once
from tidegate.storage.audit.log import Log
from tidegate.storage.once import OnceTable
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
from tidegate.storage.sqlite.books import CHAINS, SqliteBooks, marks
from tidegate.storage.sqlite.file import BUSY_S, Database, transaction
from tidegate.storage.tables import Dialect, Tables

_BEARER = bearer_query("?")
_NAMES = "SELECT id, name FROM keys WHERE id IN (SELECT value FROM json_each(?))"
_ONCE = OnceTable("once", "?")
_DIALECT = Dialect("", "?")


class SqliteStore:
    """A Store. `books` is the database half of a ledger in the same file; close the ledger before the store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.books = SqliteBooks(database)
        self.tables = Tables(database, _DIALECT)
        self.log = Log(self.tables, CHAINS)

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

    async def newest(self, kind: type[Kept], after: str | None, most: int) -> list[Kept]:
        sql = newest_query(kind, "?")
        rows = await self._database.read(lambda db: db.execute(sql, (after, after, most)).fetchall())
        return [restored(kind, row) for row in rows]

    async def key_names(self, ids: Collection[str]) -> dict[str, str]:
        asked = (json.dumps(list(ids)),)
        return dict(await self._database.read(lambda db: db.execute(_NAMES, asked).fetchall()))

    async def add(self, one: Anything) -> None:
        kind = type(one)
        sql = f"INSERT INTO {TABLES[kind]} ({columns(kind)}) VALUES ({marks(len(kind.__struct_fields__))})"

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
