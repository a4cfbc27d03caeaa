"""Somebody with a real socket who is told things by POST, or does not listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast


class Receiver:
    def __init__(self) -> None:
        self.answers: list[int] = []  # statuses, then 200
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.silent = False
        self.kind = ""  # what it calls its answers
        self.lines: list[asyncio.Transport] = []

    def connected(self) -> Connection:
        return Connection(self)


class Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._receiver.lines.append(self._transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if not end or len(body) < int(headers["content-length"]):
            return
        self._data = b""
        self._receiver.paths.append(first.split()[1])
        self._receiver.heard.append((headers, body))
        if not self._receiver.silent:
            status = self._receiver.answers.pop(0) if self._receiver.answers else 200
            kind = f"content-type: {self._receiver.kind}\r\n" if self._receiver.kind else ""
            self._transport.write(b"HTTP/1.1 %d Said\r\n%bcontent-length: 0\r\n\r\n" % (status, kind.encode()))


@asynccontextmanager
async def receiving(path: str = "") -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    server = await asyncio.get_running_loop().create_server(receiver.connected, "127.0.0.1", 0)
    try:
        yield receiver, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}"
    finally:
        server.close()
        for line in receiver.lines:  # who waits for one that is silent would wait as long as a test may take
            line.abort()
