"""What was set while it runs? Silences of alerts, the level of the log: kept in the store, so that all processes know.

Each has a time until which it holds: who is called away must not leave a silence for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate.core.errors import StoreDown
from tidegate.core.ports import Clock, Setting, Store

LOOK_S = 5.0  # how often each process looks for what others have set


class Settings:
    """`heard` are called every few seconds, and when something was set here."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, Setting] = {}
        self.heard: list[Callable[[], None]] = []

    def get(self, id: str) -> Setting | None:
        """As it is known here; None when it was never set, or its time is over."""
        found = self._known.get(id)
        return found if found is not None and found.until_ms > self._clock.wall_ns() // 1_000_000 else None

    async def every(self, prefix: str) -> list[Setting]:
        """Those that hold. Raises StoreDown."""
        await self.look()
        return [one for id in sorted(self._known) if id.startswith(prefix) and (one := self.get(id)) is not None]

    async def put(self, id: str, value: str, seconds: float, by: str) -> Setting:
        """For so long; 0 ends it. Of two at once the last one stays. Raises StoreDown."""
        now_ms = self._clock.wall_ns() // 1_000_000
        wanted = Setting(id, value, now_ms + round(seconds * 1000), by, now_ms)
        changed = None
        while changed is None:
            found = await self._store.find(Setting, id)
            if found is not None:
                changed = await self._store.change(found, value=value, until_ms=wanted.until_ms, by=by)
            else:
                try:
                    await self._store.add(wanted)
                    changed = wanted
                except ValueError:  # somebody else did, just now
                    continue
        await self.look()
        return changed

    async def look(self) -> None:
        """Raises StoreDown."""
        self._known = {one.id: one for one in await self._store.every(Setting)}
        for hear in self.heard:
            hear()

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except StoreDown:  # what is known holds on, and whoever keeps the store has told the operator
                for hear in self.heard:
                    hear()
            await asyncio.sleep(LOOK_S)
