"""What is kept, where nothing can be? Everything in memory, gone with the process: for tests and for serverless."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import msgspec

from tidegate.core.ports import Clock, Closed, Key, Record, Totals
from tidegate.core.usage import UsageAsked, UsageLine
from tidegate.storage.ledger import add, tally
from tidegate.storage.rollups import Rollup, Rollups, answer

MAX_ROWS = 100_000


class MemoryStore:
    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}

    async def key(self, key_id: str) -> Key | None:
        return self._keys.get(key_id)

    async def keys(self) -> list[Key]:
        return sorted(self._keys.values(), key=lambda key: key.created_ms)

    async def add_key(self, key: Key) -> None:
        if key.id in self._keys:
            raise ValueError(f"there is a key {key.id!r} already")
        self._keys[key.id] = key

    async def revoke_key(self, key_id: str, at_ms: int) -> bool:
        key = self._keys.get(key_id)
        if key is None or key.revoked_ms is not None:
            return False
        self._keys[key_id] = msgspec.structs.replace(key, revoked_ms=at_ms)
        return True

    async def aclose(self) -> None:
        pass


class MemoryLedger:
    """The sums are kept for ever, rows as many as `max_rows`, the newest. Nothing outlives the process."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._rows: dict[str, Closed] = {}
        self._totals = Totals()
        self._rollups = Rollups()
        self._sums: dict[tuple[int, tuple[str, ...]], Rollup] = {}

    def append(self, record: Record) -> None:
        if not isinstance(record, Closed) or record.id in self._rows:
            return
        self._rows[record.id] = record
        self._totals = add(self._totals, tally(record))
        for new in self._rollups.of([record]):
            old = self._sums.get((new.hour_ms, new.names))
            sums = tuple(map(int.__add__, old.sums, new.sums)) if old else new.sums
            self._sums[new.hour_ms, new.names] = new._replace(sums=sums)
        if len(self._rows) > self._max_rows:
            del self._rows[next(iter(self._rows))]

    async def find(self, call_id: str) -> Closed | None:
        return self._rows.get(call_id)

    async def totals(self) -> Totals:
        return self._totals

    async def rows(self) -> AsyncIterator[Closed]:
        for row in list(self._rows.values()):
            yield row

    async def usage(self, asked: UsageAsked) -> list[UsageLine]:
        return answer(asked, self._sums.values())

    async def flush(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class MemoryCounters:
    """One process counts alone. What has run out is dropped when its name or its board is looked at."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, tuple[str, int]] = {}  # holder, until
        self._boards: dict[str, dict[str, tuple[bytes, int]]] = {}  # value, until

    async def lease(self, name: str, holder: str, ttl_s: float) -> bool:
        now = self._clock.now_ns()
        has = self._leases.get(name)
        if has is not None and has[0] != holder and now < has[1]:
            return False
        self._leases[name] = (holder, now + round(ttl_s * 1e9))
        return True

    async def give_back(self, name: str, holder: str) -> None:
        if self._leases.get(name, ("", 0))[0] == holder:
            del self._leases[name]

    async def note(self, board: str, name: str, value: bytes | None, ttl_s: float) -> None:
        notes = self._boards.setdefault(board, {})
        if value is None:
            notes.pop(name, None)
        else:
            notes[name] = (value, self._clock.now_ns() + round(ttl_s * 1e9))

    async def notes(self, board: str) -> Mapping[str, bytes]:
        now = self._clock.now_ns()
        live = {name: note for name, note in self._boards.get(board, {}).items() if now < note[1]}
        self._boards[board] = live
        return {name: value for name, (value, _) in live.items()}

    async def aclose(self) -> None:
        """Nothing to give back."""
