"""A client that sends exactly the bytes a test tells it to, and reads one answer after the other."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PATIENCE_S = 30.0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error, which every one of ours has, with words that a person can use."""
        error = self.json["error"]
        assert self.headers["content-type"].startswith("application/json")
        assert len(error["message"]) > 10 and error["type"] and error["code"]
        return error


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    def ask(self, body: bytes = b"", *headers: str, path: str = "/v1/chat/completions", method: str = "POST") -> None:
        """A request as it should be, but for what the test wants."""
        lines = [f"{method} {path} HTTP/1.1", "host: tidegate", "content-type: application/json", *headers]
        if not any(header.lower().startswith(("content-length", "transfer-encoding")) for header in headers):
            lines.append(f"content-length: {len(body)}")
        self.say("\r\n".join(lines).encode("latin-1"), b"\r\n\r\n", body)

    async def answer(self, *, head: bool = False) -> Answer:
        """The next answer, whole; `head`: to a HEAD. Raises asyncio.IncompleteReadError where there is none."""
        async with asyncio.timeout(PATIENCE_S):
            start, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
            fields = (line.partition(": ") for line in lines if line)
            headers = {name.lower(): value for name, _, value in fields}
            length = int(headers.get("content-length", 0))
            chunked = headers.get("transfer-encoding") == "chunked"
            body = b"" if head else await (self._chunks() if chunked else self.reader.readexactly(length))
        return Answer(int(start.split()[1]), headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def rest(self) -> bytes:
        """Whatever else there is until the other side closes. Raises TimeoutError when it does not."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()

    def half_close(self) -> None:
        self.writer.write_eof()

    def leave(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def connected(url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=2**20, ssl=tls)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
