"""Does anybody know that this process is there, and does it know whether others differ? Told every ten seconds."""

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
from tidegate.core.topology import EVERY_S, Process, disagreements
from tidegate.storage.books import Notice
from tidegate.storage.processes import Processes

NO_FILE = "none"
USUAL = 6379  # port of a Valkey


class Presence:
    """Topology. One that shares nothing with anybody writes nothing, and knows of itself alone."""

    def __init__(
        self, processes: Processes, place: Place, id: str, keks: Sequence[str], kept: storage.Config,
        now_ms: Callable[[], int], notice: Notice,
    ) -> None:  # fmt: skip
        """`id`: of its spool."""
        self.differs: Sequence[str] = ()  # what is not alike in all that are there, as it was heard of last
        self._notice = notice
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
                self._compare(await self._processes.seen())
            await asyncio.sleep(EVERY_S)

    def _compare(self, there: Sequence[Process]) -> None:
        """Told when it begins, changes and ends: a release passes through some minutes of it."""
        found = disagreements(there)
        before, self.differs = self.differs, [one.what for one in found]
        if found and self.differs != before:
            self._notice("processes_differ", {"error": "; ".join(one.said for one in found)})
        elif before and not found:
            self._notice("processes_agree", {"processes": len(there)})

    async def _tell(self) -> None:
        await self._processes.tell(replace(self._own, seen_ms=self._now_ms()))


def _server(kept: storage.Config, host: str) -> str:
    """Without its password. A socket is a server of this machine, whatever the same path is on another one."""
    if kept.valkey is None:
        return ""
    try:
        found, port = urlsplit(kept.valkey.value), urlsplit(kept.valkey.value).port
    except ValueError:
        return ""  # what is wrong with it is said by who connects
    return f"{host}:{found.path}" if found.scheme == "unix" else f"{found.hostname}:{port or USUAL}"


def _fingerprint(file: Path | None) -> str:
    try:
        return fingerprint(file.read_bytes()) if file is not None else NO_FILE
    except OSError:
        return NO_FILE
