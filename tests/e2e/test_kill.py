"""kill -9 under load, again and again: what a client was told is in the books, once, and costs what it cost.

Twenty times; TIDEGATE_KILLS=200 for more.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.processes import Gateway, behind, gateway, kept, provider
from tidegate.core.money import nusd_per_million
from tidegate.storage.segments import MAGIC, scan

KILLS = int(os.environ.get("TIDEGATE_KILLS", "20"))
CLIENTS = 8
INPUT_USD, OUTPUT_USD = 0.1237, 0.6189  # odd ones: most sums have something to round

pytestmark = pytest.mark.timeout(300 + 6 * KILLS)


class Load:
    """Clients that ask one call after the other, of a gateway that is there or is not."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None
        self.there = asyncio.Event()
        self.over = False
        self.under_way = 0
        self.answered: dict[str, bool] = {}  # user → whether it was acknowledged
        self._numbers = itertools.count()
        self._clients = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]

    async def ends(self) -> None:
        for client in self._clients:
            await client

    async def _client(self) -> None:
        while not self.over:
            await self.there.wait()
            await self._one(f"user-{next(self._numbers)}")

    async def _one(self, user: str) -> None:
        words = " ".join(["word"] * random.randrange(1, 30))
        # What is said slowly has its length told in advance: else a gateway that was killed after the last event takes
        # with it the end of its chunks, and the provider would not count what it had said.
        slow = random.choice(({"between": 0.0005, "framing": "length"}, {"between": 0.002, "framing": "length"}, {}))
        script = {"text": words, "before": random.choice((0, 0.005)), **slow}
        stream = random.random() < 0.6
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


async def suffer(folder: Path, load: Load, config: str) -> dict[str, int]:
    """Kill it again and again; at last let it end in order."""
    counts = {"under way": 0, "torn": 0, "repaired": 0}
    for last in [False] * KILLS + [True]:
        async with gateway(folder, config) as tidegate:
            load.gateway = tidegate
            load.there.set()
            await asyncio.sleep(random.uniform(0.1, 0.6))
            if last:
                load.over = True
                await load.ends()
                await tidegate.stop()
            else:
                counts["under way"] += load.under_way
                load.there.clear()
                await tidegate.kill()
            counts["repaired"] += tidegate.said.count("spool_repaired")
        spool = tidegate.data / "spool"
        if not last and random.random() < 0.3:
            tear(spool)
        # A kill can come in the middle of a record, too, and tear it by itself.
        counts["torn"] += sum(scan(segment.read_bytes()).torn > 0 for segment in spool.glob("*.seg"))
    return counts


def served_cost(usage: Mapping[str, int]) -> int:
    """Nano-dollars, by the definition: the sum over kinds, divided once, half up."""
    rates = {"prompt_tokens": nusd_per_million(INPUT_USD), "completion_tokens": nusd_per_million(OUTPUT_USD)}
    return (sum(usage[kind] * rate for kind, rate in rates.items()) + 500_000) // 1_000_000


@pytest.mark.parametrize("home", ["sqlite", "postgres"])
async def test_what_was_acknowledged_is_kept_once_and_costs_what_the_provider_served(
    tmp_path: Path, home: str, request: pytest.FixtureRequest
) -> None:
    database = request.getfixturevalue("postgres") if home == "postgres" else None
    more = "logs: {calls: false}\n" + (f"storage: {{database: '{database}'}}\n" if database else "")
    load = Load()
    began = time.monotonic()
    async with provider(tmp_path) as main:
        counts = await suffer(tmp_path, load, behind(main, f"{{input: {INPUT_USD}, output: {OUTPUT_USD}}}", more))
        served = {line["user"]: line["usage"] for line in main.lines()}
        assert len(served) == len(main.lines()), "a call was bought twice"
    rows, totals, sums = await kept(tmp_path / "data", database)
    outcomes = Counter(row.outcome for row in rows)
    acknowledged = [user for user, good in load.answered.items() if good]
    by_user = {row.user or "": row for row in rows}
    costs = {user: row.cost_nusd for user, row in by_user.items() if row.outcome == "ok"}
    print(
        f"\n{KILLS} kills in {time.monotonic() - began:.1f} s, {counts['under way']} calls under way when they came; "
        f"{counts['torn']} torn tails, {counts['repaired']} repaired\n{len(load.answered)} asked, {len(acknowledged)} "
        f"acknowledged; rows: {dict(outcomes)}; {totals.cost_nusd} nano-dollars in the books, "
        f"{sum(served_cost(served[user]) for user in costs)} served"
    )

    assert counts["under way"] > KILLS, "there was no load"
    assert counts["repaired"] == counts["torn"]
    assert len(by_user) == len(rows), "a call has two rows"
    assert outcomes.keys() == {"ok", "interrupted"}
    assert all(by_user[user].outcome == "ok" for user in acknowledged)
    assert served.keys() <= by_user.keys(), "a call went upstream before it was opened"
    assert costs == {user: served_cost(served[user]) for user in costs}
    assert all(row.cost_nusd is None for row in rows if row.outcome == "interrupted")
    assert sum(row.cost_nusd or 0 for row in rows) == totals.cost_nusd
    assert (totals.calls, totals.unpriced) == (len(rows), outcomes["interrupted"])
    assert sums == {name: getattr(totals, name) for name in sums}, "the hourly sums say something else"
