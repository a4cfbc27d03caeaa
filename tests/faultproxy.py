"""A wire that breaks: a TCP proxy in front of any server, which passes everything on until its fault is due.

async with breaking("127.0.0.1:8000") as wire:
    wire.fault = Fault("reset", after=b"\\n\\n", times=2, more=10)    # in the middle of the third event of a stream
    … ask wire.url …
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal, NamedTuple

Kind = Literal["cut", "reset", "stall", "half_close", "trickle"]


class Fault(NamedTuple):
    """What happens to an answer once `after` has come `times` times, and `more` bytes after that; to each one."""

    kind: Kind
    after: bytes = b""
    times: int = 0
    more: int = 0

    def due(self, said: bytes) -> int | None:
        """After which byte of what was said so far; None: not yet."""
        at = 0
        for _ in range(self.times):
            found = said.find(self.after, at)
            if found < 0:
                return None
            at = found + len(self.after)
        return at + self.more if at + self.more <= len(said) else None


class Wire:
    def __init__(self, host: str, port: int) -> None:
        self.fault: Fault | None = None
        self.url = ""
        self.broke = 0  # how often the fault has happened
        self.open: set[asyncio.Task[None]] = set()
        self._server = (host, port)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its client's side."""
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        there, away = await asyncio.open_connection(*self._server)
        up = asyncio.create_task(_pass_on(reader, away))
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._down(there, writer, up)
        finally:
            up.cancel()
            away.transport.abort()
            writer.transport.abort()
            self.open.discard(task)

    async def _down(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, up: asyncio.Task[None]) -> None:
        said, passed = b"", 0
        while data := await there.read(65536):
            said += data
            due = self.fault.due(said) if self.fault else None
            writer.write(said[passed:due])
            passed = len(said)
            await writer.drain()
            if due is not None and self.fault:
                self.broke += 1
                await self._break(self.fault.kind, said[due:], there, writer, up)
                return

    async def _break(
        self, kind: Kind, rest: bytes, there: asyncio.StreamReader, writer: asyncio.StreamWriter, up: asyncio.Task[None]
    ) -> None:
        if kind == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        elif kind == "cut":
            writer.close()
        elif kind == "trickle":
            while rest:
                for at in range(len(rest)):
                    writer.write(rest[at : at + 1])
                    await writer.drain()
                    await asyncio.sleep(0)
                rest = await there.read(65536)
        else:
            if kind == "half_close":
                writer.write_eof()
            await asyncio.wait([up])  # until the client leaves


async def _pass_on(reader: asyncio.StreamReader, away: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            away.write(data)
            await away.drain()


@asynccontextmanager
async def breaking(address: str) -> AsyncIterator[Wire]:
    """`address`: host:port of the server, or its URL."""
    host, _, port = address.rpartition("/")[2].partition(":")
    wire = Wire(host, int(port))
    listener = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        listener.close()
        for task in wire.open:
            task.cancel()
        if wire.open:
            await asyncio.wait(wire.open)
