"""What is charged in advance: asked for seldom, never more than there is, and nothing kept that nobody needs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.house import until
from tests.storage.valkey.test_valkey import Time, die
from tidegate.core.errors import StoreDown
from tidegate.core.limits import Charge, Claim, Full, Meter, Taken
from tidegate.storage.valkey import ValkeyCounters

PATIENCE_S = 30.0
AT_ONCE = Meter("at once", 1000, forget_s=86_400, at_once=True)
MINUTE = Meter("minute", 1000, per_s=60)
BUDGET = Meter("budget", 1_000_000, forget_s=86_400)
SMALL = Meter("small", 99, per_s=60)
PACE = Meter("pace", 2**53 - 1, per_s=300)
_ids = count()


def heard(name: str, fields: Mapping[str, Any]) -> None:
    """A notice."""


Join = Callable[..., Awaitable[ValkeyCounters]]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def join(valkey, time) -> AsyncIterator[Join]:
    """Another process that counts with the others."""
    made: list[ValkeyCounters] = []

    async def join(url: str = valkey.url, **options: Any) -> ValkeyCounters:
        given = {"timeout_s": PATIENCE_S, "start_s": PATIENCE_S, "now_us": time, **options}
        made.append(await ValkeyCounters.open(url, heard, **given))
        return made[-1]

    yield join
    for one in made:
        await one.aclose()


def claim(*charges: tuple[Meter, int] | tuple[Meter, int, int]) -> Claim:
    return Claim(f"c{next(_ids)}", "h", [Charge(*charge, *(() if len(charge) == 3 else (0,))) for charge in charges])


async def used(counters: ValkeyCounters, *meters: Meter) -> tuple[int, ...]:
    """As the server has it."""
    answer = await counters.claim(claim(*((meter, 0, 0) for meter in meters)), unasked=True)
    return answer.used


async def warm(counters: ValkeyCounters, *charges: tuple[Meter, int]) -> list[Claim]:
    """Claims until one is answered without asking."""
    claims = []
    for _ in range(20):
        claims.append(claim(*charges))
        assert isinstance(await counters.claim(claims[-1]), Taken)
        if claims[-1].lent is not None:
            return claims
    raise AssertionError("each was asked for")


async def rest(counters: ValkeyCounters, time: Time) -> None:
    """So long that nothing is hot any more."""
    for _ in range(3):
        time.advance(2.5)
        counters._leases.tick()
        await used(counters, BUDGET)


def questions(valkey) -> int:
    said = valkey.ask("INFO", "commandstats")
    line = next((one for one in said.split(b"\r\n") if one.startswith(b"cmdstat_evalsha:")), b"calls=0,")
    return int(line.partition(b"calls=")[2].partition(b",")[0])


async def test_what_is_asked_for_often_is_answered_without_asking(join, valkey):
    counters = await join()
    await warm(counters, (AT_ONCE, 1), (MINUTE, 1), (BUDGET, 10))
    before = questions(valkey)
    for _ in range(100):
        one = claim((AT_ONCE, 1), (BUDGET, 10))
        assert isinstance(await counters.claim(one), Taken)
        counters.settle(one, (0, 1))
    assert questions(valkey) - before < 10


async def test_what_is_asked_for_seldom_is_asked_for(join, time):
    counters = await join()
    for _ in range(12):
        one = claim((BUDGET, 10))
        await counters.claim(one)
        assert one.lent is None
        time.advance(2)
        counters._leases.tick()


async def test_less_than_a_hundred_are_never_charged_in_advance(join):
    counters = await join()
    for at in range(50):
        assert await counters.claim(claim((SMALL, 1, 1), (MINUTE, 1, 1))) == Taken((at + 1, at + 1))
    assert await used(counters, SMALL, MINUTE) == (50, 50)


async def test_what_is_told_is_what_this_process_used(join):
    counters = await join()
    for at in range(200):
        assert await counters.claim(claim((MINUTE, 1, 1), (BUDGET, 3))) == Taken((at + 1, 3 * at + 3))


async def test_all_of_a_limit_can_be_used_to_the_last_one_by_one_process(join):
    counters = await join()
    taken = 0
    while isinstance(await counters.claim(claim((MINUTE, 1, 1))), Taken):
        taken += 1
    assert taken == 1000


async def test_a_budget_that_is_nearly_spent_is_exact_for_all(join):
    """Both hold something; when less than an eighth is left nothing is held, and the last nano-dollar can be spent."""
    one, other = await join(), await join()
    left = BUDGET.most
    for counters in (one, other) * 2:
        left -= 10 * len(await warm(counters, (BUDGET, 10)))
    for counters in (one, other):
        last = claim((BUDGET, 400_000))
        assert isinstance(await counters.claim(last), Taken)
        left -= 400_000
    for counters in (one, other):
        for _ in range(60):
            assert isinstance(await counters.claim(claim((BUDGET, 10))), Taken)
            left -= 10
    assert isinstance(await one.claim(claim((BUDGET, left + 1))), Full)
    assert await other.claim(claim((BUDGET, left))) == Taken((BUDGET.most,))


async def test_what_is_left_goes_back_when_nobody_asks_any_more(join, time):
    counters, other = await join(), await join()
    claims = await warm(counters, (AT_ONCE, 1), (MINUTE, 1), (BUDGET, 10))
    for one in claims:
        counters.settle(one, (0, 1, 7))
    await rest(counters, time)
    assert await used(other, AT_ONCE, MINUTE, BUDGET) == (0, len(claims), 7 * len(claims))
    assert await other.holds("h") == 0
    assert not counters._leases._houses


async def test_what_is_left_goes_back_at_the_end(join):
    counters, other = await join(), await join()
    claims = await warm(counters, (AT_ONCE, 1), (MINUTE, 1), (BUDGET, 10))
    for one in claims:
        counters.settle(one, (0, 1, 7))
    await counters.aclose()
    assert await used(other, AT_ONCE, MINUTE, BUDGET) == (0, len(claims), 7 * len(claims))
    assert await other.holds("h") == 0


async def test_what_a_dead_process_had_charged_counts_as_used_but_for_calls_at_once(join, time):
    dying, living = [await join(lease_s=10) for _ in range(2)]
    claims = await warm(dying, (AT_ONCE, 1), (MINUTE, 1), (BUDGET, 10))
    at_once, minute, budget = await used(living, AT_ONCE, MINUTE, BUDGET)
    assert at_once > len(claims) and minute > len(claims) and budget > 10 * len(claims)
    die(dying)
    dying._leases._houses.clear()
    time.advance(10)
    asked_for = sum(one.lent is None for one in claims)
    assert await used(living, AT_ONCE, MINUTE, BUDGET) == (0, minute - asked_for, budget - 10 * asked_for)
    time.advance(61)
    assert await used(living, MINUTE, BUDGET) == (0, budget - 10 * asked_for)


async def test_a_process_that_was_taken_for_dead_goes_on_with_what_it_has(join, time):
    slow, other = [await join(lease_s=10) for _ in range(2)]
    claims = await warm(slow, (AT_ONCE, 1), (BUDGET, 10))
    time.advance(20)
    assert (await used(other, AT_ONCE))[0] == 0
    for one in claims:
        slow.settle(one, (0, 7))
    await rest(slow, time)
    assert await used(other, AT_ONCE, BUDGET) == (0, 7 * len(claims))


async def test_a_server_that_has_forgotten_hears_again_what_was_spent_and_gives_nothing_twice(join, own_valkey):
    counters = await join(own_valkey.url, timeout_s=1)
    spent = 0
    for _ in range(10):
        for one in await warm(counters, (AT_ONCE, 1), (BUDGET, 10)):
            counters.settle(one, (0, 7))
            spent += 7 if one.lent is not None else 0
    last = (await warm(counters, (AT_ONCE, 1), (BUDGET, 10)))[-1]
    own_valkey.stop()
    with suppress(StoreDown):
        while True:
            await counters.holds("h")
    assert counters._leases.take(claim((AT_ONCE, 1), (BUDGET, 10))) is None, "what was charged there is void"
    own_valkey.start()
    await until(lambda: counters._connection.life > 1)
    counters._leases.tick()
    assert await used(counters, AT_ONCE, BUDGET) == (1, spent + 10), "the call under way, and what it may cost"
    counters.settle(last, (0, 1))
    assert await used(counters, AT_ONCE, BUDGET) == (0, spent + 1)


async def test_an_answer_that_is_lost_counts_nothing_twice(join, own_valkey, time):
    counters = await join(own_valkey.url, timeout_s=0.05)
    claims = await warm(counters, (BUDGET, 10))
    own_valkey.pause()
    time.advance(0.9)  # it is to be renewed: the server hears it, and its answer does not arrive
    claims.append(claim((BUDGET, 10)))
    assert isinstance(await counters.claim(claims[-1]), Taken)
    await until(lambda: not counters._connection.life)
    own_valkey.go_on()
    await until(lambda: counters._connection.life > 1)
    for one in claims:
        counters.settle(one, (7,))
    await rest(counters, time)
    assert await used(counters, BUDGET) == (7 * len(claims),)


async def test_a_limit_that_is_changed_counts_at_once(join):
    counters = await join()
    claims = await warm(counters, (MINUTE, 1))
    fewer = Meter(MINUTE.name, len(claims), MINUTE.per_s)
    assert isinstance(await counters.claim(claim((fewer, 1))), Full)
    assert isinstance(await counters.claim(claim((MINUTE, 1))), Taken)


async def test_more_than_was_set_aside_is_booked(join, time):
    counters, other = await join(), await join()
    claims = await warm(counters, (BUDGET, 10), (PACE, 0))
    for one in claims:
        counters.settle(one, (500, 500))
    assert await counters.claim(claim((BUDGET, 0), (PACE, 0))) == Taken((500 * len(claims),) * 2)
    await rest(counters, time)
    assert await used(other, BUDGET, PACE) == (500 * len(claims),) * 2


async def test_hardly_less_than_a_limit_is_given_to_three_who_want_more(join, time):
    meter, three = Meter("w", 3000, per_s=60), [await join() for _ in range(3)]
    taken: deque[int] = deque()
    total = 0
    for step in range(3 * 60 * 4):
        for counters in three:
            for _ in range(6):
                if isinstance(await counters.claim(claim((meter, 1, 1))), Taken):
                    taken.append(time.us)
                    total += 1
        while taken[0] <= time.us - 60_000_000:
            taken.popleft()
        assert len(taken) <= meter.most
        time.advance(0.25)
        if step % 4 == 0:
            for counters in three:
                counters._leases.tick()
    print(f"\n{total} of {3 * meter.most} calls in three windows")
    assert total > 0.98 * 3 * meter.most


# --- whatever happens

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "claim", "claim", "settle", "settle", "wait", "tick", "kill"]),
        st.integers(0, 2),  # which process
        st.integers(1, 30),  # how many times
        st.sampled_from([1, 1, 3, 40]),  # how much
        st.sampled_from([0.01, 0.3, 0.5, 1.1, 20.0]),
    ),
    max_size=60,
)
WHOLE = Meter("whole", 2_000, forget_s=86_400)
TWENTY = Meter("twenty", 500, per_s=20)
GAUGE = Meter("gauge", 150, forget_s=86_400, at_once=True)


async def live_on(homes: Sequence[ValkeyCounters], time: Time, seconds: float) -> None:
    """Each says that it lives, as it does by itself: whoever does not for a whole lease is taken for dead."""
    while seconds > 0:
        time.advance(min(seconds, 2.5))
        seconds -= 2.5
        for one in homes:
            await one._renew()
            one._leases.tick()


MANY, ONE = [("claim", 2, 30, 1, 1.0)] * 6, ("claim", 0, 30, 1, 1.0)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@example(steps=[ONE, ONE, ("settle", 0, 30, 1, 1.0), *MANY, ("wait", 0, 1, 1, 20.0), ONE])
@example(steps=[ONE, ONE, ("settle", 0, 30, 1, 1.0), *MANY, ("kill", 1, 1, 1, 1.0), ONE])
async def test_no_window_no_budget_and_no_gauge_is_ever_exceeded_by_three_processes(steps, valkey):
    await asyncio.to_thread(valkey.ask, "FLUSHALL")
    time = Time()
    options = {"timeout_s": PATIENCE_S, "start_s": PATIENCE_S, "now_us": time, "lease_s": 10}
    homes = [await ValkeyCounters.open(valkey.url, heard, **options) for _ in range(3)]
    live: list[list[tuple[Claim, int]]] = [[] for _ in homes]
    begun: list[tuple[int, int]] = []  # requests: when, how many
    spent = 0
    try:
        for what, at, times, amount, seconds in steps:
            home = homes[at]
            if what == "wait":
                await live_on(homes, time, seconds)
            elif what == "tick":
                home._leases.tick()
            elif what == "kill":
                die(home)
                live[at].clear()
                home._leases._houses.clear()
                homes[at] = await ValkeyCounters.open(valkey.url, heard, **options)
                await home._connection.aclose()
                await live_on(homes, time, 11)  # its calls are gone, and what they hold with them
            for _ in range(times if what == "claim" else 0):
                asked = claim((GAUGE, 1), (TWENTY, amount, amount), (WHOLE, amount))
                if isinstance(await home.claim(asked), Taken):
                    live[at].append((asked, amount))
                    begun.append((time.us, amount))
            for asked, amount in live[at][:times] if what == "settle" else ():
                home.settle(asked, (0, amount, amount // 2))
                spent += amount // 2
            if what == "settle":
                del live[at][:times]
            assert sum(map(len, live)) <= GAUGE.most
            assert sum(amount for us, amount in begun if us > time.us - 20_000_000) <= TWENTY.most
            assert spent + sum(amount for calls in live for _, amount in calls) <= WHOLE.most
    finally:
        for home in homes:
            await home.aclose()
