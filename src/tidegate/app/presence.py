"""Does anybody know that this process is there? It says so itself, every ten seconds, where there are others."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from tidegate import __version__, storage
from tidegate.app.place import Place
from tidegate.core.canary import fingerprint
from tidegate.core.errors import StoreDown
from tidegate.core.topology import EVERY_S, Process
from tidegate.storage.processes import Processes

NO_FILE = "none"
USUAL = 6379  # port of a Valkey


class Presence:
    """Topology. One that shares nothing with anybody writes nothing, and knows of itself alone."""

    def __init__(
        self, processes: Processes, place: Place, id: str, keks: Sequence[str], kept: storage.Config,
        now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        """`id`: of its spool."""
        self._processes = processes
        self._now_ms = now_ms
        self._shares = kept.database is not None or place.of > 1
        self._telling: asyncio.Task[None] | None = None
        host = socket.gethostname()
        self._own = Process(
            id=id,
            host=host,
            pid=os.getpid(),
            worker=f"{place.number}/{place.of}",
            version=__version__,
            configuration=NO_FILE,
            keks=tuple(keks),
            counts_in=_server(kept, host),
            since_ms=now_ms(),
            seen_ms=now_ms(),
        )

    async def took_up(self, file: Path | None) -> None:
        """The configuration that stands in this file is the one in use."""
        self._own = replace(self._own, configuration=await asyncio.to_thread(_fingerprint, file))
        if self._telling is not None:
            with suppress(StoreDown):  # it is said again in a moment, and a reload needs no database
                await self._tell()

    def start(self) -> None:
        if self._shares:
            self._telling = asyncio.get_running_loop().create_task(self._run(), name="say that we are there")

    async def aclose(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            with suppress(StoreDown):
                await self._processes.leave(self._own.id)

    async def seen(self) -> list[Process]:
        if not self._shares:
            return [replace(self._own, seen_ms=self._now_ms())]
        await self._tell()
        return await self._processes.seen()

    async def _run(self) -> None:
        while True:
            with suppress(StoreDown):
                await self._tell()
            await asyncio.sleep(EVERY_S)

    async def _tell(self) -> None:
        await self._processes.tell(replace(self._own, seen_ms=self._now_ms()))


def _server(kept: storage.Config, host: str) -> str:
    """Without its password. A socket is a server of this machine, whatever the same path is on another one."""
    if kept.valkey is None:
        return ""
    found = urlsplit(kept.valkey.value)
    return f"{host}:{found.path}" if found.scheme == "unix" else f"{found.hostname}:{found.port or USUAL}"


def _fingerprint(file: Path | None) -> str:
    try:
        return fingerprint(file.read_bytes()) if file is not None else NO_FILE
    except OSError:
        return NO_FILE
