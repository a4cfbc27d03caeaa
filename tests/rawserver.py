"""A server that says exactly the bytes a test tells it to, how to ask it, and whether anything is left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tidegate.core.ports import Exchange, Request, Timeouts, TransportError

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Asked(NamedTuple):
    """A request, as it arrived."""

    line: bytes
    headers: dict[bytes, bytes]
    body: bytes


class Peer:
    """One connection, from the server's side."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number  # which connection of this server it is, from 0
        self.reader = reader
        self.writer = writer
        self.over = asyncio.Event()  # its script is done and the other side has closed

    async def request(self) -> Asked:
        """The next request, whole. Raises asyncio.IncompleteReadError when there is none."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = head[:-4].split(b"\r\n")
        headers = dict(field.split(b": ", 1) for field in fields)
        body = await self.reader.readexactly(int(headers.get(b"content-length", 0)))
        return Asked(line, headers, body)

    def say(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def dictate(self, *pieces: bytes) -> None:
        """Each piece by itself: both sides share a loop, so each arrives in a read of its own."""
        for piece in pieces:
            if self.writer.is_closing():
                raise ConnectionResetError("the other side has left")
            self.writer.write(piece)
            for _ in range(3):
                await asyncio.sleep(0)

    async def gone(self) -> None:
        """Until the other side has closed the connection."""
        with suppress(OSError):
            while await self.reader.read(65536):
                pass

    def half_close(self) -> None:
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    def close_now(self) -> None:
        """The kernel has said FIN, and refuses what comes, before this returns: nobody has had a turn to notice."""
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """RST instead of FIN."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """Plays `script` for each connection. `peers` are those that came, in order."""

    def __init__(self, listener: asyncio.Server, scheme: str) -> None:
        self.listener = listener
        self.port: int = listener.sockets[0].getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.script: Script = always()
        self.peers: list[Peer] = []


def always(*answers: bytes) -> Script:
    """Answer the first request with the first of `answers`, and so on; the last one for ever."""

    async def script(peer: Peer) -> None:
        left = list(answers or [OK])
        while True:
            await peer.request()
            peer.say(left.pop(0) if len(left) > 1 else left[0])

    return script


def once(*pieces: bytes, then: Callable[[Peer], None] = Peer.close) -> Script:
    """Answer one request with `pieces`, each by itself, and end the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.dictate(*pieces)
        then(peer)

    return script


async def silent(peer: Peer) -> None:
    """Read everything, say nothing."""
    await peer.gone()


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    tasks: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = _this_task()
        tasks.add(task)
        peer = Peer(len(server.peers), reader, writer)
        server.peers.append(peer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await server.script(peer)
                await peer.gone()
        finally:
            tasks.discard(task)
            peer.over.set()
            writer.transport.abort()

    listener = await asyncio.start_server(play, host, 0, ssl=context)
    server = Server(listener, "https" if context else "http")
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await listener.wait_closed()


def get(server: Server, path: str = "/", method: str = "GET", **timeouts: float) -> Request:
    return Request(method, server.url + path, (), timeouts=Timeouts(**timeouts))


def post(server: Server, body: bytes = b"{}", **timeouts: float) -> Request:
    headers = ((b"content-type", b"application/json"),)
    return Request("POST", server.url + "/v1/chat", headers, body, Timeouts(**timeouts))


async def whole(exchange: Exchange) -> bytes:
    body = b""
    while data := await exchange.read():
        body += data
    return body


async def failure(exchange: Exchange) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await exchange.head()
        await whole(exchange)
    exchange.close()
    return caught.value


@asynccontextmanager
async def nothing_left(seconds: float = 1.0) -> AsyncIterator[None]:
    """What was begun inside has ended on leaving: no task and no file descriptor more than before."""
    tasks, files = asyncio.all_tasks(), _files()
    yield
    tasks.add(_this_task())
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (asyncio.all_tasks() - tasks or _files() - files) and loop.time() < until:
        await asyncio.sleep(0.005)
    assert not asyncio.all_tasks() - tasks
    assert not _files() - files


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _files() -> set[str]:
    """Open internet sockets. (Event loops open others, for themselves.)"""
    if sys.platform != "linux":
        return set()
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            name = str(entry.readlink())
            if name.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(entry.name))) as copy:
                    if copy.family in (socket.AF_INET, socket.AF_INET6):
                        found.add(name)
    return found
