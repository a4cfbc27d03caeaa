"""Whatever counts for several processes, leases and notes behave alike."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.valkey import emptied
from tidegate.core.limits import MOST, Charge, Claim, Full, Meter, Taken
from tidegate.core.ports import Counters
from tidegate.storage.memory import MemoryCounters
from tidegate.storage.valkey import ValkeyCounters

LEASE_S = 1e6  # time is turned by hand here, and nobody dies
PATIENCE_S = 30.0  # a machine that is busy with other tests is no failure


class HandClock:
    """Turned by hand, and by nothing else."""

    def __init__(self) -> None:
        self._now_ns = 1_767_225_600_123_456_789

    def now_ns(self) -> int:
        return self._now_ns

    def wall_ns(self) -> int:
        return self._now_ns

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing that counts sleeps")

    def advance(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)


def ignored(name: str, fields: Mapping[str, Any]) -> None:
    """A notice."""


async def opened(clock: HandClock, url: str | None) -> Counters:
    if url is None:
        return MemoryCounters(clock)
    return await ValkeyCounters.open(
        url,
        ignored,
        timeout_s=PATIENCE_S,
        now_us=lambda: clock.now_ns() // 1000,
        lease_s=LEASE_S,
        start_s=PATIENCE_S,
    )


@pytest.fixture(params=["memory", "valkey", "cluster"])
async def counters(request: pytest.FixtureRequest, clock: HandClock) -> AsyncIterator[Counters]:
    counters = await opened(clock, None if request.param == "memory" else await emptied(request.param, request))
    yield counters
    await counters.aclose()


@pytest.fixture
async def clock() -> HandClock:
    return HandClock()


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
    clock.advance(9.9)
    assert not await counters.lease("probe", "b", 10)
    clock.advance(0.1)
    assert await counters.lease("probe", "b", 10)
    assert not await counters.lease("probe", "a", 10)


async def test_a_lease_is_renewed_by_its_holder(counters, clock):
    assert await counters.lease("probe", "a", 10)
    clock.advance(9)
    assert await counters.lease("probe", "a", 10)
    clock.advance(9)
    assert not await counters.lease("probe", "b", 10)


async def test_a_note_that_has_run_out_is_gone(counters, clock):
    await counters.note("breakers", "main/m", b"open: \xff\x00", 10)
    await counters.note("breakers", "spare/m", b"half", 20)
    clock.advance(10)
    assert await counters.notes("breakers") == {"spare/m": b"half"}
    await counters.note("breakers", "main/m", b"again", 10)
    assert await counters.notes("breakers") == {"spare/m": b"half", "main/m": b"again"}


async def test_of_many_who_want_a_lease_at_once_one_has_it(counters):
    has = await asyncio.gather(*(counters.lease("probe", f"holder {at}", 10) for at in range(50)))
    assert sum(has) == 1


# --- claims

_ids = count()


def claim(*charges: tuple[Meter, int] | tuple[Meter, int, int], house: str = "h") -> Claim:
    """Charges that are given back when their holder dies, unless a third number says what is kept."""
    return Claim(f"c{next(_ids)}", house, [Charge(*charge, *(() if len(charge) == 3 else (0,))) for charge in charges])


AT_ONCE = Meter("at_once", 2)
BUDGET = Meter("budget", 1_000_000_000, forget_s=86_400)
A_MINUTE = Meter("a minute", 3, per_s=60)


async def test_a_claim_is_charged_and_what_it_used_is_told(counters):
    assert await counters.claim(claim((BUDGET, 600_000_000), (A_MINUTE, 1))) == Taken((600_000_000, 1))
    assert await counters.claim(claim((BUDGET, 400_000_000), (A_MINUTE, 2))) == Taken((1_000_000_000, 3))


async def test_not_by_one_nano_dollar(counters):
    await counters.claim(claim((BUDGET, 999_999_999)))
    assert isinstance(await counters.claim(claim((BUDGET, 2))), Full)
    assert isinstance(await counters.claim(claim((BUDGET, 1))), Taken)


async def test_counts_are_exact_as_far_as_they_go(counters):
    huge = Meter("huge", MOST)
    await counters.claim(claim((huge, MOST - 1)))
    assert isinstance(await counters.claim(claim((huge, 2))), Full)
    assert await counters.claim(claim((huge, 1))) == Taken((MOST,))


async def test_when_one_meter_is_full_none_is_charged(counters):
    await counters.claim(claim((A_MINUTE, 3)))
    assert isinstance(await counters.claim(claim((BUDGET, 5), (A_MINUTE, 1), (AT_ONCE, 1))), Full)
    assert await counters.claim(claim((BUDGET, 1), (AT_ONCE, 1))) == Taken((1, 1))


async def test_the_one_to_wait_for_longest_is_named(counters):
    an_hour = Meter("an hour", 3, per_s=3600)
    await counters.claim(claim((A_MINUTE, 3), (an_hour, 3)))
    full = await counters.claim(claim((A_MINUTE, 1), (an_hour, 1)))
    assert (full.at, full.used) == (1, (3, 3))
    full = await counters.claim(claim((an_hour, 1), (A_MINUTE, 4), (AT_ONCE, 3)))
    assert (full.at, full.wait_s) == (1, None)  # four will never fit


async def test_after_the_wait_that_was_told_there_is_room_and_not_before(counters, clock):
    await counters.claim(claim((A_MINUTE, 1)))
    clock.advance(17.3)
    await counters.claim(claim((A_MINUTE, 2)))
    clock.advance(5)
    for amount in (1, 2):
        full = await counters.claim(claim((A_MINUTE, amount)))
        clock.advance(full.wait_s - 0.001)
        assert isinstance(await counters.claim(claim((A_MINUTE, amount))), Full)
        clock.advance(0.001)
        assert isinstance(await counters.claim(claim((A_MINUTE, amount))), Taken)


async def test_a_settled_claim_is_what_it_was_in_truth(counters):
    one = claim((BUDGET, 600_000_000), (AT_ONCE, 1), (A_MINUTE, 2))
    await counters.claim(one)
    counters.settle(one, (1_000, 0, 1))
    assert await counters.claim(claim((BUDGET, 0), (AT_ONCE, 0), (A_MINUTE, 0))) == Taken((1_000, 0, 1))


async def test_a_claim_is_settled_once(counters):
    one = claim((BUDGET, 500))
    await counters.claim(one)
    counters.settle(one, (100,))
    counters.settle(one, (300,))
    assert await counters.claim(claim((BUDGET, 0))) == Taken((100,))


async def test_what_was_refused_has_nothing_to_settle(counters):
    one = claim((BUDGET, 2_000_000_000))
    assert isinstance(await counters.claim(one), Full)
    counters.settle(one, (7,))
    assert await counters.claim(claim((BUDGET, 0))) == Taken((0,))


async def test_more_than_was_set_aside_is_booked(counters):
    one = claim((BUDGET, 500))
    await counters.claim(one)
    counters.settle(one, (1_500_000_000,))
    assert isinstance(await counters.claim(claim((BUDGET, 0))), Full)


async def test_a_window_that_has_passed_is_not_changed_by_a_late_settlement(counters, clock):
    one = claim((A_MINUTE, 3))
    await counters.claim(one)
    clock.advance(120)
    assert await counters.claim(claim((A_MINUTE, 2))) == Taken((2,))
    counters.settle(one, (0,))
    assert await counters.claim(claim((A_MINUTE, 0))) == Taken((2,))


async def test_what_is_kept_in_any_case_is_not_held_and_can_be_given_back(counters):
    door = claim((A_MINUTE, 1, 1))
    await counters.claim(door)
    assert await counters.holds("h") == 0
    counters.settle(door, (0,))
    assert await counters.claim(claim((A_MINUTE, 0))) == Taken((0,))


@pytest.mark.parametrize("meter", [BUDGET, Meter("rolling", 100, per_s=86_400)])
async def test_what_others_know_of_is_charged_as_far_as_it_was_not(counters, meter):
    await counters.claim(claim((meter, 30, 30)))
    assert await counters.raise_to("h", meter, 20) == 30
    assert await counters.raise_to("h", meter, 500) == 500
    assert await counters.claim(claim((meter, 0, 0)), unasked=True) == Taken((500,))


async def test_what_must_be_charged_is_charged_unasked(counters):
    assert await counters.claim(claim((BUDGET, 5_000_000_000, 5_000_000_000)), unasked=True) == Taken((5_000_000_000,))


async def test_holds_are_counted_until_they_are_settled(counters):
    claims = [claim((BUDGET, 1)) for _ in range(3)]
    for one in claims:
        await counters.claim(one)
    assert await counters.holds("h") == 3
    for one in claims:
        counters.settle(one, (1,))
    assert await counters.holds("h") == 0


async def test_houses_hold_for_themselves(counters):
    await counters.claim(claim((BUDGET, 1), house="a"))
    assert (await counters.holds("a"), await counters.holds("b")) == (1, 0)


async def test_of_many_at_once_no_more_is_taken_than_there_is(counters):
    rng = random.Random(6)
    amounts = [rng.randrange(1, 10_000_000) for _ in range(1000)]
    answers = await asyncio.gather(*(counters.claim(claim((BUDGET, amount))) for amount in amounts))
    taken = sum(amount for amount, answer in zip(amounts, answers, strict=True) if isinstance(answer, Taken))
    assert 990_000_000 < taken <= BUDGET.most
    assert await counters.claim(claim((BUDGET, 0))) == Taken((taken,))


@pytest.mark.parametrize(
    ("most", "per_s", "step_s"), [(10, 1, 0.002), (7, 60, 0.11), (100, 3600, 4.7), (640, 60, 0.05)]
)
async def test_no_window_takes_more_than_the_limit_and_hardly_less(counters, clock, most, per_s, step_s):
    """A load that wants more than there is, with a step that does not fall on slices."""
    meter = Meter("w", most, per_s=per_s)
    began = clock.now_ns()
    taken: list[int] = []
    while (now := clock.now_ns()) < began + 3 * per_s * 10**9:
        while isinstance(await counters.claim(claim((meter, 1, 1))), Taken):
            taken.append(now)
        clock.advance(step_s)
    for at, first in enumerate(taken):
        assert sum(one < first + per_s * 10**9 for one in taken[at:]) <= most
    windows = (taken[-1] - taken[0]) / 1e9 / per_s
    assert len(taken) >= most * (1 + int(windows / (1 + 1 / 128 + step_s / per_s)))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "claim", "settle", "wait"]),
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4, unique_by=lambda c: c[0]),
        st.sampled_from([0.001, 0.0078125, 0.3, 1.0, 7.77, 60.0, 400.0]),
    ),
    max_size=40,
)
METERS = [Meter("one", 3), Meter("s", 4, 1), Meter("m", 7, 60), Meter("h", 9, 3600), Meter("all", 50, forget_s=9000)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
async def test_all_homes_decide_alike(steps, valkey, shared_cluster):
    clock = HandClock()
    homes = [await opened(clock, url) for url in (None, valkey.url, shared_cluster.url)]
    try:
        for server in (valkey, shared_cluster):
            await asyncio.to_thread(server.ask, "FLUSHALL")
        claims: list[list[Claim]] = []
        for what, charges, seconds in steps:
            if what == "wait":
                clock.advance(seconds)
            elif what == "settle" and claims:
                for home, one in zip(homes, claims.pop(0), strict=True):
                    home.settle(one, [amount for _, amount in charges[:1]] * len(one.charges))
            else:
                alike = [claim(*((METERS[at], amount) for at, amount in charges)) for _ in homes]
                first, *others = [await home.claim(one) for home, one in zip(homes, alike, strict=True)]
                assert others == [first, first]
                claims.append(alike)
    finally:
        for home in homes:
            await home.aclose()


async def test_a_window_that_is_only_looked_at_for_long_is_empty(counters, clock):
    busy, second = Meter("busy", 0), Meter("second", 2, per_s=1)
    assert isinstance(await counters.claim(claim((second, 2))), Taken)
    for _ in range(3):
        clock.advance(5)
        assert isinstance(await counters.claim(claim((second, 1), (busy, 1))), Full)
    assert isinstance(await counters.claim(claim((second, 2))), Taken)


# --- what is left for others


async def test_what_was_left_is_recalled_oldest_first_and_no_more_than_so_many(counters):
    assert list(await counters.recall("h", "place")) == []
    for at in range(5):
        counters.remember("h", "place", b"%d" % at, 3, 60)
    assert list(await counters.recall("h", "place")) == [b"2", b"3", b"4"]
    assert list(await counters.recall("h", "elsewhere")) == list(await counters.recall("other", "place")) == []


async def test_what_was_left_is_rewritten_where_it_still_stands(counters):
    for item in (b"a", b"b"):
        counters.remember("h", "place", item, 3, 60)
    counters.rewrite("h", "place", b"a", b"A")
    counters.rewrite("h", "place", b"never there", b"x")
    counters.rewrite("h", "elsewhere", b"a", b"x")
    assert list(await counters.recall("h", "place")) == [b"b", b"A"]
    assert list(await counters.recall("h", "elsewhere")) == []
