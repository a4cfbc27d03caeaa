"""Who is guessing keys? An address that presented too many wrong ones waits before the next is even looked at.

Of IPv6 a whole /64 counts as one: whoever has one address of it has all. Keys that were good here lately are looked at
all the same: behind one address there may be a thousand clients, and one of them must not lock out the others.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress

from tidegate.core.addresses import neighbourhood
from tidegate.core.errors import LimitReached, StoreDown, Unauthenticated
from tidegate.core.limits import MOST, Charge, Claim, Meter, Taken
from tidegate.core.world import World

MINUTE_S = 60
MINUTE_NS = MINUTE_S * 1_000_000_000
HOUSE = "addresses"  # they belong to no organisation
REMEMBERED = 10_000  # addresses that presented a wrong key lately


class Gate:
    """Counts wrong keys only, so an address whose keys are good pays one look into a dict that is mostly empty.

    Processes that count together tell each other of each wrong key, and hear of all there were: after so many, each has
    looked at one more at most. Who comes from an address whose last wrong key is still being told waits until it is.
    """

    def __init__(self, most: int, world: World) -> None:
        self._most = most
        self._world = world
        self._clock = world.clock
        self._wrong: OrderedDict[str, tuple[int, int]] = OrderedDict()  # how many since, and since when
        self._telling: dict[str, asyncio.Task[None]] = {}  # the others, of an address

    def passing(self, address: str, *, familiar: bool) -> Gate.Passing:
        return Gate.Passing(self, address, familiar)

    def telling(self, address: str) -> asyncio.Task[None] | None:
        return self._telling.get(neighbourhood(address)) if self._telling else None

    def check(self, address: str) -> None:
        if not self._wrong:
            return
        address = neighbourhood(address)
        found = self._wrong.get(address)
        if found is None:
            return
        count, since_ns = found
        left_ns = since_ns + MINUTE_NS - self._clock.now_ns()
        if left_ns <= 0:
            del self._wrong[address]
        elif count >= self._most:
            wait_s = left_ns / 1e9
            wrong = LimitReached(
                f"{count} wrong keys came from this address within a minute; try again in {wait_s:.0f} s",
                retry_after_s=wait_s,
            )
            wrong.limit = ("caller", "guesses")
            raise wrong

    def wrong(self, address: str) -> None:
        address = neighbourhood(address)
        count, since_ns = self._wrong.get(address, (0, self._clock.now_ns()))
        self._wrong[address] = (count + 1, since_ns)
        if len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)
        if self._world.counters.together:
            told = self._world.nursery.spawn(self._count_together(address), "count a wrong key")
            self._telling[address] = told
            told.add_done_callback(lambda task: self._told(address, task))

    def _told(self, address: str, task: asyncio.Task[None]) -> None:
        if self._telling.get(address) is task:
            del self._telling[address]

    async def _count_together(self, address: str) -> None:
        charge = Charge(Meter(f"guesses:{address}", MOST, MINUTE_S), 1, 1)
        with suppress(StoreDown):
            answer = await self._world.counters.claim(Claim(f"guess:{self._world.chance.hex()}", HOUSE, [charge]))
            count, since_ns = self._wrong.get(address, (0, self._clock.now_ns()))
            if isinstance(answer, Taken):
                self._wrong[address] = (max(count, answer.used[0]), since_ns)

    class Passing:
        __slots__ = ("_address", "_familiar", "_gate")

        def __init__(self, gate: Gate, address: str, familiar: bool) -> None:
            self._gate = gate
            self._address = address
            self._familiar = familiar

        async def __aenter__(self) -> None:
            if not self._familiar:
                if (telling := self._gate.telling(self._address)) is not None:
                    await asyncio.wait({telling})  # bounded by what the counters are given
                self._gate.check(self._address)

        async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
            if isinstance(error, Unauthenticated):
                self._gate.wrong(self._address)
