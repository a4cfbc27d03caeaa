"""How is the same statement asked of either database? Written once, with `?` for values and names in capitals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

NAMES = {
    **{"LOG": "audit", "SIGNED": "audit_checkpoints", "BODIES": "bodies"},
    **{"FILES": "files", "PARTS": "file_parts", "BATCHES": "batches", "LINES": "batch_lines"},
    **{"LESSONS": "lessons", "PARCELS": "batch_parcels", "PROCESSES": "processes"},
}
ALONE = " FOR UPDATE SKIP LOCKED"  # rows that nobody else is taking; on one machine there is one who writes


class Home(Protocol):
    """A database that can be asked. Raises StoreDown."""

    async def look(self, work: Callable[[Any], T]) -> T: ...

    async def alter(self, work: Callable[[Any], T]) -> T:
        """In a transaction."""


class Dialect:
    """`schema` stands before a table's name, `mark` where a value goes; `as_bytes`: the driver wants its SQL so."""

    def __init__(self, schema: str, mark: str, *, as_bytes: bool = False) -> None:
        self._schema = schema
        self._mark = mark
        self._as_bytes = as_bytes

    def sql(self, text: str) -> Any:
        for name, table in NAMES.items():
            text = text.replace(name, f"{self._schema}{table}")
        text = text.replace("?", self._mark).replace(" ALONE", ALONE if self._schema else "")
        return text.encode() if self._as_bytes else text


class Tables:
    """Some tables of a database, and how they are asked."""

    def __init__(self, home: Home, dialect: Dialect) -> None:
        self.home = home
        self.sql = dialect.sql

    async def rows(self, text: str, *values: Any) -> list[Any]:
        sql = self.sql(text)
        found: list[Any] = await self.home.look(lambda db: db.execute(sql, values).fetchall())
        return found

    async def changed(self, text: str, *values: Any) -> int:
        """How many."""
        sql = self.sql(text)
        return await self.home.alter(lambda db: int(db.execute(sql, values).rowcount))

    async def add(self, text: str, rows: list[tuple[Any, ...]]) -> None:
        sql = self.sql(text)
        await self.home.alter(lambda db: db.cursor().executemany(sql, rows))
