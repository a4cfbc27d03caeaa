"""Where are a route's lessons? In a table of its own, sealed under the key of who asked, until their time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidegate.core.ports import Erased, Heard, Lesson, Place, Subject, Vault
from tidegate.storage.personal import TENANT
from tidegate.storage.tables import Tables

GONE_MS = 86_400_000  # so long it is told that somebody was erased: whoever was away begins anew anyway
PAGE = 500
COLUMNS = "id, until_ms, subject, body"

_PACK = msgspec.msgpack.Encoder().encode
_LESSON = msgspec.msgpack.Decoder(Lesson)


class LessonStore:
    """Lessons."""

    def __init__(self, tables: Tables, vault: Vault, wall_ns: Callable[[], int]) -> None:
        self._tables = tables
        self._vault = vault
        self._wall_ns = wall_ns

    async def add(self, lessons: Sequence[Lesson]) -> list[tuple[int, str]]:
        rows = await asyncio.to_thread(self._rows, lessons)
        remove = self._tables.sql("DELETE FROM LESSONS WHERE id = ?")
        insert = self._tables.sql(f"INSERT INTO LESSONS ({COLUMNS}) VALUES (?, ?, ?, ?) RETURNING seq")

        def work(db: Any) -> list[tuple[int, str]]:
            found = []
            for row in rows:
                db.execute(remove, row[:1])
                found.append((int(db.execute(insert, row).fetchone()[0]), row[2]))
            return found

        return await self._tables.home.alter(work)

    def _rows(self, lessons: Sequence[Lesson]) -> list[tuple[Any, ...]]:
        self._vault.expect((one.tenant or TENANT, one.user or "") for one in lessons)
        return [
            (
                one.id,
                one.until_ms,
                self._vault.subject(one.tenant or TENANT, one.user) if one.user else "",
                self._vault.seal(_PACK(one), Place("lessons", one.id, "body", one.tenant or TENANT, one.user or "")),
            )
            for one in lessons
        ]

    async def after(self, seq: int, most: int) -> list[Heard]:
        rows = await self._tables.rows(
            "SELECT seq, id, subject, body FROM LESSONS WHERE seq > ? ORDER BY seq LIMIT ?", seq, most
        )
        return await asyncio.to_thread(lambda: [self._heard(*row) for row in rows])

    def _heard(self, seq: int, id: str, subject: str, body: bytes | None) -> Heard:
        return Heard(seq, subject, self._opened(id, body))

    def _opened(self, id: str, body: bytes | None) -> Lesson | None:
        """None: nobody can read it any more."""
        if body is None:
            return None
        try:
            return _LESSON.decode(self._vault.unseal(bytes(body), Place("lessons", id, "body")))
        except (Erased, ValueError):  # of what was damaged, all of whoever it was is left out
            return None

    async def of(self, subject: str) -> list[Lesson]:
        sql = f"SELECT id, body FROM LESSONS WHERE subject = ? AND body IS NOT NULL AND id > ? ORDER BY id LIMIT {PAGE}"
        found: list[Lesson] = []
        after = ""
        while rows := await self._tables.rows(sql, subject, after):
            found += await asyncio.to_thread(self._all_opened, rows)
            after = rows[-1][0]
        return found

    def _all_opened(self, rows: Sequence[tuple[str, bytes]]) -> list[Lesson]:
        return [one for id, body in rows if (one := self._opened(id, body)) is not None]

    async def forget_of(self, subject: Subject) -> int:
        remove = self._tables.sql("DELETE FROM LESSONS WHERE subject = ? AND body IS NOT NULL")
        clear = self._tables.sql("DELETE FROM LESSONS WHERE id = ?")
        insert = self._tables.sql(f"INSERT INTO LESSONS ({COLUMNS}) VALUES (?, ?, ?, NULL)")
        until_ms = self._wall_ns() // 1_000_000 + GONE_MS
        row = (f"gone {subject.alias}", until_ms, subject.alias)

        def work(db: Any) -> int:
            count = int(db.execute(remove, (subject.alias,)).rowcount)
            db.execute(clear, row[:1])
            db.execute(insert, row)
            return count

        return await self._tables.home.alter(work)

    async def forget(self, before_ms: int, most: int) -> int:
        sql = "DELETE FROM LESSONS WHERE seq IN (SELECT seq FROM LESSONS WHERE until_ms < ? ORDER BY until_ms LIMIT ?)"
        return await self._tables.changed(sql, before_ms, most)
