"""Is another process buying this just now? Then its answer is waited for, by one flight for all who ask here.

Whoever buys holds a lease under the key of the question until its answer is kept. It is not told live: who waits here
finds it when it is complete. A lease that is lost with its process is free within seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from tidegate.core.call import Event, ReplyHead
from tidegate.core.errors import StoreDown
from tidegate.core.ports import Blobs
from tidegate.core.world import World

LEASE_S = 6.0
RENEW_S = 2.0
LOOK_S = (0.005, 0.05)  # how often to look for the answer, at first and later


class Lease:
    """On buying the answer to one question."""

    __slots__ = ("_blobs", "_holder", "_key", "_name", "_renewing", "_world", "ours")

    def __init__(self, world: World, blobs: Blobs, key: bytes, holder: str) -> None:
        self._world = world
        self._blobs = blobs
        self._key = key
        self._name = f"flight:{key.hex()}"
        self._holder = holder
        self._renewing: asyncio.Task[None] | None = None
        self.ours = False

    async def take(self, until_ns: int) -> bytes | None:
        """The answer of another process, as it was stored; None: it is ours to buy, or nobody can be asked."""
        clock, wait_s = self._world.clock, LOOK_S[0]
        while clock.now_ns() < until_ns:
            try:
                self.ours = await self._world.counters.lease(self._name, self._holder, LEASE_S)
                stored = await self._blobs.get(self._key)  # after the lease: whoever gives it back has stored before
            except StoreDown:
                return None
            if stored is not None:
                return stored
            if self.ours:
                self._renewing = self._world.nursery.spawn(self._renew(), f"lease {self._holder}")
                return None
            await clock.sleep(wait_s)
            wait_s = min(2 * wait_s, LOOK_S[1])
        return None

    async def _renew(self) -> None:
        with suppress(StoreDown):
            while True:
                await self._world.clock.sleep(RENEW_S)
                await self._world.counters.lease(self._name, self._holder, LEASE_S)

    def give_back(self) -> None:
        """What was put before is there before the lease is free."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self.ours:
            self.ours = False
            self._world.nursery.spawn(self._give_back(), f"give back {self._holder}")

    async def _give_back(self) -> None:
        with suppress(StoreDown):
            await self._blobs.get(self._key)  # answers come in the order of the questions
            await self._world.counters.give_back(self._name, self._holder)


class Stored:
    """A reply that lies there already, as a source."""

    def __init__(self, head: ReplyHead, events: list[Event]) -> None:
        self.head = head
        self._events = events

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        push(self._events)

    def pause(self) -> None:
        """It is here already."""

    def resume(self) -> None:
        """It is here already."""
