"""What is kept for several machines? Keys, rows and sums in PostgreSQL, in a schema of its own."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

import msgspec
import psycopg

from tidegate.core.errors import ConfigError
from tidegate.core.ports import Key, StoreDown
from tidegate.storage.ledger import Notice
from tidegate.storage.postgres.books import PostgresBooks
from tidegate.storage.postgres.lanes import Address, Connection, Gone, Lanes
from tidegate.storage.postgres.schema import bring_up_to_date
from tidegate.storage.rollups import clean

CONNECTIONS = 4
TIMEOUT_S = 5.0
START_S = 60.0  # another process may be changing the tables
HOT_S = 0.25  # how long a call waits to hear whether a key that was good is so still
STALE_S = 900.0  # so long keys are served from memory while the database does not answer
REMEMBERED = 10_000

_KEY = ", ".join(Key.__struct_fields__)
_MARKS = ", ".join(["%s"] * len(Key.__struct_fields__))


class PostgresStore:
    """A Store. `books` is the database half of a ledger in the same database; close the ledger before the store.

    While the database does not answer, keys that were looked up in the last quarter of an hour stay what they were.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.books = PostgresBooks(lanes)
        self._known: OrderedDict[str, tuple[float, Key]] = OrderedDict()

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
        """Make the tables, or bring them up to date. Raises ConfigError when the database cannot be used."""
        lanes = Lanes(Address(url, timeout_s, prepares), connections, timeout_s, notice)
        try:
            await asyncio.to_thread(lanes.do, bring_up_to_date, within_s=START_S)
        except StoreDown as down:
            await lanes.aclose()
            raise ConfigError(f"storage.database: {down.message}; it must be there when Tidegate starts") from None
        except BaseException:
            await lanes.aclose()
            raise
        return cls(lanes)

    async def key(self, key_id: str) -> Key | None:
        sql = f"SELECT {_KEY} FROM tidegate.keys WHERE id = %s"
        known = self._known.get(key_id)
        try:
            row = await self._lanes.ask(
                lambda db: db.execute(sql, (clean(key_id),)).fetchone(), again=True, within_s=HOT_S if known else None
            )
        except Gone:
            if known is None or time.monotonic() > known[0] + STALE_S:
                raise
            return known[1]
        if row is None:
            return None
        key = Key(*row)
        self._known[key_id] = (time.monotonic(), key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return key

    async def keys(self) -> list[Key]:
        sql = f"SELECT {_KEY} FROM tidegate.keys ORDER BY created_ms, id"
        return [Key(*row) for row in await self._lanes.ask(lambda db: db.execute(sql).fetchall(), again=True)]

    async def add_key(self, key: Key) -> None:
        sql = f"INSERT INTO tidegate.keys ({_KEY}) VALUES ({_MARKS})"
        values = [clean(value) if isinstance(value, str) else value for value in msgspec.structs.astuple(key)]

        def insert(db: Connection) -> None:
            try:
                db.execute(sql, values)
            except psycopg.errors.UniqueViolation as error:
                raise ValueError(f"there is a key {key.id!r} already") from error

        await self._lanes.ask(insert)

    async def revoke_key(self, key_id: str, at_ms: int) -> bool:
        sql = "UPDATE tidegate.keys SET revoked_ms = %s WHERE id = %s AND revoked_ms IS NULL"
        return await self._lanes.ask(lambda db: db.execute(sql, (at_ms, clean(key_id))).rowcount == 1)

    async def aclose(self) -> None:
        await self._lanes.aclose()
