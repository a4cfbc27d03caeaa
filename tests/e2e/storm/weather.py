"""What happens in a storm? Each kind of weather comes, stays for a moment and goes; which comes next is the dice's."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from tests.e2e.storm.crowd import Crowd
from tests.e2e.storm.places import Machine, Valkeys, Wall
from tests.postgres import Server

DEADLY = ("kill -9", "rolling restart")
LULL_S = 1.5  # between two of a kind; what is there to recover does it in this time


class Weather:
    def __init__(
        self,
        machines: list[Machine],
        crowd: Crowd,
        valkeys: Valkeys,
        postgres: Server,
        clock: Path,
        dice: random.Random,
    ) -> None:
        """`clock`: the file that says by how many hours the machines' clocks are wrong."""
        self.counts: Counter[str] = Counter()
        self.raged_s = 0.0
        self._machines = machines
        self._crowd = crowd
        self._valkeys = valkeys
        self._postgres = postgres
        self._clock = clock
        self._dice = dice
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "kill -9": self._kill,
            "rolling restart": self._restart_all,
            "fail-over of Valkey": self._fail_over,
            "restart of PostgreSQL": self._restart_postgres,
            "Valkey is silent": lambda: self._part(Wall.silent, "valkey"),
            "Valkey is closed": lambda: self._part(Wall.closed, "valkey"),
            "PostgreSQL is silent": lambda: self._part(Wall.silent, "database"),
            "PostgreSQL is closed": lambda: self._part(Wall.closed, "database"),
            "packets to a server are lost": lambda: self._lose("out"),
            "packets from a server are lost": lambda: self._lose("in"),
            "a full disk": self._fill_disk,
            "reload": self._reload,
            "503": lambda: self._crowd_with(fail=0.8),
            "stalled streams": lambda: self._crowd_with(stall=0.5),
            "clients vanish": lambda: self._crowd_with(leave=0.8),
            "a clock jumps": self._jump,
        }
        if machines[0].host is None:
            self.kinds = {kind: act for kind, act in self.kinds.items() if not kind.startswith("packets")}

    async def rage(self, seconds: float, *, deadly: bool = True) -> None:
        """All kinds, in some order; and again, until the time is over. Not `deadly`: those that everybody outlives."""
        began = time.monotonic()
        kinds = [kind for kind in self.kinds if deadly or kind not in DEADLY]
        while not self.counts or time.monotonic() < began + seconds:
            for kind in self._dice.sample(kinds, len(kinds)):
                print(f"{time.monotonic() - began:6.1f} s  {kind}", flush=True)
                await self.kinds[kind]()
                self.counts[kind] += 1
                await asyncio.sleep(LULL_S)
        self.raged_s += time.monotonic() - began

    async def _kill(self) -> None:
        machine = self._dice.choice(self._machines)
        await machine.die()
        await asyncio.sleep(self._dice.uniform(0, 1))
        await machine.start()

    async def _restart_all(self) -> None:
        for machine in self._machines:
            await machine.end()
            await machine.start()

    async def _fail_over(self) -> None:
        while not await asyncio.to_thread(self._valkeys.follows):
            await asyncio.sleep(0.05)
        for machine in self._machines:
            machine.valkey.closed()
        await asyncio.to_thread(self._valkeys.fail_over)
        for machine in self._machines:
            machine.valkey.leads_to = self._valkeys.first.port
            machine.valkey.open()

    async def _restart_postgres(self) -> None:
        await asyncio.to_thread(self._postgres.stop)
        await asyncio.sleep(self._dice.uniform(0, 1))
        await asyncio.to_thread(self._postgres.start)

    async def _part(self, how: Callable[[Wall], None], what: str) -> None:
        """One machine from one of its servers."""
        wall: Wall = getattr(self._dice.choice(self._machines), what)
        how(wall)
        await asyncio.sleep(self._dice.uniform(0.5, 2))
        wall.open()

    async def _lose(self, way: str) -> None:
        """Of all that one machine and one server say to each other, one way."""
        machine = self._dice.choice(self._machines)
        wall = self._dice.choice((machine.valkey, machine.database))
        assert machine.host is not None
        await asyncio.to_thread(machine.host.part, wall.port, way)
        await asyncio.sleep(self._dice.uniform(0.5, 2))
        await asyncio.to_thread(machine.host.join, wall.port, way)

    async def _fill_disk(self) -> None:
        """No file of it may grow."""
        gateway = self._dice.choice(self._machines).gateway
        assert gateway is not None
        free = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (4096, free[1]))
        await asyncio.sleep(self._dice.uniform(0.5, 2))
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, free)

    async def _reload(self) -> None:
        for machine in self._machines:
            assert machine.gateway is not None
            os.kill(machine.gateway.pid, signal.SIGHUP)

    async def _crowd_with(self, **shares: float) -> None:
        async with AsyncExitStack() as undo:
            for name, share in shares.items():
                undo.callback(setattr, self._crowd, name, getattr(self._crowd, name))
                setattr(self._crowd, name, share)
            await asyncio.sleep(self._dice.uniform(1, 2))

    async def _jump(self) -> None:
        for hours in (self._dice.choice((-26, -1, 1, 26)), 0):
            self._clock.write_text(f"{hours}")
            await asyncio.sleep(self._dice.uniform(1.5, 2.5))  # it is read all the time
