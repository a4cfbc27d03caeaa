"""Is it taken in the end? What nobody takes is posted again, later each time, until somebody does or it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tidegate.core.world import World

Run = Callable[[], Coroutine[Any, Any, None]]

FIRST_WAIT_S = 1.0
LAST_S = 2.0  # for what still waits when Tidegate ends


class Delivery:
    """Of one receiver. `run` is its task: it gathers, delivers, and ends when `ends` is so and nothing waits."""

    def __init__(self, world: World, run: Run, name: str, longest_wait_s: float) -> None:
        self._world = world
        self._longest_wait_s = longest_wait_s
        self._closing = asyncio.Event()
        self._sending = world.loop.create_task(run(), name=name)

    @property
    def ends(self) -> bool:
        return self._closing.is_set()

    async def pause(self, seconds: float) -> None:
        """So long, or until it ends."""
        pause = asyncio.ensure_future(self._world.clock.sleep(seconds))
        ending = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait([pause, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            ending.cancel()

    async def deliver(
        self, send: Callable[[], Awaitable[tuple[str | None, bool]]], goes_on: Callable[[int], bool]
    ) -> str | None:
        """None: it was taken; else why it was given up.

        `send` says why it was not taken, and whether that may be otherwise later; `goes_on`: after so many tries.
        """
        wait_s, tries = FIRST_WAIT_S, 0
        while True:
            why, again = await send()
            tries += 1
            if why is None or not again or not goes_on(tries) or self.ends:
                return why
            await self.pause(wait_s)
            wait_s = min(2 * wait_s, self._longest_wait_s)

    async def aclose(self) -> None:
        """What still waits has a moment."""
        self._closing.set()
        await asyncio.wait([self._sending], timeout=LAST_S)
        self._sending.cancel()
        await asyncio.wait([self._sending])
