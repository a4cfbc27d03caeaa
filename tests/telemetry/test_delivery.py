"""What nobody takes is sent again, later each time, until it is taken, given up, or Tidegate ends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from tests.clock import JumpClock
from tidegate.telemetry.delivery import Delivery


class Receiver:
    """Takes nothing until it has been asked so often."""

    def __init__(self, takes_after: int, *, again: bool = True) -> None:
        self.clock = JumpClock()
        self.asked_s: list[float] = []
        self._takes_after = takes_after
        self._again = again
        self._began_ns = self.clock.now_ns()
        world: Any = SimpleNamespace(clock=self.clock, loop=asyncio.get_running_loop())
        self.delivery = Delivery(world, self._run, "a test", longest_wait_s=5)

    async def _run(self) -> None:
        while not self.delivery.ends:
            await self.delivery.pause(3600)

    async def send(self) -> tuple[str | None, bool]:
        self.asked_s.append((self.clock.now_ns() - self._began_ns) / 1e9)
        return (None if len(self.asked_s) > self._takes_after else "busy"), self._again


async def test_it_waits_twice_as_long_each_time_but_never_longer_than_the_longest():
    receiver = Receiver(takes_after=5)
    assert await receiver.delivery.deliver(receiver.send, lambda tries: True) is None
    assert receiver.asked_s == [0, 1, 3, 7, 12, 17]
    await receiver.delivery.aclose()


async def test_it_is_given_up_after_so_many_tries():
    receiver = Receiver(takes_after=100)
    assert await receiver.delivery.deliver(receiver.send, lambda tries: tries < 3) == "busy"
    assert len(receiver.asked_s) == 3
    await receiver.delivery.aclose()


async def test_what_time_does_not_mend_is_sent_once():
    receiver = Receiver(takes_after=100, again=False)
    assert await receiver.delivery.deliver(receiver.send, lambda tries: True) == "busy"
    assert receiver.asked_s == [0]
    await receiver.delivery.aclose()


async def test_at_the_end_nobody_waits_for_the_next_try():
    receiver = Receiver(takes_after=100)
    receiver.clock.hold()
    delivering = asyncio.ensure_future(receiver.delivery.deliver(receiver.send, lambda tries: True))
    while not receiver.asked_s:
        await asyncio.sleep(0)
    await receiver.delivery.aclose()
    assert await delivering == "busy"
    assert receiver.asked_s == [0, 0], "once more, as a last try"
