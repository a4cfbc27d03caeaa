"""The first is slow: who answers sooner, it or a second one?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tidegate.core.call import Hedge
from tidegate.core.world import World
from tidegate.upstream.attempt import Stream
from tidegate.upstream.latency import Latency
from tidegate.upstream.retry import Failure
from tidegate.upstream.window import Window

WINDOW_S = 60.0  # over which extra calls are counted

Win = Callable[[Stream], Coroutine[Any, Any, Failure | None]]


class Extra:
    """How many calls of a route were asked twice."""

    __slots__ = ("_window",)

    def __init__(self) -> None:
        self._window = Window(WINDOW_S, 2)

    def called(self, now_ns: int) -> None:
        self._window.add(now_ns, 0)

    def has_room(self, now_ns: int, share: float) -> bool:
        calls, extra = self._window.totals(now_ns)
        return extra + 1 <= calls * share

    def made(self, now_ns: int) -> None:
        self._window.add(now_ns, 1)


def patience_s(hedge: Hedge, first: Latency) -> float | None:
    """How long the first is waited for; None while nobody can say."""
    if hedge.after.quantile is None:
        return float(hedge.after)
    return first.quantile(hedge.after.quantile)


async def race(
    world: World, first: Stream, win: Win, patience: float, rival: Callable[[], Stream | None]
) -> tuple[Stream | None, Failure | None]:
    """The stream that began to answer, or why the first one did not. All others are closed when this returns."""
    running: dict[asyncio.Task[Failure | None], Stream] = {}
    winner: Stream | None = None
    failure: Failure | None = None

    def run(stream: Stream) -> None:
        running[world.nursery.spawn(win(stream), "an attempt of a hedge")] = stream

    run(first)
    waiting = world.nursery.spawn(world.clock.sleep(patience), "waits for a hedge")
    try:
        await asyncio.wait((*running, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not any(task.done() for task in running):
            second = rival()
            if second is not None:
                run(second)
        while winner is None and running:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                stream = running.pop(task)
                lost = task.result()
                if lost is None and winner is None:
                    winner = stream
                    continue
                stream.close()
                if lost is not None and (failure is None or stream is first):
                    failure = lost
    finally:
        waiting.cancel()
        for task, stream in running.items():  # they end a moment later, and hold nothing any more
            task.cancel()
            stream.outrun()
    return winner, None if winner is not None else failure
