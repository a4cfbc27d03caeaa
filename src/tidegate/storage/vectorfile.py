"""What does the semantic cache remember over a restart, on one machine? A file beside the database, searched in memory.

It is read once, when it is opened; after that each change is made in memory, then in the file. Replies stay in the file
until one is given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidegate.core.ports import Answer, Entry, Learned
from tidegate.storage.rollups import clean
from tidegate.storage.sqlite import BUSY_S, Database, transaction
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
_STRINGS = msgspec.json.Decoder(tuple[str, ...])


class FileVectors(MemoryVectors):
    """At most `bound` entries, over all partitions; those beyond it that are in the file leave when it is opened."""

    def __init__(self, database: Database, bound: int) -> None:
        super().__init__(bound)
        self._database = database

    @classmethod
    async def open(cls, path: Path, bound: int, busy_s: float = BUSY_S) -> FileVectors:
        """Raises ConfigError when the file cannot be used."""
        database = await Database.open(path, busy_s, steps="vectorfile")
        found = cls(database, bound)
        try:
            stale = await database.read(found._read)
            await found._drop(stale)
        except BaseException:
            await database.aclose()
            raise
        return found

    def _read(self, db: sqlite3.Connection) -> list[tuple[str, str]]:
        """What does not belong here any more: partition and id."""
        stale: list[tuple[str, str]] = []
        for row in db.execute(_ENTRIES):
            partition, id, right, wrong = row[:4]
            try:
                stale += self._put(partition, _entry(*row[1:2], *row[4:]))
            except ValueError:  # another dimension than its partition has, or what was damaged
                stale.append((partition, id))
                continue
            rows = self._partitions[partition]
            rows.records[rows.at[id]] = right, wrong
        return stale

    async def reply(self, partition: str, entry: str, now_ms: int) -> bytes | None:
        if await super().reply(partition, entry, now_ms) is None:
            return None
        sql = "SELECT reply FROM entries WHERE partition = ? AND id = ?"
        row = await self._database.read(lambda db: db.execute(sql, (partition, entry)).fetchone())
        return row[0] if row else None

    async def add(self, partition: str, entry: Entry) -> Sequence[str]:
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
        await super().judge(partition, entry, right)
        sql = 'UPDATE entries SET "right" = "right" + ?, wrong = wrong + ? WHERE partition = ? AND id = ?'
        await self._database.write(lambda db: db.execute(sql, (int(right), int(not right), partition, entry)))

    async def forget(self, partition: str, entries: Sequence[str] | None = None) -> int:
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

    async def aclose(self) -> None:
        await super().aclose()
        await self._database.aclose()


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
