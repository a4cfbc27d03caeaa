"""What every client asks: a real `tidegate serve` in front of the small local model and a scripted provider."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.e2e.processes import Gateway, gateway
from tidegate.providers import local

HOUSE = """
logs: {calls: false}
limits: {loops: {policy: "off"}}
budgets: {default_day: 0}
upstream: {retry: {tries: 1}, breaker: {enabled: false}}
providers:
  scripted: {type: scripted, price: {input: 1, output: 2}}
  local: {type: local, threads: 2}
routes:
  fast: {targets: [{provider: scripted, model: m}]}
  small: {targets: [{provider: local, model: MODEL}]}
""".replace("MODEL", local.MODEL)


@pytest.fixture(scope="package")
def tidegate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("tidegate")
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def stop() -> None:
            await found.stop()
            await stack.aclose()

        found: Gateway = runner.run(stack.enter_async_context(gateway(folder, HOUSE)))
        yield found
        runner.run(stop())
