"""What is kept, where nothing can be? Everything in memory, gone with the process: for tests and for serverless."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from tidegate.core.ports import (
    DEFAULT_ORGANISATION,
    Bearer,
    Clock,
    Closed,
    Kept,
    Key,
    Organisation,
    Record,
    Team,
    Totals,
    User,
)
from tidegate.core.usage import UsageAsked, UsageLine
from tidegate.storage.ledger import add, tally
from tidegate.storage.rollups import Rollup, Rollups, answer

MAX_ROWS = 100_000


class MemoryStore:
    def __init__(self) -> None:
        self._kept: dict[type[Any], dict[str | None, Any]] = {Organisation: {}, Team: {}, User: {}, Key: {}}
        self._kept[Organisation][DEFAULT_ORGANISATION] = Organisation(DEFAULT_ORGANISATION, DEFAULT_ORGANISATION, 0)

    async def bearer(self, key_id: str) -> Bearer | None:
        key = self._kept[Key].get(key_id)
        if key is None:
            return None
        user = self._kept[User].get(key.user_id)
        team = self._kept[Team].get(key.team_id or (user.team_id if user else None))
        organisation = self._kept[Organisation].get(team.organisation_id if team else DEFAULT_ORGANISATION)
        return Bearer(key, user, team, organisation)

    async def find(self, kind: type[Kept], id: str) -> Kept | None:
        return self._kept[kind].get(id)

    async def every(self, kind: type[Kept]) -> list[Kept]:
        return sorted(self._kept[kind].values(), key=lambda one: one.created_ms)

    async def add(self, one: Organisation | Team | User | Key) -> None:
        if one.id in self._kept[type(one)]:
            raise ValueError(f"there is a {type(one).__name__.lower()} {one.id!r} already")
        self._kept[type(one)][one.id] = one

    async def change(self, one: Kept, **fields: Any) -> Kept | None:
        now = self._kept[type(one)].get(one.id)
        if now is None or any(getattr(now, field) != getattr(one, field) for field in fields):
            return None
        changed: Kept = msgspec.structs.replace(now, **fields)
        self._kept[type(one)][one.id] = changed
        return changed

    async def note_used(self, at_ms: Mapping[str, int]) -> None:
        for id, at in at_ms.items():
            key = self._kept[Key].get(id)
            if key is not None and (key.last_used_ms or 0) < at:
                self._kept[Key][id] = msgspec.structs.replace(key, last_used_ms=at)

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
