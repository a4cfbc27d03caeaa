"""Where are a cache's vectors, on one machine? In process: exact search over float32, one array per partition."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.core.ports import Answer, Entry, Learned, Near, Vector

ROOM = 64  # rows that a new partition begins with; it doubles
ON_THE_LOOP = 4096  # rows up to which a search takes less than a switch of threads is worth
LEAVE_SHARE = 0.02  # when the bound is met, so many leave at once: finding the least useful looks at all of them


class MemoryVectors:
    """At most `bound` entries, over all partitions."""

    def __init__(self, bound: int = 100_000) -> None:
        if bound < 1:
            raise ValueError(f"the bound must be at least 1 entry, not {bound}")
        self._bound = bound
        self._partitions: dict[str, Partition] = {}
        self._learned: dict[str, Learned] = {}
        self._count = 0
        self._ticks = 0

    def __len__(self) -> int:
        return self._count

    async def nearest(self, partition: str, vector: Vector, count: int) -> Sequence[Near]:
        rows = self._partitions.get(partition)
        if rows is None:
            return ()
        query = rows.checked(vector)
        if len(rows.entries) <= ON_THE_LOOP:
            best = rows.best(query, count)
        else:
            best = await asyncio.to_thread(rows.best, query, count)
        self._ticks += 1
        return rows.near(best, query, self._ticks)

    async def answers(self, partition: str, ids: Sequence[str]) -> Sequence[Answer]:
        rows = self._partitions.get(partition)
        return [rows.answers[id].answer for id in ids if id in rows.answers] if rows else []

    async def reply(self, partition: str, entry: str, now_ms: int) -> bytes | None:
        rows = self._partitions.get(partition)
        kept = rows.entries[rows.at[entry]] if rows and entry in rows.at else None
        return kept.reply if kept is not None and now_ms < kept.until_ms else None

    async def add(self, partition: str, entry: Entry) -> Sequence[str]:
        return [id for _, id in self._put(partition, entry)]

    def _put(self, partition: str, entry: Entry) -> list[tuple[str, str]]:
        """Who left for it: partition and id."""
        rows = self._partitions.get(partition)
        if rows is None:
            rows = self._partitions[partition] = Partition(len(entry.vector) // 4)
        rows.checked(entry.vector)
        self._count -= rows.drop(entry.id)
        left = self._make_room(keep=rows) if self._count >= self._bound else []
        self._ticks += 1
        rows.put(entry, self._ticks)
        self._count += 1
        return left

    async def judge(self, partition: str, entry: str, right: bool) -> None:
        rows = self._partitions.get(partition)
        if rows and entry in rows.at:
            rows.records[rows.at[entry], 0 if right else 1] += 1

    async def forget(self, partition: str, entries: Sequence[str] | None = None) -> int:
        rows = self._partitions.get(partition)
        if rows is None:
            return 0
        gone = len(rows.entries) if entries is None else sum(map(rows.drop, entries))
        self._count -= gone
        if entries is None or not rows.entries:
            del self._partitions[partition]
        return gone

    async def purge(self, tag: str | None = None) -> int:
        return sum([await self.forget(name, ids) for name, ids in self._tagged(tag).items()])

    def _tagged(self, tag: str | None) -> dict[str, list[str]]:
        """Ids by partition. A walk: nobody is in a hurry, and an index would take room in every entry."""
        found = {
            name: [kept.id for kept in rows.entries if tag is None or tag in kept.tags]
            for name, rows in self._partitions.items()
        }
        return {name: ids for name, ids in found.items() if ids}

    async def learned(self, name: str) -> Learned | None:
        return self._learned.get(name)

    async def teach(self, name: str, learned: Learned) -> bool:
        there = self._learned.get(name)
        if learned.version != (there.version if there else 0) + 1:
            return False
        self._learned[name] = learned
        return True

    async def aclose(self) -> None:
        self._partitions.clear()

    def _make_room(self, keep: Partition) -> list[tuple[str, str]]:
        """Those leave that were not near any prompt for longest."""
        leaving = max(1, int(self._bound * LEAVE_SHARE))
        used = sorted(
            (int(tick), name, rows.entries[at].id)
            for name, rows in self._partitions.items()
            for at, tick in enumerate(rows.used[: len(rows.entries)])
        )
        left = []
        for _, name, id in used[:leaving]:
            rows = self._partitions[name]
            self._count -= rows.drop(id)
            left.append((name, id))
            if not rows.entries and rows is not keep:
                del self._partitions[name]
        return left


class _Shared(msgspec.Struct):
    """An answer, and how many entries give it."""

    answer: Answer
    entries: int = 0


class Kept(msgspec.Struct, frozen=True, gc=False):
    """An entry without its vector."""

    id: str
    answer: str
    marks: tuple[str, ...]
    reply: bytes
    until_ms: int
    tags: tuple[str, ...]


class Partition:
    """Row n of every array is `entries[n]`, in no order: where one leaves, the last takes its place."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.entries: list[Kept] = []
        self.at: dict[str, int] = {}
        self.answers: dict[str, _Shared] = {}
        self.vectors: NDArray[np.float32] = np.empty((ROOM, dimensions), np.float32)
        self.records: NDArray[np.uint16] = np.zeros((ROOM, 2), np.uint16)
        self.used: NDArray[np.int64] = np.zeros(ROOM, np.int64)

    def checked(self, vector: Vector) -> NDArray[np.float32]:
        if len(vector) != 4 * self.dimensions:
            raise ValueError(
                f"a vector of {len(vector) / 4:g} numbers among entries of {self.dimensions}: another embedding model? "
                "Empty the semantic cache, or go back to the model that filled it"
            )
        return np.frombuffer(vector, np.float32)

    def best(self, query: NDArray[np.float32], count: int) -> NDArray[np.intp]:
        """The rows of the nearest, in no order. Also called in a thread, beside changes: `near` looks again."""
        similar = self.vectors[: len(self.entries)] @ query
        if len(similar) <= count:
            return np.arange(len(similar))
        return np.argpartition(similar, -count)[-count:]

    def near(self, rows: NDArray[np.intp], query: NDArray[np.float32], tick: int) -> list[Near]:
        rows = rows[rows < len(self.entries)]
        similar = self.vectors[rows] @ query
        self.used[rows] = tick
        order = np.argsort(-similar, kind="stable")
        found = []
        for row, similarity in zip(rows[order].tolist(), similar[order].tolist(), strict=True):
            kept = self.entries[row]
            right, wrong = self.records[row].tolist()
            found.append(Near(kept.id, similarity, kept.answer, kept.marks, right, wrong))
        return found

    def put(self, entry: Entry, tick: int) -> None:
        row = len(self.entries)
        if row == len(self.vectors):
            self.vectors = np.concatenate((self.vectors, np.empty_like(self.vectors)))
            self.records = np.concatenate((self.records, np.zeros_like(self.records)))
            self.used = np.concatenate((self.used, np.zeros_like(self.used)))
        self.vectors[row] = np.frombuffer(entry.vector, np.float32)
        self.records[row] = 0
        self.used[row] = tick
        self.answers.setdefault(entry.answer.id, _Shared(entry.answer)).entries += 1
        self.entries.append(Kept(entry.id, entry.answer.id, entry.marks, entry.reply, entry.until_ms, entry.tags))
        self.at[entry.id] = row

    def drop(self, id: str) -> int:
        """How many there were with this id: one or none."""
        row = self.at.pop(id, None)
        if row is None:
            return 0
        shared = self.answers[self.entries[row].answer]
        shared.entries -= 1
        if not shared.entries:
            del self.answers[shared.answer.id]
        last = self.entries.pop()
        end = len(self.entries)
        if row != end:
            self.entries[row] = last
            self.at[last.id] = row
            for one in (self.vectors, self.records, self.used):
                one[row] = one[end]
        return 1
