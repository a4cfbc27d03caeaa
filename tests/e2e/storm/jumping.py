"""tidegate on a machine whose wall clock is wrong, by what a file says in hours: JUMPING_CLOCK names it.

In Python, for libfaketime breaks the waiting of threads: two that share an interpreter did a hundredth of their work,
and a timer beside one that is busy was late by a third of a second, which nobody could tell from a stall of ours.
On SIGUSR2 it says which tasks it has.
"""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import sys
import time

LOOK_S = 0.2  # how often the file is read
FILE = os.environ["JUMPING_CLOCK"]


class Clock:
    def __init__(self) -> None:
        self._ns, self._time_ns, self._monotonic = 0, time.time_ns, time.monotonic
        self._looked_s = -LOOK_S

    def time_ns(self) -> int:
        now_s = self._monotonic()
        if now_s - self._looked_s > LOOK_S:
            self._looked_s = now_s
            with open(FILE) as said:  # noqa: PTH123 it is read often, and this is quicker
                self._ns = int(said.read() or 0) * 3_600 * 10**9
        return self._time_ns() + self._ns

    def time(self) -> float:
        return self.time_ns() / 1e9


def tell_tasks(*_: object) -> None:
    names = sorted(task.get_name() for task in asyncio.all_tasks())
    print(f"tasks: {names}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    clock = Clock()
    time.time_ns, time.time = clock.time_ns, clock.time
    signal.signal(signal.SIGUSR2, tell_tasks)
    runpy.run_module("tidegate.cli", run_name="__main__", alter_sys=True)
