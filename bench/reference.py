"""How little can a proxy cost here? Raw ASGI on uvicorn and our own way to providers, and nothing between the two.

`python -m bench.reference PORT URL` passes every request on to URL. What Tidegate costs is told in multiples of it.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn

from tidegate.api.incoming import Receive, Scope, Send
from tidegate.core.ports import Request
from tidegate.plugins import loop_factory
from tidegate.providers.transport import HttpTransport

HEADERS = ((b"content-type", b"application/json"), (b"authorization", b"Bearer sk-mock"))


class Proxy:
    def __init__(self, url: str) -> None:
        self._url = url
        self._transport = HttpTransport()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        exchange = self._transport.send(Request("POST", self._url, HEADERS, body + message["body"]))
        try:
            head = await exchange.head()
            kept = [header for header in head.headers if header[0] != b"transfer-encoding"]
            await send({"type": "http.response.start", "status": head.status, "headers": kept})
            while piece := await exchange.read():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            exchange.close()


async def serve(port: int, url: str) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listening:
        config = uvicorn.Config(
            Proxy(url), http="httptools", ws="none", lifespan="off", access_log=False, log_level="critical",
            proxy_headers=False, server_header=False, date_header=False,
        )  # fmt: skip
        await uvicorn.Server(config).serve([listening])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(int(sys.argv[1]), sys.argv[2]))
