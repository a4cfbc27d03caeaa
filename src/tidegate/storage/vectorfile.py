"""What does the semantic cache remember over a restart, on one machine? A file beside the database, searched in memory.

It is read once, when it is opened; after that each change is made in memory, then in the file. Replies stay in the file
until one is given. A long file is read while calls are answered: until it is here, nothing is near to anything.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from tidegate.core.ports import Answer, Entry, Learned
from tidegate.storage.rollups import clean
from tidegate.storage.sqlite.file import BUSY_S, Database, transaction
from tidegate.storage.vectors import MemoryVectors, Partition

_ENTRIES = """
SELECT e.partition, e.id, e."right", e.wrong, e.vector, e.marks, e.until_ms, e.tags, e.answer,
    a.digest, a.sketch, a.marks
FROM entries e JOIN answers a ON a.partition = e.partition AND a.id = e.answer ORDER BY e.place
"""
_ADD = (
    "INSERT INTO entries (partition, id, answer, marks, tags, vector, until_ms, reply) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ORPHANS = """
DELETE FROM answers WHERE partition = ?1 AND id = ?2
AND NOT EXISTS (SELECT 1 FROM entries WHERE partition = ?1 AND answer = ?2)
"""
_TEACH = """
INSERT INTO learned (name, version, state) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET version = ?2, state = ?3 WHERE version = ?2 - 1
"""
QUICK_S = 0.25  # a start waits so long for what is read; more of it comes while calls are answered
_STRINGS = msgspec.json.Decoder(tuple[str, ...])


class FileVectors(MemoryVectors):
    """At most `bound` entries, over all partitions; those beyond it that are in the file leave when it is opened."""

    def __init__(self, database: Database, bound: int) -> None:
        super().__init__(bound)
        self._database = database
        self._reading = asyncio.get_running_loop().create_task(self._load(), name="read the vectors")

    @classmethod
    async def open(cls, path: Path, bound: int, busy_s: float = BUSY_S) -> FileVectors:
        """Raises ConfigError when the file cannot be used."""
        found = cls(await Database.open(path, busy_s, steps="vectorfile"), bound)
        await asyncio.wait([found._reading], timeout=QUICK_S)
        return found

    async def _load(self) -> None:
        """All of it, in a thread: nobody sees half of it. Meanwhile nothing is near, and changes wait."""
        there = MemoryVectors(self._bound)
        stale = await self._database.read(partial(_read, there))
        self._partitions, self._count, self._ticks = there._partitions, there._count, there._ticks
        await self._drop(stale)

    async def _loaded(self) -> None:
        """Raises StoreDown for a file that cannot be read."""
        if not self._reading.done():
            await asyncio.wait([self._reading])
        self._reading.result()

    async def reply(self, partition: str, entry: str, now_ms: int) -> bytes | None:
        if await super().reply(partition, entry, now_ms) is None:
            return None
        sql = "SELECT reply FROM entries WHERE partition = ? AND id = ?"
        row = await self._database.read(lambda db: db.execute(sql, (partition, entry)).fetchone())
        return row[0] if row else None

    async def add(self, partition: str, entry: Entry) -> Sequence[str]:
        await self._loaded()
        left = self._put(partition, msgspec.structs.replace(entry, reply=b""))
        answer = entry.answer

        def write(db: sqlite3.Connection) -> None:
            with transaction(db):
                _forget(db, [*left, (partition, entry.id)])
                said = (partition, answer.id, answer.digest, answer.sketch, _json(answer.marks))
                db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", said)
                kept = (partition, entry.id, answer.id, _json(entry.marks), _json(entry.tags))
                db.execute(_ADD, (*kept, entry.vector, entry.until_ms, entry.reply))

        await self._database.write(write)
        return [id for _, id in left]

    async def judge(self, partition: str, entry: str, right: bool) -> None:
        await self._loaded()
        await super().judge(partition, entry, right)
        sql = 'UPDATE entries SET "right" = "right" + ?, wrong = wrong + ? WHERE partition = ? AND id = ?'
        await self._database.write(lambda db: db.execute(sql, (int(right), int(not right), partition, entry)))

    async def forget(self, partition: str, entries: Sequence[str] | None = None) -> int:
        await self._loaded()
        rows: Partition | None = self._partitions.get(partition)
        ids = list(rows.at) if entries is None and rows is not None else entries or ()
        gone = await super().forget(partition, entries)
        await self._drop([(partition, id) for id in ids])
        return gone

    async def _drop(self, entries: Sequence[tuple[str, str]]) -> None:
        def write(db: sqlite3.Connection) -> None:
            with transaction(db):
                _forget(db, entries)

        if entries:
            await self._database.write(write)

    async def learned(self, name: str) -> Learned | None:
        sql = "SELECT version, state FROM learned WHERE name = ?"
        row = await self._database.read(lambda db: db.execute(sql, (name,)).fetchone())
        return Learned(*row) if row else None

    async def teach(self, name: str, learned: Learned) -> bool:
        def write(db: sqlite3.Connection) -> bool:
            with transaction(db):
                there = db.execute("SELECT 1 FROM learned WHERE name = ?", (name,)).fetchone()
                if (there is None) != (learned.version == 1):
                    return False
                return db.execute(_TEACH, (name, learned.version, learned.state)).rowcount == 1

        return await self._database.write(write)

    async def purge(self, tag: str | None = None) -> int:
        await self._loaded()
        return await super().purge(tag)

    async def aclose(self) -> None:
        await asyncio.wait([self._reading])
        if not self._reading.cancelled():
            self._reading.exception()  # whoever needed it was told
        await super().aclose()
        await self._database.aclose()


def _read(there: MemoryVectors, db: sqlite3.Connection) -> list[tuple[str, str]]:
    """What does not belong here any more: partition and id."""
    stale: list[tuple[str, str]] = []
    for partition, id, right, wrong, *said in db.execute(_ENTRIES):
        try:
            stale += there._put(partition, _entry(id, *said))
        except ValueError:  # another dimension than its partition has, or what was damaged
            stale.append((partition, id))
            continue
        rows = there._partitions[partition]
        rows.records[rows.at[id]] = right, wrong
    return stale


def _entry(id: str, vector: bytes, marks: str, until_ms: int, tags: str, *said: Any) -> Entry:
    """Raises ValueError."""
    answer, digest, sketch, own_marks = said
    if not vector or len(vector) % 4:
        raise ValueError("no vector")
    said_so = Answer(answer, digest, sketch, _STRINGS.decode(own_marks))
    return Entry(id, vector, said_so, _STRINGS.decode(marks), b"", until_ms, _STRINGS.decode(tags))


def _forget(db: sqlite3.Connection, entries: Iterable[tuple[str, str]]) -> None:
    """And the answers that nobody gives any more."""
    said: set[tuple[str, str]] = set()
    sql = "DELETE FROM entries WHERE partition = ? AND id = ? RETURNING answer"
    for partition, id in entries:
        said.update((partition, answer) for (answer,) in db.execute(sql, (partition, id)).fetchall())
    db.executemany(_ORPHANS, sorted(said))


def _json(texts: Sequence[str]) -> str:
    return msgspec.json.encode([clean(text) for text in texts]).decode()
