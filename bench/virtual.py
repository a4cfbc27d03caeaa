"""How do hours pass in minutes? A loop whose time stands still while there is anything to do, and else jumps.

All timers of the loop are in that time: sleeps, time-outs of connections, arrivals of calls. Bytes that one socket of
this process sends another over 127.0.0.1 are there when the call that sends them returns, so nothing is on its way when
nothing is to be done. What a thread does takes no time.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Jumping(selectors.DefaultSelector):
    now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        events = super().select(0)
        if not events and timeout > 0:
            self.now_s += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


class VirtualClock:
    """The same time, as Tidegate's `Clock`."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_ns(self) -> int:
        return round(self._loop.time() * 1e9)

    def wall_ns(self) -> int:
        return 1_767_225_600_000_000_000 + self.now_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(work: Any) -> Any:
    """What the coroutine function `work`, given a clock, returns; its hours take as long as its work does."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(VirtualClock(loop)))
