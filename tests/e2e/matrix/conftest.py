"""The bare model server, Tidegate before it, and what came of every call: made once for all tests here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.e2e.matrix.places import Dialect, Place, bare_model, house, places
from tests.e2e.processes import Gateway, gateway

Where = dict[Dialect, list[Place]]


@pytest.fixture(scope="package")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Where]:
    """The three places that a client of each dialect asks."""
    with asyncio.Runner() as runner, bare_model() as bare:
        stack = AsyncExitStack()

        async def stop() -> None:
            await tidegate.stop()
            await stack.aclose()

        started = gateway(tmp_path_factory.mktemp("matrix"), house(bare))
        tidegate: Gateway = runner.run(stack.enter_async_context(started))
        yield {"openai": places(bare, tidegate.url, "openai"), "anthropic": places(bare, tidegate.url, "anthropic")}
        runner.run(stop())
