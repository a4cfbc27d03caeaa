"""When was each key last used? Noted in memory, and written now and then, many at once."""

from __future__ import annotations

import asyncio

from tidegate.core.ports import Store, StoreDown
from tidegate.core.world import Nursery

WRITE_S = 30.0


class LastUsed:
    def __init__(self, store: Store, nursery: Nursery) -> None:
        self._store = store
        self._nursery = nursery
        self._at_ms: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def note(self, key_id: str, at_ms: int) -> None:
        self._at_ms[key_id] = at_ms
        if self._timer is None:
            self._timer = self._nursery.loop.call_later(WRITE_S, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._nursery.spawn(self.write(), "when keys were used")

    async def write(self) -> None:
        noted, self._at_ms = self._at_ms, {}
        try:
            if noted:
                await self._store.note_used(noted)
        except StoreDown:  # at the next time, with what came since
            for key_id, at_ms in noted.items():
                self.note(key_id, max(at_ms, self._at_ms.get(key_id, 0)))

    async def aclose(self) -> None:
        await self.write()
        if self._timer is not None:
            self._timer.cancel()
