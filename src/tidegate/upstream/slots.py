"""Is there room for one more call at this target, and who is next when there is?"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from tidegate.core.call import Priority
from tidegate.core.world import World


class Slots:
    """Calls at one target. Interactive calls go before batches, and each in the order in which they came.

    How many there may be is said by whoever asks: two routes may share a target and not its limits.
    """

    __slots__ = ("_waited", "_waiting", "shed", "taken", "waited_ns", "waits")

    def __init__(self) -> None:
        self.taken = 0
        self.shed = 0  # calls that found no room, nor a place to wait for it
        self.waits = 0  # calls that waited, until they had room or no patience
        self.waited_ns = 0  # all of them together
        self._waited = False  # somebody, ever
        self._waiting: dict[Priority, deque[asyncio.Future[None]]] = {"interactive": deque(), "batch": deque()}

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def has_room(self, most: int | None) -> bool:
        return most is None or self.taken < most

    def take(self, most: int | None) -> bool:
        if not self.has_room(most):
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """The slot goes to whoever waits longest; it is never free in between."""
        for queue in self._waiting.values() if self._waited else ():
            while queue:
                next_one = queue.popleft()
                if not next_one.done():
                    next_one.set_result(None)
                    return
        self.taken -= 1

    async def wait(self, world: World, priority: Priority, most_waiting: int, seconds: float) -> bool:
        """Whether a slot became ours in time; False at once when too many wait already."""
        if self.waiting >= most_waiting:
            self.shed += 1
            return False
        ours = world.loop.create_future()
        queue = self._waiting[priority]
        queue.append(ours)
        self._waited = True
        self.waits += 1
        began_ns = world.clock.now_ns()
        patience = world.nursery.spawn(world.clock.sleep(seconds), "waits for a slot")
        try:
            await asyncio.wait((ours, patience), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if ours.done():
                self.give_back()
            raise
        finally:
            patience.cancel()
            self.waited_ns += world.clock.now_ns() - began_ns
            with suppress(ValueError):
                queue.remove(ours)
        if not ours.done():
            self.shed += 1
        return ours.done()
