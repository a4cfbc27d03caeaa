from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.house import TWO_PROVIDERS
from tidegate.core.errors import StoreDown
from tidegate.core.limits import Charge, Claim, Full, Meter, Taken
from tidegate.storage.memory import MemoryCounters
from tidegate.storage.standin import QUIET, StandIn

BUDGET = Meter("budget", 1000, forget_s=86_400)


class Wall:
    at_ns = 10**18
    astray_ns = 0

    def now_ns(self) -> int:
        return self.at_ns

    def wall_ns(self) -> int:
        return self.at_ns + self.astray_ns

    def goes_on(self, seconds: float) -> None:
        self.at_ns += round(seconds * 1e9)


class Together(MemoryCounters):
    """Those of all processes; sometimes away."""

    away = False

    async def claim(self, claim: Claim, *, unasked: bool = False) -> Taken | Full:
        if self.away:
            raise StoreDown("away")
        return await super().claim(claim, unasked=unasked)

    async def notes(self, board: str) -> Mapping[str, bytes]:
        if self.away:
            raise StoreDown("away")
        return await super().notes(board)

    def knows(self, meter: Meter, begins_ms: int) -> bool:
        return True


def claim(id: str, amount: int, kept: int = 0) -> Claim:
    return Claim(id, "h", [Charge(BUDGET, amount, kept)])


@pytest.fixture
async def told():
    return []


@pytest.fixture
async def wall():
    return Wall()


@pytest.fixture
async def make(told, wall):
    made: list[StandIn] = []

    def make(policy: Any, share: float = 0.5) -> tuple[StandIn, Together]:
        together, alone = Together(wall), MemoryCounters(wall)
        made.append(StandIn(together, alone, wall, policy, share, lambda name, fields: told.append(name)))
        return made[-1], together

    yield make
    for one in made:
        await one.aclose()


async def looks(standin: StandIn, times: int) -> None:
    for _ in range(times):
        await standin.look()


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
    await looks(standin, QUIET)
    assert standin.standing_in is None
    assert await used(together) == (307,)
    assert told == ["counting_alone", "counting_together"]


async def test_of_a_budget_only_what_was_left_is_shared(make):
    standin, together = make("local_share", 0.5)
    await standin.claim(claim("before", 600))
    together.away = True
    assert isinstance(await standin.claim(claim("a", 201)), Full)
    assert isinstance(await standin.claim(claim("b", 200)), Taken)
    assert isinstance(await standin.claim(claim("c", 1)), Full)


HOUR_S = 3600


async def test_of_a_period_that_began_while_all_counted_together_no_ledger_is_asked(make, wall):
    standin, together = make("local_share")
    next_ms = wall.wall_ns() // 1_000_000 + HOUR_S * 1000
    assert not standin.knows(BUDGET, wall.wall_ns() // 1_000_000)
    wall.goes_on(2 * HOUR_S)
    assert not standin.knows(BUDGET, next_ms - HOUR_S * 1000), "it began before this process came"
    assert standin.knows(BUDGET, next_ms)
    together.away = True
    await standin.look()
    assert not standin.knows(BUDGET, next_ms), "what others spend meanwhile is in the ledger"
    together.away = False
    await looks(standin, QUIET)
    assert not standin.knows(BUDGET, next_ms), "it may have lost what it had"
    wall.goes_on(30)
    assert not standin.knows(BUDGET, wall.wall_ns() // 1_000_000), "clocks of machines differ"
    wall.goes_on(60)
    assert standin.knows(BUDGET, wall.wall_ns() // 1_000_000)


async def test_a_clock_that_jumps_does_not_make_a_period_known(make, wall):
    standin, _ = make("local_share")
    wall.goes_on(120)
    wall.astray_ns = round(5 * HOUR_S * 1e9)  # it was wrong at the start
    assert not standin.knows(BUDGET, wall.wall_ns() // 1_000_000 - HOUR_S * 1000)


async def test_what_others_have_spent_by_the_ledger_is_not_shared_either(make):
    standin, together = make("local_share", 0.5)
    await standin.claim(claim("before", 100))
    together.away = True
    await standin.claim(claim("first", 0))
    assert not standin.knows(BUDGET, 0)
    await standin.raise_to("h", BUDGET, 900)
    assert isinstance(await standin.claim(claim("a", 51)), Full)
    assert isinstance(await standin.claim(claim("b", 50)), Taken)


async def test_to_who_came_in_the_outage_all_that_was_spent_counts_against_its_own_share(make):
    standin, together = make("local_share", 0.5)
    together.away = True
    await standin.raise_to("h", BUDGET, 500)
    assert isinstance(await standin.claim(claim("a", 1)), Full)


async def test_a_limit_that_fills_up_again_is_shared_whole_in_each_outage(make):
    standin, together = make("local_share", 0.5)
    minute = Meter("minute", 10, per_s=60)
    await standin.claim(Claim("before", "h", [Charge(minute, 10, 10)]))
    together.away = True
    assert isinstance(await standin.claim(Claim("a", "h", [Charge(minute, 5, 5)])), Taken)


async def test_who_is_back_goes_on_alone_until_the_others_have_told_what_they_spent(make):
    standin, together = make("local_share", 0.5)
    together.away = True
    await standin.claim(claim("a", 500))
    together.away = False
    await looks(standin, QUIET - 1)
    assert isinstance(await standin.claim(claim("b", 1)), Full)
    await standin.look()
    assert isinstance(await standin.claim(claim("c", 1)), Taken)


async def test_a_call_that_was_let_in_alone_and_goes_on_is_known_to_all_when_they_are_back(make):
    standin, together = make("local_share", 0.5)
    together.away = True
    bought = claim("a", 400)
    await standin.claim(bought)
    together.away = False
    await looks(standin, QUIET)
    assert await used(together) == (400,)
    standin.settle(bought, (300,))
    await looks(standin, 1)
    assert (await used(together), await together.holds("h")) == ((300,), 0)


async def test_what_is_owed_is_told_before_a_process_ends(make):
    standin, together = make("local_share", 0.5)
    together.away = True
    await standin.claim(claim("a", 7, kept=7))
    together.away = False
    await standin.aclose()
    assert await used(together) == (7,)


async def spend(standin: StandIn, id: str, amount: int, truth: int, ledger: list[int]) -> int:
    """As a budget does: it asks the ledger for what the counters may not know."""

    async def remember() -> None:
        if not standin.knows(BUDGET, 0):
            await standin.raise_to("h", BUDGET, sum(ledger))

    await remember()
    bought = claim(id, amount)
    answer = await standin.claim(bought)
    if standin.standing_in and not standin.knows(BUDGET, 0):
        if isinstance(answer, Taken):
            standin.settle(bought, (0,))
        await remember()
        bought = claim(f"{id}:anew", amount)
        answer = await standin.claim(bought)
    if isinstance(answer, Full):
        return 0
    ledger.append(truth)
    standin.settle(bought, (truth,))
    return truth


KINDS = {"calls": 4, "takes all it can": 3, "dies": 1, "ends": 0.5, "lost": 1, "found": 1, "waits": 1.5, "forgets": 0.3}
STORIES = int(os.environ.get("TIDEGATE_STORIES", "300"))


async def story(dice: random.Random) -> tuple[int, list[str]]:
    """What was spent of the budget by one to three processes, and how."""
    many, told = dice.randint(1, 3), list[str]()
    together, ledger = Together(Wall()), list[int]()

    def begin() -> StandIn:
        return StandIn(together, MemoryCounters(Wall()), Wall(), "local_share", 1 / many, lambda name, fields: None)

    standins = [begin() for _ in range(many)]
    for step in range(30):
        at, (kind,) = dice.randrange(many), dice.choices([*KINDS], [*KINDS.values()])
        told.append(f"{kind} {at}")
        if kind == "calls":
            amount = dice.randrange(300)
            await spend(standins[at], f"{step}", amount, dice.randint(0, amount), ledger)
        elif kind == "takes all it can":
            for amount in (512, 256, 128, 64, 32, 16, 8, 4, 2, 1):
                await spend(standins[at], f"{step}:{amount}", amount, amount, ledger)
        elif kind in ("dies", "ends"):
            if kind == "dies":
                standins[at]._owed.clear()  # nobody is told
            await standins[at].aclose()
            standins[at] = begin()
        elif kind == "waits":
            for _ in range(QUIET):
                await asyncio.gather(*[each.look() for each in standins])
        else:
            together.away = kind != "found"
            if kind == "forgets":  # it had nothing on its disk
                together.drop(BUDGET.name)
        if kind in ("lost", "found", "forgets", "dies", "ends"):  # whoever is there notices within a second
            await asyncio.gather(*[each.look() for each in standins])
    for each in standins:
        await each.aclose()
    return sum(ledger), told


async def test_however_often_the_store_goes_and_processes_die_a_budget_is_never_exceeded():
    for seed in range(STORIES):
        spent, told = await story(random.Random(seed))
        assert spent <= BUDGET.most, (seed, told)


async def test_a_call_is_answered_and_its_head_says_who_counted(build_house, own_valkey):
    text = f"limits: {{default: [{{of: requests, most: 100}}], loops: {{policy: 'off'}}}}\n{TWO_PROVIDERS}"
    house = await build_house(f"storage: {{valkey: '{own_valkey.url}', valkey_timeout: 1s}}\n{text}")
    assert "x-tidegate-counting" not in (await house.ask()).headers
    await asyncio.to_thread(own_valkey.stop)
    assert [(await house.ask()).headers["x-tidegate-counting"] for _ in range(2)][-1] == "local_share"
