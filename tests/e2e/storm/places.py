"""Where does it storm? Machines, and what each of them reaches PostgreSQL and Valkey through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from bench.machines import Host

from tests.e2e.processes import Gateway, gateway
from tests.valkey import Valkey

JUMPING = Path(__file__).with_name("jumping.py")


class Wall:
    """Between one machine and one server.

    `silent`: nothing passes and nothing is refused, as when packets are lost. `closed`: who knocks is turned away.
    """

    def __init__(self, leads_to: int) -> None:
        self.leads_to = leads_to
        self.port = 0
        self._refuses = False
        self._passes = asyncio.Event()
        self._passes.set()
        self._carried: set[asyncio.Task[None]] = set()

    def silent(self) -> None:
        self._passes.clear()

    def closed(self) -> None:
        self._refuses = True
        for task in self._carried:
            task.cancel()

    def open(self) -> None:
        self._refuses = False
        self._passes.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carried.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                if not self._refuses:
                    await self._between(reader, writer)
        finally:
            writer.transport.abort()
            self._carried.discard(task)

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passes.wait()
        there, away = await asyncio.open_connection("127.0.0.1", self.leads_to)
        ways = [asyncio.create_task(self._pass_on(*way)) for way in ((reader, away), (there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            away.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, away: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._passes.wait()
                away.write(data)
                await away.drain()


@asynccontextmanager
async def walls(*ports: int, at: str = "127.0.0.1") -> AsyncIterator[list[Wall]]:
    """One before each of these ports, on that address."""
    found = [Wall(port) for port in ports]
    async with AsyncExitStack() as undo:
        for wall in found:
            listener = await asyncio.start_server(wall.carry, at, 0)
            undo.callback(listener.close)
            undo.callback(wall.closed)
            wall.port = listener.sockets[0].getsockname()[1]
        yield found


class Valkeys:
    """Two servers, of which one has what the other has."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second = (Valkey(folder / name) for name in ("first", "second"))
        for one in (self.first, self.second):
            one.folder.mkdir()

    def start(self) -> None:
        self.first.start()
        self._follow()

    def fail_over(self) -> None:
        """The first dies, the second takes its place, and what was the first comes back behind it."""
        self.first.stop()
        self.second.ask("REPLICAOF", "NO", "ONE")
        self.first, self.second = self.second, self.first
        self._follow()

    def _follow(self) -> None:
        self.second.start()
        self.second.ask("REPLICAOF", "127.0.0.1", str(self.first.port))

    def follows(self) -> bool:
        return b"master_link_status:up" in self.second.ask("INFO", "replication")

    def stop(self) -> None:
        self.first.stop()
        self.second.stop()


class Machine:
    """A gateway that dies and comes back on what it had on its disk."""

    def __init__(
        self, folder: Path, config: str, valkey: Wall, database: Wall, environment: dict[str, str],
        host: Host | None = None,
    ) -> None:  # fmt: skip
        """`host`: a network of its own."""
        self.folder = folder
        self.host = host
        self.valkey = valkey
        self.database = database
        self.gateway: Gateway | None = None  # while it takes calls
        self.said = ""  # by all that were there before
        self._config = config
        self._environment = environment
        self._within = host.enter if host is not None else ()
        self._life = AsyncExitStack()
        folder.mkdir()

    async def start(self) -> None:
        """Again and again, as an orchestrator does: without its database it does not start."""
        began = time.monotonic()
        for _ in range(50):
            try:
                life = gateway(
                    self.folder, self._config, python=[str(JUMPING)], within=self._within, **self._environment
                )  # fmt: skip
                self.gateway = await self._life.enter_async_context(life)
            except AssertionError as ended:
                if "it must be there when Tidegate starts" not in str(ended):
                    raise
                await asyncio.sleep(0.2)
            else:
                print(f"         {self.folder.name} was there in {time.monotonic() - began:.1f} s", flush=True)
                return
        raise AssertionError(f"{self.folder.name} does not start")

    async def die(self) -> None:
        gateway, self.gateway = self.gateway, None
        assert gateway is not None
        await self._life.aclose()
        self.said += gateway.said

    async def end(self) -> None:
        """As an orchestrator wants it: what is under way is finished."""
        gateway, self.gateway = self.gateway, None
        assert gateway is not None
        began = time.monotonic()
        await gateway.stop()
        print(f"         {self.folder.name} ended in {time.monotonic() - began:.1f} s", flush=True)
        await self._life.aclose()
        self.said += gateway.said
