"""Two processes on one Valkey: what one of them finds out about a target the other knows within a second."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.clock import now_s
from tests.e2e.processes import Gateway, gateway, provider
from tests.valkey import Valkey

CONFIG = """
logs: {{calls: false}}
limits: {{loops: {{policy: "off"}}}}
budgets: {{default_day: 0}}
storage: {{valkey: "{valkey}"}}
upstream: {{breaker: {{open_for: 10m}}, retry: {{base_s: 0.01}}}}
providers:
  main: {{type: openai, base_url: "{main}"}}
  spare: {{type: scripted}}
routes:
  fast: {{targets: [{{provider: main, model: m}}, {{provider: spare, model: m, order: 2}}]}}
"""

pytestmark = pytest.mark.timeout(300)


@asynccontextmanager
async def two(folder: Path, valkey: Valkey) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """Two processes with folders of their own, before a provider that fails and one that does not."""
    for name in ("main", "one", "other"):
        (folder / name).mkdir()
    async with provider(folder / "main", status=503) as main:
        config = CONFIG.format(valkey=valkey.url, main=main.address)
        async with gateway(folder / "one", config) as one, gateway(folder / "other", config) as other:
            yield one, other


async def state(of: Gateway) -> str:
    targets = (await of.get("/admin/targets")).json
    return next(str(one["state"]) for one in targets if one["target"] == "main/m")


async def open_in(one: Gateway) -> None:
    """Five failures in a row: two calls, each of which asks three times."""
    for _ in range(2):
        assert (await one.ask()).status == 200
    assert await state(one) == "open"


async def seconds_until(there: Callable[[], object], patience_s: float = 10.0) -> float:
    began = now_s()
    while not await there():  # type: ignore[misc]
        assert now_s() - began < patience_s, "it never came"
        await asyncio.sleep(0.02)
    return now_s() - began


async def notices(of: Gateway, name: str) -> int:
    """How often the metric says that it was told."""
    found = re.search(
        rf'^tidegate_notices_total{{name="{name}"}} (\d+)', (await of.get("/metrics")).body.decode(), re.M
    )
    return int(found[1]) if found else 0


async def test_a_breaker_opened_in_one_process_is_open_in_the_other_within_a_second(
    tmp_path: Path, own_valkey: Valkey
) -> None:
    async with two(tmp_path, own_valkey) as (one, other):
        assert await state(other) == "closed"
        await open_in(one)

        async def is_open() -> bool:
            return await state(other) == "open"

        assert await seconds_until(is_open) <= 1.0
        answer = await other.ask()
        assert answer.status == 200 and answer.headers["x-tidegate-target"] == "spare/m"
        assert answer.headers["x-tidegate-attempts"] == "1", "it has asked nobody who fails"


async def test_without_the_valkey_each_goes_on_by_itself_says_so_once_and_they_agree_when_it_is_back(
    tmp_path: Path, own_valkey: Valkey
) -> None:
    async with two(tmp_path, own_valkey) as (one, other):
        await asyncio.to_thread(own_valkey.stop)

        async def both_say_so() -> bool:
            return all([await notices(each, "breakers_not_shared") for each in (one, other)])

        await seconds_until(both_say_so)
        await open_in(one)
        await asyncio.sleep(1.5)  # longer than they would need to agree, and to say it again
        assert await state(other) == "closed" and (await other.ask()).status == 200
        for each in (one, other):
            assert await notices(each, "breakers_not_shared") == 1 and each.said.count("breakers_not_shared") == 1
        await asyncio.to_thread(own_valkey.start)

        async def agree() -> bool:
            return await state(other) == "open" and all(
                [await notices(each, "breakers_shared_again") for each in (one, other)]
            )

        await seconds_until(agree)
