"""Where are files? In pieces, sealed; what came of a batch is a file without any, rendered from its lines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tidegate.core.batches import Config
from tidegate.core.ports import Vault
from tidegate.core.ports.batches import File
from tidegate.storage.batches import places
from tidegate.storage.tables import Tables

T = TypeVar("T")

PART = 1024 * 1024  # bytes of a file in one row
FILE = "id, tenant, key_id, name, bytes, created_ms, until_ms, holds, batch"


class FileStore:
    """The half of Batches that is about files."""

    def __init__(self, tables: Tables, vault: Vault, config: Config) -> None:
        self.config = config
        self.news = asyncio.Event()
        self._tables = tables
        self._vault = vault

    async def _aside(self, work: Callable[[], T]) -> T:
        """Where sealing may have to wait for a key, beside the event loop."""
        return await asyncio.to_thread(work) if self._vault.seals else work()

    async def put(self, file: File, content: bytes) -> None:
        await self._write(file.id, file.tenant, content)
        name = await self._aside(lambda: self._vault.seal(file.name.encode(), places.named(file.id, file.tenant)))
        row = (file.id, file.tenant, file.key_id, name, file.bytes, file.created_ms, file.until_ms, file.holds, "")
        await self._tables.add(f"INSERT INTO FILES ({FILE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [row])

    async def _write(self, id: str, tenant: str, content: bytes) -> None:
        """One after the other: all at once would keep others from the database for as long as they are large."""
        for number, at in enumerate(range(0, len(content), PART)):
            piece, place = content[at : at + PART], places.part(id, number, tenant)
            sealed = await asyncio.to_thread(self._vault.seal, piece, place)
            await self._tables.changed("INSERT INTO PARTS (file, part, body) VALUES (?, ?, ?)", id, number, sealed)

    async def file(self, id: str, key_id: str) -> File | None:
        rows = await self._tables.rows(f"SELECT {FILE} FROM FILES WHERE id = ? AND key_id = ?", id, key_id)
        return (await self._aside(lambda: self._file(rows[0]))) if rows else None

    async def files(self, key_id: str, after: str | None, most: int) -> list[File]:
        rows = await self._listed(f"SELECT {FILE} FROM FILES", "FILES", ("key_id", key_id), after, most)
        return await self._aside(lambda: [self._file(row) for row in rows])

    async def _listed(self, select: str, table: str, only: tuple[str, ...], after: str | None, most: int) -> list[Any]:
        """Newest first, behind `after`. `only`: columns, each with the value that it must have."""
        names, values = only[::2], only[1::2]
        where = " AND ".join([f"{name} = ?" for name in names]) or "1 = 1"
        behind: tuple[Any, ...] = ()
        if after is not None:
            found = await self._tables.rows(f"SELECT created_ms FROM {table} WHERE {where} AND id = ?", *values, after)
            if not found:
                return []
            where += " AND (created_ms < ? OR (created_ms = ? AND id < ?))"
            behind = (found[0][0], found[0][0], after)
        sql = f"{select} WHERE {where} ORDER BY created_ms DESC, id DESC LIMIT ?"
        return await self._tables.rows(sql, *values, *behind, most)

    def _file(self, row: Sequence[Any]) -> File:
        name = self._vault.unseal(bytes(row[3]), places.named(row[0])).decode()
        id, tenant, key_id, _, size, created_ms, until_ms, holds, batch = row
        return File(id, tenant, key_id, name, size, created_ms, until_ms, holds, batch)

    async def kept(self, key_id: str) -> int:
        sql = "SELECT coalesce(sum(bytes), 0) FROM FILES WHERE key_id = ? AND holds = 'input'"
        return int((await self._tables.rows(sql, key_id))[0][0])

    async def part(self, file: str, number: int) -> bytes | None:
        rows = await self._tables.rows("SELECT body FROM PARTS WHERE file = ? AND part = ?", file, number)
        if not rows:
            return None
        return await asyncio.to_thread(self._vault.unseal, bytes(rows[0][0]), places.part(file, number))

    async def drop(self, file: File) -> bool:
        def work(db: Any) -> bool:
            db.execute(self._tables.sql("DELETE FROM PARTS WHERE file = ?"), (file.id,))
            if file.batch:  # rendered from its lines: what was said is what must go
                of = "= 'done'" if file.holds == "output" else "<> 'done'"
                sql = f"UPDATE LINES SET said = NULL, asked = NULL WHERE batch = ? AND state {of}"
                db.execute(self._tables.sql(sql), (file.batch,))
            return bool(db.execute(self._tables.sql("DELETE FROM FILES WHERE id = ?"), (file.id,)).rowcount)

        return await self._tables.home.alter(work)
