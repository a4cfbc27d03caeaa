"""Which processes share this database? Each says now and then that it is there, and takes its row away at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tidegate.core.topology import GONE_MS, Process
from tidegate.storage.tables import Tables

_PACK = msgspec.json.Encoder().encode
_PROCESS = msgspec.json.Decoder(Process)


class Processes:
    """Topology."""

    def __init__(self, tables: Tables, now_ms: Callable[[], int]) -> None:
        self._tables = tables
        self._now_ms = now_ms

    async def tell(self, one: Process) -> None:
        """And forget who has not been heard of for long."""
        gone = self._tables.sql("DELETE FROM PROCESSES WHERE id = ? OR seen_ms < ?")
        there = self._tables.sql("INSERT INTO PROCESSES (id, seen_ms, said) VALUES (?, ?, ?)")

        def work(db: Any) -> None:
            db.execute(gone, (one.id, one.seen_ms - 10 * GONE_MS))
            db.execute(there, (one.id, one.seen_ms, _PACK(one)))

        await self._tables.home.alter(work)

    async def leave(self, id: str) -> None:
        await self._tables.changed("DELETE FROM PROCESSES WHERE id = ?", id)

    async def seen(self) -> list[Process]:
        rows = await self._tables.rows("SELECT said FROM PROCESSES WHERE seen_ms >= ?", self._now_ms() - GONE_MS)
        found = [_PROCESS.decode(bytes(said)) for (said,) in rows]
        return sorted(found, key=lambda one: (one.since_ms, one.id))
