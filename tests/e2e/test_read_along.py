"""Two processes on one Valkey, or a cluster: what is asked at once is bought once, and each hears it as it comes.

TIDEGATE_READ_ALONG=5000 asks so often, in place of 200.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.processes import Answer, Gateway, Provider, gateway, provider
from tests.valkey import emptied

CALLS = int(os.environ.get("TIDEGATE_READ_ALONG", "200"))
QUESTIONS = 20
WORDS = [f"word {at} " for at in range(10)]
CONFIG = """
logs: {{calls: false}}
api: {{max_per_address: 10000}}
limits: {{loops: {{policy: "off"}}}}
budgets: {{default_day: 0}}
storage: {{valkey: "{valkey}", valkey_timeout: 5s}}
providers:
  main: {{type: openai, base_url: "{address}", price: {{input: 1, output: 2}}}}
routes:
  fast:
    targets: [{{provider: main, model: m}}]
    cache: {{exact: true, single_flight: true, scope: global}}
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["valkey", "cluster"])
async def url(request: pytest.FixtureRequest) -> str:
    """Of what they count in, with nothing in it."""
    return await emptied(request.param, request)


@asynccontextmanager
async def two(folder: Path, url: str, before: float, between: float) -> AsyncIterator[tuple[Provider, list[Gateway]]]:
    """With folders of their own, and nothing in common but Valkey."""
    async with AsyncExitStack() as stack:
        main = await stack.enter_async_context(provider(folder, text=WORDS, before=before, between=between))
        houses = []
        for name in ("one", "other"):
            (folder / name).mkdir()
            config = CONFIG.format(valkey=url, address=main.address)
            houses.append(await stack.enter_async_context(gateway(folder / name, config)))
        yield main, houses


def is_whole(answer: Answer) -> bool:
    return answer.acknowledged and answer.text == "".join(WORDS)


async def bought(main: Provider) -> int:
    """What was answered to its end; it is written down a moment later."""
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            while len(main.lines()) < QUESTIONS:
                await asyncio.sleep(0.02)
    return len(main.lines())


async def test_what_two_processes_are_asked_at_once_is_bought_once(tmp_path: Path, url: str) -> None:
    before = 1.0 + CALLS / 1000
    async with two(tmp_path, url, before, 0.05) as (main, houses):
        asked = [houses[at % 2].asking(f"q{at // 2 % QUESTIONS}", stream=bool(at // 2 % 3)) for at in range(CALLS)]
        answers = [await one.answer() for one in asked]
        assert sum(map(is_whole, answers)) == CALLS
        assert await bought(main) == QUESTIONS
        print(f"\n{CALLS} calls in two processes: {QUESTIONS} purchases")


async def test_whoever_leads_may_leave_and_every_follower_has_it_whole(tmp_path: Path, url: str) -> None:
    dice = random.Random(7)
    async with two(tmp_path, url, 1.0, 0.1) as (main, houses):
        leaders = [dice.choice(houses).asking(f"q{at}", stream=True) for at in range(QUESTIONS)]
        await asyncio.sleep(0.3)
        followers = [
            houses[at % 2].asking(f"q{at // 2 % QUESTIONS}", stream=bool(at // 2 % 3)) for at in range(CALLS // 2)
        ]
        for leader in leaders:
            await asyncio.sleep(dice.choice((0, 0.05, 0.1)))
            await leader.leave()
        answers = [await one.answer() for one in followers]
        assert sum(map(is_whole, answers)) == len(followers)
        print(f"\n{len(followers)} followers whole; {await bought(main)} purchases came to their end")


async def test_when_the_process_that_buys_is_killed_its_readers_are_told_and_the_next_call_buys(
    tmp_path: Path, url: str
) -> None:
    async with two(tmp_path, url, 0.1, 0.15) as (_, (one, other)):
        leader = one.asking("q", stream=True)
        await leader.heard("word 0")
        follower = other.asking("q", stream=True)
        await follower.heard("word 1")
        await one.kill()
        broken = await follower.answer()
        assert broken.error["code"] == "upstream_cut_off" and not broken.text.endswith(WORDS[-1])
        assert is_whole(await other.ask("q", stream=True))
