"""Whatever counts for several processes, leases and notes behave alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.clock import JumpClock
from tests.valkey import Valkey
from tidegate.core.ports import Counters
from tidegate.storage.memory import MemoryCounters
from tidegate.storage.valkey import ValkeyCounters

PATIENCE_S = 5.0  # a machine that is busy with other tests is no failure


async def memory(clock: JumpClock, valkey: Valkey) -> Counters:
    return MemoryCounters(clock)


async def shared(clock: JumpClock, valkey: Valkey) -> Counters:
    return await ValkeyCounters.open(valkey.url, print, timeout_s=PATIENCE_S, now_us=lambda: clock.now_ns() // 1000)


ADAPTERS: dict[str, Callable[[JumpClock, Valkey], Awaitable[Counters]]] = {"memory": memory, "valkey": shared}


@pytest.fixture(params=ADAPTERS)
async def counters(request: pytest.FixtureRequest, clock: JumpClock, valkey: Valkey) -> AsyncIterator[Counters]:
    counters = await ADAPTERS[request.param](clock, valkey)
    yield counters
    await counters.aclose()


@pytest.fixture
async def clock() -> JumpClock:
    return JumpClock()


async def test_a_lease_is_one_holders_until_it_is_given_back(counters):
    assert await counters.lease("probe", "a", 10)
    assert not await counters.lease("probe", "b", 10)
    assert await counters.lease("probe", "a", 10)
    await counters.give_back("probe", "b")
    assert not await counters.lease("probe", "b", 10)
    await counters.give_back("probe", "a")
    assert await counters.lease("probe", "b", 10)


async def test_a_note_is_seen_by_all_until_it_is_taken_away(counters):
    await counters.note("breakers", "main/m", b"open", 60)
    await counters.note("breakers", "spare/m", b"half", 60)
    assert await counters.notes("breakers") == {"main/m": b"open", "spare/m": b"half"}
    await counters.note("breakers", "main/m", None, 60)
    assert await counters.notes("breakers") == {"spare/m": b"half"}
    assert await counters.notes("others") == {}


async def test_a_lease_that_has_run_out_is_free(counters, clock):
    assert await counters.lease("probe", "a", 10)
    await clock.advance(9.9)
    assert not await counters.lease("probe", "b", 10)
    await clock.advance(0.1)
    assert await counters.lease("probe", "b", 10)
    assert not await counters.lease("probe", "a", 10)


async def test_a_lease_is_renewed_by_its_holder(counters, clock):
    assert await counters.lease("probe", "a", 10)
    await clock.advance(9)
    assert await counters.lease("probe", "a", 10)
    await clock.advance(9)
    assert not await counters.lease("probe", "b", 10)


async def test_a_note_that_has_run_out_is_gone(counters, clock):
    await counters.note("breakers", "main/m", b"open: \xff\x00", 10)
    await counters.note("breakers", "spare/m", b"half", 20)
    await clock.advance(10)
    assert await counters.notes("breakers") == {"spare/m": b"half"}
    await counters.note("breakers", "main/m", b"again", 10)
    assert await counters.notes("breakers") == {"spare/m": b"half", "main/m": b"again"}


async def test_of_many_who_want_a_lease_at_once_one_has_it(counters):
    has = await asyncio.gather(*(counters.lease("probe", f"holder {at}", 10) for at in range(50)))
    assert sum(has) == 1
