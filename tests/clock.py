"""What time is it in a test? It stands still until nothing is left to do; then it is when the next sleeper wakes."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
from typing import Any

IDLE_S = 0.002  # of real time without anything to do: long enough for a byte on its way or a thread at work
BEGINNING_NS = 1_767_225_600_000_000_000  # 2026-01-01


class JumpClock:
    """A `Clock` for tests on a `JumpingLoop`. Who polls without end (`sleep(0)` in a loop) keeps it from jumping.

    `hold()`: from now on it moves only while `advance` is awaited, and then through all that is due, in order.
    """

    def __init__(self) -> None:
        self._now_ns = BEGINNING_NS
        self._sleepers: list[tuple[int, float, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._held = False
        self._advancing = 0
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop), "a clock jumps only where it is told that nothing is left to do"
        loop.idling.clock = self

    def now_ns(self) -> int:
        return self._now_ns

    def wall_ns(self) -> int:
        return self._now_ns

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds, next(self._order))
        else:
            await asyncio.sleep(0)

    async def _sleep(self, seconds: float, order: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_ns + round(seconds * 1e9), order, waiter))
        await waiter

    def hold(self) -> None:
        self._held = True

    async def advance(self, seconds: float) -> None:
        """Returns when so much time has passed, and what was due in it has had its turn."""
        self._advancing += 1
        try:
            await self._sleep(seconds, float("inf"))  # after all others of that moment
        finally:
            self._advancing -= 1

    @property
    def sleepers(self) -> int:
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    # --- asked by the loop

    def may_jump(self) -> bool:
        while self._sleepers and self._sleepers[0][2].done():  # cancelled meanwhile
            heapq.heappop(self._sleepers)
        return bool(self._sleepers) and (not self._held or self._advancing > 0)

    def jump(self) -> None:
        self._now_ns, _, waiter = heapq.heappop(self._sleepers)
        waiter.set_result(None)


class _IdleSelector(selectors.DefaultSelector):
    """Where the loop waits when it has nothing to do: so this is where that is known."""

    clock: JumpClock | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.clock is None or (timeout is not None and timeout <= IDLE_S) or not self.clock.may_jump():
            return super().select(timeout)
        events = super().select(IDLE_S)
        if not events:
            self.clock.jump()
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self, **options: Any) -> None:
        self.idling = _IdleSelector()
        super().__init__(self.idling, **options)
