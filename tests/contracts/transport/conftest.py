"""Every test here runs on both event loops, with every adapter. Another adapter is one more line in ADAPTERS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.loops import both_loops
from tests.rawserver import Server, nothing_left, serving
from tidegate.core.ports import Transport
from tidegate.providers.transport import Config, HttpTransport
from tidegate.providers.transport.aiohttp import AiohttpTransport

MAX_HEAD, MAX_BODY, MAX_PER_ORIGIN = 16 * 1024, 30_000_000, 8

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the machine's certificates take 20 ms to load

CONFIG = Config(max_head=MAX_HEAD, max_body=MAX_BODY, max_per_origin=MAX_PER_ORIGIN)

ADAPTERS: dict[str, Callable[[], Transport]] = {
    "own": lambda: HttpTransport(CONFIG, ssl_context=NO_TLS),
    "aiohttp": lambda: AiohttpTransport(CONFIG, ssl_context=NO_TLS),
}

CUT_OFF = ("reset", "protocol")  # an early end may be told as either


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return both_loops()


@pytest.fixture(params=ADAPTERS)
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    async with nothing_left():
        made = ADAPTERS[request.param]()
        yield made
        await made.aclose()
        assert made.busy == 0


@pytest.fixture
async def server(transport: Transport) -> AsyncIterator[Server]:
    async with serving() as made:
        yield made
