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

BURST = 10.0  # extra calls that are saved up at most

Win = Callable[[Stream], Coroutine[Any, Any, Failure | None]]


class Extra:
    """How many calls of a route may be asked twice: each call earns a part of one."""

    __slots__ = ("_earned",)

    def __init__(self) -> None:
        self._earned = 0.0

    def called(self, share: float) -> None:
        self._earned = min(self._earned + share, BURST)

    def has_room(self) -> bool:
        return self._earned > 1 - 1e-9  # tenths do not add up to one

    def made(self) -> None:
        self._earned -= 1


def patience_s(hedge: Hedge, first: Latency) -> float | None:
    """How long the first is waited for; None while nobody can say."""
    if hedge.after.quantile is None:
        return float(hedge.after)
    return first.quantile(hedge.after.quantile)


async def race(
    world: World, first: Stream, win: Win, patience: float, rival: Callable[[], Coroutine[Any, Any, Stream | None]]
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
            second = await rival()
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
