"""Our own server, without the loop of uvicorn's, which looks only ten times a second whether it is to end."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.house import until
from tidegate import api
from tidegate.api.crowd import Crowd
from tidegate.api.edge import Application
from tidegate.api.incoming import Receive, Scope, Send
from tidegate.api.server import Server, listen


class Told:
    """An application that answers with what it was told of a request; a path /wait is answered when `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.left = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                self.left += 1
                return
        start = {"type": "http.response.start", "status": 200, "headers": []}
        if scope["path"] == "/wait":
            await send(start)
            await send({"type": "http.response.body", "body": b"[", "more_body": True})
            gone = asyncio.ensure_future(receive())
            go = asyncio.ensure_future(self.go.wait())
            await asyncio.wait([gone, go], return_when="FIRST_COMPLETED")
            self.left += gone.done()
            for task in (gone, go):
                task.cancel()
            await send({"type": "http.response.body", "body": b"]"})
            return
        told = {
            "path": scope["path"],
            "body": body.decode(),
            "headers": [name.decode() for name, _ in scope["headers"]],
        }
        await send(start)
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})


async def nothing() -> None:
    """Nobody has to be waited for."""


@asynccontextmanager
async def serving(
    application: Application,
    config: api.Config,
    *,
    crowd: Crowd | None = None,
    tls: ssl.SSLContext | None = None,
    buffer: int | None = None,
) -> AsyncIterator[str]:
    """`buffer`: so many bytes, and as many again, the system holds for who does not read; else as many as it likes."""
    sock = listen(config)
    if buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    server = Server(application, config, nothing, crowd, tls)
    server.config.load()
    await server.startup([sock])
    state = server.server_state
    try:
        yield "{}://{}:{}".format("https" if tls else "http", *sock.getsockname())
    finally:
        for one in server.servers:
            one.close()
        if isinstance(application, Told):
            application.go.set()
        for connection in list(state.connections):
            connection.transport.abort()
        await until(lambda: not state.connections and not state.tasks)
