"""Whom does a run ask, where no gateway is named? One of its own, from the configuration, for as long as it takes."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from tidegate import api
from tidegate.api.server import Server, listen
from tidegate.app import build
from tidegate.cli.shared import found_here, settings
from tidegate.config import Config

LOOK_S = 0.01


class Reachable(NamedTuple):
    url: str
    key: str


class Inner(Server):
    """Ctrl-C is not for it: it ends when the run has ended."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def gateway(file: Path | None) -> AsyncIterator[Reachable]:
    """Serving on a port that nobody else knows, with a key that ends with it. Raises ConfigError."""
    found = await asyncio.to_thread(_settings, file)
    key = f"eval-{secrets.token_urlsafe(24)}"
    app = await build(found, {**os.environ, "TIDEGATE_ADMIN_KEY": key})
    try:
        socket = listen(found.api)
        server = Inner(app.edge, found.api, app.leave)
        serving = asyncio.create_task(server.serve(sockets=[socket]), name="serve the run")
        try:
            while not server.started and not serving.done():  # noqa: ASYNC110 it takes a moment, once
                await asyncio.sleep(LOOK_S)
            yield Reachable("http://{}:{}".format(*socket.getsockname()[:2]), key)
        finally:
            server.should_exit = True
            await serving
            socket.close()
    finally:
        await app.aclose()


def _settings(file: Path | None) -> Config:
    """As they are, but for how it is reached, and a line for each call among the run's own."""
    found = settings(file, found_here(), host="127.0.0.1", port=0)
    reached = msgspec.structs.replace(found.api, tls=api.Tls())
    return msgspec.structs.replace(found, api=reached, logs=msgspec.structs.replace(found.logs, calls=False))
