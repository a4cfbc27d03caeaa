"""Whatever counts for several processes, leases and notes behave alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.clock import JumpClock
from tidegate.core.ports import Counters
from tidegate.storage.memory import MemoryCounters


async def memory(clock: JumpClock) -> Counters:
    return MemoryCounters(clock)


ADAPTERS: dict[str, Callable[[JumpClock], Awaitable[Counters]]] = {"memory": memory}


@pytest.fixture(params=ADAPTERS)
async def counters(request: pytest.FixtureRequest, clock: JumpClock) -> AsyncIterator[Counters]:
    counters = await ADAPTERS[request.param](clock)
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
