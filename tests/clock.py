"""What time is it in a test? It stands still until nothing is left to do; then it is when the next sleeper wakes."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

IDLE_S = 0.002  # of real time without anything to do: long enough for a byte on its way
BEAT_S = 0.005  # for no longer at once does a loop wait for what it has set a time for: so it knows when it had no core
STARVED_S = 0.005  # more than that is not the doing of this process
PUT_OFF = 5  # times that one jump waits for threads, or for the machine: who polls through threads is never done
TASKS = Path("/proc/self/task")
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
    """Where the loop waits when it has nothing to do: so here that is known, and how long others had the core."""

    clock: JumpClock | None = None

    def __init__(self) -> None:
        super().__init__()
        self.starved_s = 0.0  # in all: of what passed, what this thread neither used nor waited for
        self._left_s, self._left_cpu_s = time.monotonic(), time.thread_time()
        self._put_off = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        now = time.monotonic()
        self._starve((now - self._left_s) - (time.thread_time() - self._left_cpu_s))
        if timeout is not None:
            timeout = min(max(timeout, 0), BEAT_S)
        events = self._wait(timeout)
        self._left_s, self._left_cpu_s = time.monotonic(), time.thread_time()
        if timeout is not None:
            self._starve(self._left_s - now - timeout)
        return events

    def _starve(self, seconds: float) -> None:
        if seconds > STARVED_S:
            self.starved_s += seconds

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.clock is None or (timeout is not None and timeout <= IDLE_S) or not self.clock.may_jump():
            return super().select(timeout)
        before = time.monotonic()
        events = super().select(IDLE_S)
        if events:
            return events
        if self._put_off < PUT_OFF and (time.monotonic() - before > IDLE_S + STARVED_S or _at_work()):
            self._put_off += 1
            return events
        self._put_off = 0
        self.clock.jump()
        return events


def _at_work() -> bool:
    """Does another thread of this process run, wait for a core, or for a disk? On Linux; elsewhere nobody can tell."""
    own = str(threading.get_native_id())
    for task in TASKS.iterdir() if sys.platform == "linux" else ():
        with suppress(OSError):  # it has ended meanwhile
            if task.name != own and (task / "stat").read_bytes().rpartition(b") ")[2][:1] in (b"R", b"D"):
                return True
    return False


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its time, by which time-outs are told, stands still while others have the core: a busy machine is no failure."""

    def __init__(self, **options: Any) -> None:
        self.idling = _IdleSelector()
        super().__init__(self.idling, **options)

    def time(self) -> float:
        return super().time() - self.idling.starved_s


def now_s() -> float:
    """For what may not take long. Of the loop that runs: what others had of the cores is not in it."""
    return asyncio.get_running_loop().time()
