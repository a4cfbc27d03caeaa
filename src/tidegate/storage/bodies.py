"""Where is what was said? In a table of its own, sealed under the key of whom it is about, gone when its time is over.

Bodies are not the books: they go to the database by a task that waits for nobody, and a process that dies takes those
of its last moment with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import msgspec

from tidegate.core.errors import StoreDown
from tidegate.core.ports import Body, Erased, Place, Vault
from tidegate.storage.personal import TENANT
from tidegate.storage.tables import Tables

Notice = Callable[[str, Mapping[str, Any]], None]

MOST_WAITING = 64 * 1024 * 1024  # bytes; more than that is dropped
BATCH = 100
AGAIN_S = 1.0
COLUMNS = "id, at_ms, until_ms, tenant, subject, team, key_id, body"
PAGE = 100

_PACK = msgspec.msgpack.Encoder().encode
_BODY = msgspec.msgpack.Decoder(Body)


class BodyStore:
    """Bodies. `kept` and `dropped` are counted since the start."""

    def __init__(self, tables: Tables, vault: Vault, notice: Notice, *, most_waiting: int = MOST_WAITING) -> None:
        self._tables = tables
        self._vault = vault
        self._notice = notice
        self._most = most_waiting
        self._waiting: deque[Body] = deque()
        self._size = 0
        self._moving: asyncio.Task[None] | None = None
        self._told = False
        self.kept = self.dropped = 0

    def put(self, body: Body) -> None:
        size = _size(body)
        if self._size + size > self._most:
            self.dropped += 1
            if not self._told:  # once, until there is room
                self._told = True
                self._notice("bodies_dropped", {"waiting_bytes": self._size, "what_to_do": "see to the database"})
            return
        self._waiting.append(body)
        self._size += size
        if self._moving is None or self._moving.done():
            self._moving = asyncio.get_running_loop().create_task(self._move(), name="keep bodies")

    async def _move(self) -> None:
        while self._waiting:
            some = list(islice(self._waiting, BATCH))
            try:
                rows = await asyncio.to_thread(self._rows, some)
                await self._tables.add(
                    f"INSERT INTO BODIES ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", rows
                )
            except StoreDown as down:
                if not self._told:
                    self._told = True
                    self._notice("bodies_wait", {"error": down.message})
                await asyncio.sleep(AGAIN_S)
                continue
            for body in some:
                self._waiting.popleft()
                self._size -= _size(body)
            self.kept += len(some)
            self._told = False

    def _rows(self, some: Sequence[Body]) -> list[tuple[Any, ...]]:
        self._vault.expect((one.tenant or TENANT, one.user or "") for one in some)
        return [
            (
                one.id,
                one.at_ms,
                one.until_ms,
                one.tenant,
                self._alias(one),
                one.team or "",
                one.key_id,
                self._sealed(one),
            )
            for one in some
        ]

    def _alias(self, body: Body) -> str:
        return self._vault.subject(body.tenant or TENANT, body.user) if body.user else ""

    def _sealed(self, body: Body) -> bytes:
        return self._vault.seal(_PACK(body), Place("bodies", body.id, "body", body.tenant or TENANT, body.user or ""))

    async def find(self, id: str) -> Body | None:
        await self.flush()
        rows = await self._tables.rows("SELECT id, body FROM BODIES WHERE id = ?", id)
        return (await self._opened(rows))[0] if rows else None

    async def of(self, subject: str) -> list[Body]:
        await self.flush()
        found: list[Body] = []
        after = ""
        sql = f"SELECT id, body FROM BODIES WHERE subject = ? AND id > ? ORDER BY id LIMIT {PAGE}"
        while rows := await self._tables.rows(sql, subject, after):
            found += await self._opened(rows)
            after = rows[-1][0]
        return found

    async def _opened(self, rows: Sequence[Any]) -> list[Body]:
        return await asyncio.to_thread(lambda: [self._one(id, bytes(sealed)) for id, sealed in rows])

    def _one(self, id: str, sealed: bytes) -> Body:
        try:
            return _BODY.decode(self._vault.unseal(sealed, Place("bodies", id, "body")))
        except Erased:
            raise
        except ValueError as wrong:
            raise ValueError(f"what was kept of call {id}: {wrong}") from None

    async def forget_of(self, subject: str) -> int:
        await self.flush()
        return await self._tables.changed("DELETE FROM BODIES WHERE subject = ?", subject)

    async def forget(self, before_ms: int, most: int) -> int:
        sql = "DELETE FROM BODIES WHERE id IN (SELECT id FROM BODIES WHERE until_ms < ? ORDER BY until_ms LIMIT ?)"
        return await self._tables.changed(sql, before_ms, most)

    async def flush(self) -> None:
        if self._moving is not None and not self._moving.done():
            await asyncio.wait([self._moving])

    async def aclose(self) -> None:
        """What waits has had its chance."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_S):
                await self.flush()
        if self._moving is not None:
            self._moving.cancel()
            await asyncio.wait([self._moving])
        self.dropped += len(self._waiting)


def _size(body: Body) -> int:
    return len(body.request or b"") + len(body.reply or b"") + 500
