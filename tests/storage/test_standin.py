from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.house import TWO_PROVIDERS, until
from tidegate.core.errors import StoreDown
from tidegate.core.limits import Charge, Claim, Full, Meter, Taken
from tidegate.storage.memory import MemoryCounters
from tidegate.storage.standin import StandIn

BUDGET = Meter("budget", 1000, forget_s=86_400)


class Wall:
    def now_ns(self) -> int:
        return 10**18

    wall_ns = now_ns


class Together(MemoryCounters):
    """Those of all processes; sometimes away."""

    away = False

    async def claim(self, claim: Claim, *, unasked: bool = False) -> Taken | Full:
        if self.away:
            raise StoreDown("away")
        return await super().claim(claim, unasked=unasked)


def claim(id: str, amount: int, kept: int = 0) -> Claim:
    return Claim(id, "h", [Charge(BUDGET, amount, kept)])


@pytest.fixture
async def told():
    return []


@pytest.fixture
async def make(told):
    made: list[StandIn] = []

    def make(policy: Any, share: float = 0.5) -> tuple[StandIn, Together]:
        together = Together(Wall())
        made.append(StandIn(together, MemoryCounters(Wall()), policy, share, lambda name, fields: told.append(name)))
        return made[-1], together

    yield make
    for one in made:
        await one.aclose()


async def used(counters: MemoryCounters) -> Sequence[int]:
    return (await counters.claim(claim("look", 0))).used


async def test_while_all_is_well_nobody_stands_in(make, told):
    standin, _ = make("deny")
    assert await standin.claim(claim("a", 600)) == Taken((600,))
    assert (standin.standing_in, told) == (None, [])


async def test_nothing_is_sold_where_that_is_the_policy(make):
    standin, together = make("deny")
    together.away = True
    with pytest.raises(StoreDown):
        await standin.claim(claim("a", 1))
    assert standin.standing_in == "deny"


async def test_a_process_counts_against_its_share(make):
    standin, together = make("local_share", 0.5)
    together.away = True
    assert isinstance(await standin.claim(claim("a", 500)), Taken)
    assert isinstance(await standin.claim(claim("b", 1)), Full)


async def test_everything_passes_where_that_is_the_policy(make):
    standin, together = make("allow")
    together.away = True
    assert isinstance(await standin.claim(claim("a", 5000)), Taken)


@pytest.mark.parametrize("policy", ["local_share", "allow"])
async def test_what_was_used_meanwhile_is_added_when_the_store_is_back(make, told, policy):
    standin, together = make(policy)
    together.away = True
    bought, door = claim("a", 400), claim("b", 7, kept=7)
    await standin.claim(bought)
    await standin.claim(door)
    standin.settle(bought, (300,))
    together.away = False
    await until(lambda: standin.standing_in is None)
    assert await used(together) == (307,)
    assert told == ["counting_alone", "counting_together"]


async def test_a_call_is_answered_and_its_head_says_who_counted(build_house, own_valkey):
    text = f"limits: {{default: [{{of: requests, most: 100}}], loops: {{policy: 'off'}}}}\n{TWO_PROVIDERS}"
    house = await build_house(f"storage: {{valkey: '{own_valkey.url}', valkey_timeout: 1s}}\n{text}")
    assert "x-tidegate-counting" not in (await house.ask()).headers
    await asyncio.to_thread(own_valkey.stop)
    assert [(await house.ask()).headers["x-tidegate-counting"] for _ in range(2)][-1] == "local_share"
