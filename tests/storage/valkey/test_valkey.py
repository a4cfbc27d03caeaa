"""What is Valkey's alone: holders that die, clocks that jump, servers that are away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from tests.house import until
from tidegate.core.errors import StoreDown
from tidegate.core.limits import Charge, Claim, Full, Meter, Taken
from tidegate.storage.valkey import ValkeyCounters

PATIENCE_S = 30.0
BUDGET = Meter("budget", 1000, forget_s=86_400)
A_MINUTE = Meter("a minute", 3, per_s=60)
LONG_US = 10**12


class Time:
    def __init__(self) -> None:
        self.us = 1_767_225_600_000_000

    def __call__(self) -> int:
        return self.us

    def advance(self, seconds: float) -> None:
        self.us += round(seconds * 1e6)


@pytest.fixture
def time() -> Time:
    return Time()


Join = Callable[..., Awaitable[ValkeyCounters]]


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """Another process that counts with the others."""
    made: list[ValkeyCounters] = []

    async def join(url: str, **options: Any) -> ValkeyCounters:
        made.append(
            await ValkeyCounters.open(url, heard, **{"timeout_s": PATIENCE_S, "start_s": PATIENCE_S, **options})
        )
        return made[-1]

    yield join
    for one in made:
        await one.aclose()


def heard(name: str, fields: Mapping[str, Any]) -> None:
    """A notice."""


def claim(id: str, *charges: tuple[Meter, int], kept: int = 0) -> Claim:
    return Claim(id, "h", [Charge(meter, amount, kept) for meter, amount in charges])


def die(counters: ValkeyCounters) -> None:
    """As a process does: nothing is renewed or settled from here on."""
    counters._keeping.cancel()
    counters._held.clear()


async def test_processes_share_what_they_count(join, valkey):
    one, other = await join(valkey.url), await join(valkey.url)
    await one.claim(claim("a", (BUDGET, 600)))
    assert isinstance(await other.claim(claim("b", (BUDGET, 600))), Full)


async def test_what_a_dead_process_held_is_given_back(join, valkey, time):
    dying, living = [await join(valkey.url, now_us=time, lease_s=10) for _ in range(2)]
    await dying.claim(claim("a", (BUDGET, 1000), (A_MINUTE, 3), kept=1))
    die(dying)
    time.advance(9)
    assert isinstance(await living.claim(claim("b", (BUDGET, 999))), Full)
    time.advance(1)
    assert await living.claim(claim("b", (BUDGET, 999), (A_MINUTE, 2))) == Taken((1000, 3))
    assert await living.holds("h") == 1


async def test_what_a_living_process_holds_is_not(join, valkey):
    counters = await join(valkey.url, lease_s=0.2)
    await counters.claim(claim("a", (BUDGET, 1000)))
    began = asyncio.get_running_loop().time()
    await until(lambda: asyncio.get_running_loop().time() > began + 0.6)
    assert await counters.holds("h") == 1


async def test_a_process_that_was_taken_for_dead_can_still_tell_the_truth(join, valkey, time):
    slow, other = [await join(valkey.url, now_us=time, lease_s=10) for _ in range(2)]
    late = claim("a", (BUDGET, 900))
    await slow.claim(late)
    time.advance(20)
    assert await other.claim(claim("b", (BUDGET, 0), kept=0)) == Taken((0,))
    slow.settle(late, (300,))
    await until(lambda: not slow._untold)
    assert await other.claim(claim("c", (BUDGET, 0))) == Taken((300,))


async def test_a_clock_that_jumps_back_frees_no_window_and_locks_nobody_out(join, valkey, time):
    counters = await join(valkey.url, now_us=time)
    assert isinstance(await counters.claim(claim("a", (A_MINUTE, 3), kept=3)), Taken)
    time.advance(-3600)
    full = await counters.claim(claim("b", (A_MINUTE, 1), kept=1))
    assert 59 < full.wait_s < 61
    time.advance(full.wait_s - 1)
    assert isinstance(await counters.claim(claim("c", (A_MINUTE, 1), kept=1)), Full)
    time.advance(1)
    assert isinstance(await counters.claim(claim("d", (A_MINUTE, 3), kept=3)), Taken)


async def test_a_clock_that_was_put_right_again_frees_no_window(join, valkey, time):
    counters = await join(valkey.url, now_us=time)
    await counters.claim(claim("a", (A_MINUTE, 1), kept=1))
    time.advance(-3600)
    await counters.claim(claim("b", (A_MINUTE, 2), kept=2))
    time.advance(3600)
    assert isinstance(await counters.claim(claim("c", (A_MINUTE, 1), kept=1)), Full)


async def test_a_settlement_that_did_not_arrive_is_told_when_the_server_is_back(join, own_valkey):
    counters = await join(own_valkey.url, timeout_s=0.05)
    one = claim("a", (BUDGET, 900))
    await counters.claim(one)
    own_valkey.pause()
    with pytest.raises(StoreDown):
        await counters.holds("h")
    counters.settle(one, (250,))
    own_valkey.go_on()
    await until(lambda: not counters._untold)
    assert await counters.claim(claim("b", (BUDGET, 0))) == Taken((250,))


async def test_who_leaves_while_claiming_has_claimed_nothing(join, valkey):
    counters = await join(valkey.url)
    claiming = asyncio.ensure_future(counters.claim(claim("a", (BUDGET, 900))))
    await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.wait([claiming])
    await until(lambda: not counters._untold)
    assert await counters.claim(claim("b", (BUDGET, 1000))) == Taken((1000,))


async def test_a_claim_that_nobody_answered_is_given_back_even_if_it_was_heard(join, own_valkey):
    counters = await join(own_valkey.url, timeout_s=0.05)
    await counters.claim(claim("a", (BUDGET, 1)))
    own_valkey.pause()  # what is sent now is heard when it goes on
    with pytest.raises(StoreDown):
        await counters.claim(claim("b", (BUDGET, 900)))
    own_valkey.go_on()
    await until(lambda: not counters._untold)
    assert await counters.claim(claim("c", (BUDGET, 999))) == Taken((1000,))


async def test_all_of_a_house_has_one_hash_tag(join, valkey):
    counters = await join(valkey.url)
    await counters.claim(claim("a", (BUDGET, 1), (A_MINUTE, 1)))
    names = [word for word in valkey.ask("KEYS", "*").split(b"\r\n") if word.startswith(b"tidegate:")]
    assert names and all(name.startswith(b"tidegate:{h}:") for name in names)
