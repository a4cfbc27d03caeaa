"""Two processes on one PostgreSQL and one Valkey: what is said to one holds in the other, and both count as one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clock import now_s
from tests.e2e.processes import Gateway, gateway
from tests.valkey import Valkey

PEPPER = "a-pepper-that-all-machines-share-and-only-they"
CONFIG = """
logs: {{calls: false}}
limits: {{chat: [], guesses: 6, loops: {loops}}}
budgets: {{default_day: 0, velocity: {velocity}}}
storage: {{valkey: "{valkey}", database: "{database}", on_store_down: {policy}}}
auth: {{peppers: ["env:PEPPER"]}}
providers:
  main: {{type: scripted, price: {{input: 1, output: 1000}}}}
routes:
  fast: {{targets: [{{provider: main, model: m}}]}}
"""

pytestmark = pytest.mark.timeout(300)


@asynccontextmanager
async def two(
    folder: Path,
    valkey: Valkey,
    database: str,
    *,
    loops: str = '{policy: "off"}',
    velocity: str = '{policy: "off"}',
    policy: str = "local_share",
) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """With folders of their own, as on two machines."""
    config = CONFIG.format(valkey=valkey.url, database=database, loops=loops, velocity=velocity, policy=policy)
    for name in ("one", "other"):
        (folder / name).mkdir()
    async with (
        gateway(folder / "one", config, PEPPER=PEPPER) as one,
        gateway(folder / "other", config, PEPPER=PEPPER) as other,
    ):
        yield one, other


async def say(to: Gateway, path: str, method: str = "POST", **fields: Any) -> Any:
    answer = await to.begin(f"/admin/{path}", method, body=json.dumps(fields).encode() if fields else b"").answer()
    assert answer.status in (200, 201), answer.body
    return answer.json


async def status(of: Gateway, key: str, said: str = "hi", **fields: Any) -> int:
    return (await of.ask(said, headers={"authorization": f"Bearer {key}"}, **fields)).status


async def seconds_until(there: Callable[[], Awaitable[bool]], patience_s: float = 10.0) -> float:
    began = now_s()
    while not await there():
        assert now_s() - began < patience_s, "it never came"
        await asyncio.sleep(0.02)
    return now_s() - began


async def notices(of: Gateway, name: str) -> int:
    """How often the metric says that it was told."""
    page = (await of.get("/metrics")).body.decode()
    found = re.search(rf'^tidegate_notices_total{{name="{name}"}} (\d+)', page, re.M)
    return int(found[1]) if found else 0


async def test_a_key_revoked_or_a_team_disabled_through_one_is_refused_by_the_other_within_a_second(
    tmp_path: Path, valkey: Valkey, postgres: str
) -> None:
    async with two(tmp_path, valkey, postgres) as (one, other):
        await say(one, "teams", id="search")
        mine = await say(one, "keys", name="mine")
        ours = await say(one, "keys", name="ours", team_id="search")
        for key in (mine, ours):
            assert [await status(each, key["key"]) for each in (one, other)] == [200, 200]

        async def refused(key: dict[str, str]) -> bool:
            return await status(other, key["key"]) == 401

        await say(one, f"keys/{mine['id']}", "DELETE")
        assert await seconds_until(lambda: refused(mine)) <= 1.2  # and the time of a call
        await say(one, "teams/search", "DELETE")
        assert await seconds_until(lambda: refused(ours)) <= 1.2


async def test_limits_and_budgets_are_shared_and_without_the_valkey_each_has_its_share(
    tmp_path: Path, own_valkey: Valkey, postgres: str
) -> None:
    async with two(tmp_path, own_valkey, postgres) as (one, other):
        limited = (await say(one, "keys", name="a", limits=[{"of": "requests", "most": 8, "per_s": 600}]))["key"]
        bounded = (await say(one, "keys", name="b", budgets=[{"usd": 0.2, "per": "total"}]))["key"]
        answers = [await status(each, limited) for _ in range(5) for each in (one, other)]
        assert answers == [200] * 8 + [429] * 2
        # Each can cost a tenth of a dollar, and costs a hundredth or so.
        spent = [await status(each, bounded, max_tokens=100) for _ in range(20) for each in (one, other)]
        assert set(spent) == {200, 402} and spent == sorted(spent)

        fresh = (await say(one, "keys", name="c", limits=[{"of": "requests", "most": 8, "per_s": 600}]))["key"]
        assert await status(one, fresh) == await status(other, fresh) == 200  # both know the key
        await asyncio.to_thread(own_valkey.stop)
        for each in (one, other):  # a quarter of eight each
            alone = [await each.ask(headers={"authorization": f"Bearer {fresh}"}) for _ in range(4)]
            assert [answer.status for answer in alone] == [200, 200, 429, 429]
            assert alone[0].headers["x-tidegate-counting"] == "local_share"
            assert await notices(each, "counting_alone") == 1
        await asyncio.to_thread(own_valkey.start)

        async def agree() -> bool:
            return all([await notices(each, "counting_together") for each in (one, other)])

        await seconds_until(agree, 30)
        # Valkey had nothing on disk: of the six, it hears of the four that were let in meanwhile.
        again = [await one.ask(headers={"authorization": f"Bearer {fresh}"}) for _ in range(5)]
        assert [answer.status for answer in again] == [200] * 4 + [429]
        assert "x-tidegate-counting" not in again[0].headers


async def test_a_budget_that_is_spent_is_not_sold_again_without_the_valkey_nor_by_one_that_forgot(
    tmp_path: Path, own_valkey: Valkey, postgres: str
) -> None:
    async with two(tmp_path, own_valkey, postgres) as (one, other):
        bounded = (await say(one, "keys", name="b", budgets=[{"usd": 0.2, "per": "total"}]))["key"]

        async def ask_each() -> list[int]:
            return [await status(each, bounded, max_tokens=100) for each in (one, other)]

        async def is_spent() -> bool:
            return await ask_each() == [402, 402]

        await seconds_until(is_spent, 30)
        await asyncio.to_thread(own_valkey.stop)
        assert await ask_each() == [402, 402]
        await asyncio.to_thread(own_valkey.start)  # it had nothing on disk

        async def agree() -> bool:
            return all([await notices(each, "counting_together") for each in (one, other)])

        await seconds_until(agree, 30)
        assert await ask_each() == [402, 402]


async def test_a_loop_over_both_is_stopped_by_the_tenth_and_resumed_through_either(
    tmp_path: Path, valkey: Valkey, postgres: str
) -> None:
    async with two(tmp_path, valkey, postgres, loops="{wait: 10ms}") as (one, other):
        key = await say(one, "keys", name="agent")
        asked = [await status(each, key["key"], f"{at}: improve the plan") for at in range(5) for each in (one, other)]
        print(f"\na loop over two processes: stopped at request {asked.index(429) + 1}")
        assert asked == [200] * 7 + [429] * 3
        await say(other, f"keys/{key['id']}/resume")
        assert [await status(each, key["key"], "improve the plan") for each in (one, other)] == [200, 200]


async def test_who_guesses_at_both_has_no_more_guesses_than_one_more(
    tmp_path: Path, valkey: Valkey, postgres: str
) -> None:
    async with two(tmp_path, valkey, postgres) as (one, other):
        guessed = [await status(each, "tg_live_no_key_000000") for _ in range(6) for each in (one, other)]
        assert guessed.count(401) <= 7 and guessed[-4:] == [429] * 4


async def test_spending_is_as_fast_as_both_spend(tmp_path: Path, valkey: Valkey, postgres: str) -> None:
    velocity = "{policy: stop, times: 2, above_usd: 0.05}"
    async with two(tmp_path, valkey, postgres, velocity=velocity) as (one, other):
        key = (await say(one, "keys", name="a", budgets=[{"usd": 1.2, "per": "day"}]))["key"]
        spent = 0.0
        while True:
            answers = [
                await each.ask(headers={"authorization": f"Bearer {key}"}, max_tokens=100) for each in (one, other)
            ]
            if {answer.status for answer in answers} == {402}:
                break
            spent += sum(float(answer.headers["x-tidegate-cost-usd"]) for answer in answers if answer.status == 200)
            assert spent < 0.2
        assert all("times as fast" in answer.error["message"] for answer in answers)
        print(f"\nboth together were stopped at ${spent:.2f}, where an hour may cost $0.05")
