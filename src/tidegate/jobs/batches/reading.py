"""What is in the file of a batch? Its lines, read once: those that make no sense are told, and the rest is asked."""

from __future__ import annotations

import asyncio

from tidegate.core.batches import MOST_MISTAKES, Mistake, Question, read
from tidegate.core.ports import Batches, Clock
from tidegate.core.ports.batches import Batch

LEASE_MS = 60_000

Numbered = tuple[int, bytes]


async def take_in(store: Batches, batch: Batch, holder: str, clock: Clock) -> bool:
    """Whether it was ours to read. Begun again after a crash it comes to the same: each line has its number."""
    reading = Reading(store, batch)
    lines, part = Lines(), 0
    while not reading.over:
        now_ms = clock.wall_ns() // 1_000_000
        if not await store.take_batch(batch.id, holder, now_ms, now_ms + LEASE_MS):
            return False
        piece = await store.part(batch.source, part)
        part += 1
        await reading.take(lines.end() if piece is None else await asyncio.to_thread(lines.feed, piece))
        if piece is None:
            break
    await store.filled(batch, reading.told(), clock.wall_ns() // 1_000_000)
    return True


class Reading:
    """What was found so far."""

    def __init__(self, store: Batches, batch: Batch) -> None:
        self.over = False  # there are more lines than are asked
        self._store = store
        self._batch = batch
        self._lines = 0
        self._seen: dict[str, int] = {}
        self._mistakes: list[Mistake] = []

    async def take(self, some: list[Numbered]) -> None:
        room = self._store.config.max_lines - self._lines
        if len(some) > room:
            self.over = True
            message = f"only {self._store.config.max_lines} lines are asked (batches.max_lines)"
            self._mistakes.insert(0, Mistake(some[room][0], "too_many_lines", message))
        found = await asyncio.to_thread(_read, some[:room], self._batch.endpoint, self._seen)
        self._lines += len(found)
        self._mistakes += [one for _, one in found if isinstance(one, Mistake)]
        await self._store.fill(self._batch, found)

    def told(self) -> list[Mistake]:
        """What the batch tells of its lines."""
        if not self._lines:
            return [Mistake(None, "empty_file", "there is no line in the file")]
        return self._mistakes[:MOST_MISTAKES]


def _read(some: list[Numbered], endpoint: str, seen: dict[str, int]) -> list[tuple[int, Question | Mistake]]:
    found: list[tuple[int, Question | Mistake]] = []
    for number, text in some:
        one = read(text, number, endpoint)
        if isinstance(one, Question):
            first = seen.setdefault(one.custom_id or "", number)
            if first != number:
                message = (
                    f"the custom_id {(one.custom_id or '')[:60]!r} is that of line {first} too; each needs its own"
                )
                one = Mistake(number, "duplicate_custom_id", message, "custom_id")
        found.append((number, one))
    return found


class Lines:
    """Pieces of a file, made into lines. Those that are empty are counted and passed over."""

    def __init__(self) -> None:
        self._number = 0
        self._rest = b""

    def feed(self, piece: bytes) -> list[Numbered]:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        first, self._number = self._number + 1, self._number + len(whole)
        return [(number, text) for number, text in enumerate(whole, first) if text.strip()]

    def end(self) -> list[Numbered]:
        return [(self._number + 1, self._rest)] if self._rest.strip() else []
