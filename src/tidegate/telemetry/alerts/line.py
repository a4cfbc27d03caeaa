"""What waits for one receiver? Alerts in order, sent again for a while when nobody takes them, then dropped."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tidegate.core.world import World
from tidegate.telemetry.alerts.said import Told, Way

WAITING = 1_000  # alerts
FIRST_WAIT_S = 1.0  # before it is sent again, then twice as long
LONGEST_WAIT_S = 60.0
LAST_S = 2.0  # for what still waits when Tidegate ends


class Line:
    """`events`: what its receiver wants to be told."""

    def __init__(self, way: Way, events: tuple[str, ...], deadline_s: float, world: World) -> None:
        self.name = way.name
        self.events = frozenset(events)
        self.sent = self.dropped = 0
        self.why = ""  # the last one was not taken
        self._way = way
        self._deadline_s = deadline_s
        self._world = world
        self._waiting: asyncio.Queue[tuple[Told, int]] = asyncio.Queue(WAITING)
        self._failing = False  # and said so
        self._sending = world.loop.create_task(self._run(), name="alerts")

    def take(self, told: Told) -> None:
        try:
            self._waiting.put_nowait((told, self._world.clock.now_ns()))
        except asyncio.QueueFull:
            self._drop(f"{WAITING} alerts wait already")

    async def tell(self, told: Told) -> str | None:
        """At once, and once: why it was not taken."""
        return (await self._way.tell(told))[0]

    async def _run(self) -> None:
        while True:
            told, since_ns = await self._waiting.get()
            await self._deliver(told, since_ns)
            self._waiting.task_done()

    async def _deliver(self, told: Told, since_ns: int) -> None:
        clock, wait_s = self._world.clock, FIRST_WAIT_S
        while True:
            why, again = await self._way.tell(told)
            if why is None:
                self.sent += 1
                self.why = ""
                self._failing = False
                return
            left_s = self._deadline_s - (clock.now_ns() - since_ns) / 1e9
            if not again or left_s <= 0:
                self._drop(why)
                return
            await clock.sleep(min(wait_s, left_s))
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self.why = why
        if not self._failing:  # once, until one arrives
            self._failing = True
            self._world.events.notice("alert_dropped", {"webhook": self.name, "why": why})

    async def aclose(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self._waiting.join()
        self._sending.cancel()
        await asyncio.wait([self._sending])
        self.dropped += self._waiting.qsize()
