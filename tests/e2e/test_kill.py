"""kill -9, twenty times, under load: what a client was told is in the books, once, and costs what it cost."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.processes import Gateway, behind, gateway, kept, provider
from tidegate.core.money import Usage, nusd_per_million
from tidegate.storage.spool import MAGIC, scan

KILLS = 20
CLIENTS = 8
INPUT_USD, OUTPUT_USD = 0.1237, 0.6189  # odd ones: most sums have something to round

pytestmark = pytest.mark.timeout(120)


class Load:
    """Clients that ask one call after the other, of a gateway that is there or is not."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None
        self.there = asyncio.Event()
        self.over = False
        self.under_way = 0
        self.answered: dict[str, bool] = {}  # user → whether it was acknowledged
        self._numbers = itertools.count()
        self._dice = random.Random(7)

    async def client(self) -> None:
        while not self.over:
            await self.there.wait()
            await self._one(f"user-{next(self._numbers)}")

    async def _one(self, user: str) -> None:
        dice = self._dice
        words = " ".join(["word"] * dice.randrange(1, 30))
        # What is said slowly has its length told in advance: else a gateway that was killed after the last event takes
        # with it the end of its chunks, and the provider would not count what it had said.
        slow = dice.choice(({"between": 0.0005, "framing": "length"}, {"between": 0.002, "framing": "length"}, {}))
        script = {"text": words, "before": dice.choice((0, 0.005)), **slow}
        stream = dice.random() < 0.6
        assert self.gateway
        self.under_way += 1
        answer = await self.gateway.ask("hi there", stream=stream, user=user, metadata={"script": script})
        self.under_way -= 1
        if answer.status or answer.body:
            assert answer.status == 200, answer.body
        else:
            await asyncio.sleep(0.002)  # it is being killed
        self.answered[user] = answer.acknowledged


def tear(spool: Path) -> None:
    """What is left when a process dies in the middle of writing a record: its payload, without its head."""
    newest = max(spool.glob("*.seg"))
    data = bytearray(newest.read_bytes())
    found = scan(bytes(data))
    end = found.frames[-1].end if found.frames else len(MAGIC)
    data[end + 8 : end + 40] = b"half of what was to be said.... "
    newest.write_bytes(data)


async def test_twenty_kills_under_load(tmp_path: Path) -> None:
    load = Load()
    began = time.monotonic()
    torn = repaired = under_way = 0
    async with provider(tmp_path) as main:
        config = behind(main, f"{{input: {INPUT_USD}, output: {OUTPUT_USD}}}", "logs: {calls: false}")
        clients = [asyncio.create_task(load.client()) for _ in range(CLIENTS)]
        try:
            for _ in range(KILLS):
                async with gateway(tmp_path, config) as tidegate:
                    load.gateway = tidegate
                    load.there.set()
                    await asyncio.sleep(random.uniform(0.1, 0.6))
                    under_way += load.under_way
                    load.there.clear()
                    await tidegate.kill()
                    repaired += tidegate.said.count("spool_repaired")
                if random.random() < 0.3:
                    tear(tidegate.data / "spool")
                    torn += 1
            load.over = True
            async with gateway(tmp_path, config) as tidegate:
                load.gateway = tidegate
                load.there.set()
                await asyncio.wait(clients)
                await tidegate.stop()
                repaired += tidegate.said.count("spool_repaired")
        finally:
            for client in clients:
                client.cancel()
        for client in clients:
            client.result()
        served = main.lines()
    rows, totals = await kept(tmp_path / "data")

    by_user = {row.user: row for row in rows}
    assert len(by_user) == len(rows) == len({row.id for row in rows}), "a call has two rows"
    outcomes = Counter(row.outcome for row in rows)
    assert outcomes.keys() == {"ok", "interrupted"}
    acknowledged = [user for user, good in load.answered.items() if good]
    assert all(by_user[user].outcome == "ok" for user in acknowledged)
    usages = {line["user"]: line["usage"] for line in served}
    assert len(usages) == len(served), "a call was bought twice"
    assert usages.keys() <= by_user.keys(), "a call went upstream before it was opened"

    price_in, price_out = nusd_per_million(INPUT_USD), nusd_per_million(OUTPUT_USD)
    served_nusd = 0
    for row in rows:
        if row.outcome == "ok":
            usage = Usage(input=usages[row.user]["prompt_tokens"], output=usages[row.user]["completion_tokens"])
            cost = (usage.input * price_in + usage.output * price_out + 500_000) // 1_000_000
            assert (row.usage, row.cost_nusd) == ({"input": usage.input, "output": usage.output}, cost)
            served_nusd += cost
        else:
            assert row.cost_nusd is None
    closed_nusd = sum(row.cost_nusd or 0 for row in rows)
    assert closed_nusd == served_nusd == totals.cost_nusd
    assert (totals.calls, totals.unpriced) == (len(rows), outcomes["interrupted"])
    assert repaired == torn
    assert under_way > KILLS, "there was no load"
    print(
        f"\n{KILLS} kills in {time.monotonic() - began:.1f} s with {under_way} calls under way: {len(load.answered)} asked, "
        f"{len(acknowledged)} acknowledged; rows: {dict(outcomes)}; {torn} torn tails repaired; "
        f"{len(served)} served; {closed_nusd} nano-dollars in the books, {served_nusd} served"
    )
