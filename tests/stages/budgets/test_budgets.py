from __future__ import annotations

import asyncio
import random
from zoneinfo import ZoneInfo

import pytest

from tests.house import TWO_PROVIDERS, lived_in, until
from tidegate.core.errors import ConfigError
from tidegate.core.limits import Budget, Limit
from tidegate.core.values import Duration

LOOPS = "limits: {loops: {policy: 'off'}}\n"
BERLIN = ZoneInfo("Europe/Berlin")  # read from its file now, where it stops nobody
BOUNDED = f"{LOOPS}budgets: {{default_day: 0, velocity: {{policy: 'off'}}}}\n{TWO_PROVIDERS}"
CENT = 10_000_000
DEAR = {"prompt_tokens": 9, "completion_tokens": 4_990, "total_tokens": 4_999}


@pytest.fixture
async def house(build_house):
    return await build_house(BOUNDED)


async def key(house, *budgets: Budget, limits: tuple[Limit, ...] = (), name: str = "ci") -> str:
    text, _ = await house.app.gateway.auth.create(name, "test", admin=False, budgets=budgets, limits=limits)
    return text


def used(house) -> dict[str, int]:
    """What every count of money has now."""
    counts = house.app.world.counters._counts
    return {name: count.n for name, count in counts.items() if ":money:" in name}


async def test_a_call_costs_what_it_cost_in_truth(house):
    ci = await key(house, Budget(100 * CENT, "day"))
    reply = await house.ask(key=ci, max_tokens=1000)
    assert list(used(house).values()) == [reply.row.cost_nusd]
    assert reply.row.cost_nusd > 0
    assert await house.app.world.counters.holds("default") == 0


async def test_a_call_that_could_cost_more_than_is_left_is_refused_and_costs_nothing(house):
    ci = await key(house, Budget(CENT, "day"))
    refused = await house.ask(key=ci, max_tokens=10_000)
    assert (refused.status, refused.error.code) == (402, "budget_spent")
    assert "may spend $0.01 per day: $0.01 is left, and this call can cost $0.0" in refused.error.message
    assert refused.row.attempts == () and refused.row.cost_nusd == 0
    assert (await house.ask(key=ci, max_tokens=1000)).status == 200


async def test_the_day_begins_anew_at_midnight_of_its_zone(house):
    ci = await key(house, Budget(CENT, "day", zone=BERLIN.key))
    house.provider("main").always("hello", usage=DEAR)
    assert (await house.ask(key=ci, max_tokens=1_000)).status == 200
    refused = await house.ask(key=ci, max_tokens=1_000)
    assert refused.status == 402
    assert int(refused.headers["retry-after"]) == 23 * 3600  # it is one in the morning there
    await house.clock.sleep(23 * 3600)
    assert (await house.ask(key=ci, max_tokens=1_000)).status == 200


async def test_a_clock_that_jumps_back_gives_no_money_and_takes_none(house, monkeypatch):
    ci = await key(house, Budget(CENT, "day"))
    house.provider("main").always("hello", usage=DEAR)
    assert (await house.ask(key=ci, max_tokens=1_000)).status == 200
    wall_ns = house.clock.wall_ns
    monkeypatch.setattr(house.clock, "wall_ns", lambda: wall_ns() - 3600 * 10**9)  # into the day before
    yesterday = [(await house.ask(key=ci, max_tokens=1_000)).status for _ in range(2)]
    assert yesterday == [200, 402], "that day had its own cent, and no second one"
    monkeypatch.undo()
    assert (await house.ask(key=ci, max_tokens=1_000)).status == 402
    await house.clock.sleep(24 * 3600)
    assert (await house.ask(key=ci, max_tokens=1_000)).status == 200


async def test_a_rolling_budget_moves_on_all_the_time(house):
    ci = await key(house, Budget(CENT, "day", rolling=True))
    house.provider("main").always("hello", usage=DEAR)
    await house.ask(key=ci, max_tokens=1_000)
    await house.clock.sleep(23 * 3600)
    assert (await house.ask(key=ci, max_tokens=1_000)).status == 402
    await house.clock.sleep(2 * 3600)
    assert (await house.ask(key=ci, max_tokens=1_000)).status == 200


async def test_a_new_key_may_spend_five_dollars_a_day(build_house):
    house = await build_house(BOUNDED.replace("default_day: 0, ", ""))
    ci = await key(house)
    refused = await house.ask(key=ci, max_tokens=3_000_000)
    assert "key 'ci' may spend $5 per day: $5 is left, and this call can cost $18.0" in refused.error.message


async def test_what_a_client_leaves_open_is_bounded_by_the_route_and_said_to_the_provider(house):
    ci = await key(house, Budget(100 * CENT, "day"))
    await house.ask(key=ci)
    assert b'"max_tokens":4096' in house.provider("main").requests[-1].body
    await house.ask(key=ci, max_tokens=7)
    assert b"4096" not in house.provider("main").requests[-1].body
    await house.ask()  # a key without any bound: its bytes are its own
    assert b"max_tokens" not in house.provider("main").requests[-1].body


async def test_what_is_tried_again_is_paid_for_again_within_the_budget(house):
    ci = await key(house, Budget(3 * CENT, "day"))
    house.provider("main").always("hello", before=Duration(100), usage=False)  # it works, and is too slow
    house.provider("spare").always("hello")
    reply = await house.ask(key=ci, max_tokens=2_000)
    assert reply.row.cost_nusd == sum(one.cost_nusd for one in reply.row.attempts)
    assert list(used(house).values()) == [reply.row.cost_nusd]
    assert max(used(house).values()) <= 3 * CENT


async def test_a_price_that_is_not_known_is_never_nothing(build_house):
    house = await build_house(BOUNDED.replace("{input: 1, output: 2}", "{output: 2}"))
    ci = await key(house, Budget(8 * CENT, "day"))
    assert (await house.ask(key=ci, max_tokens=10)).status == 200
    assert list(used(house).values()) == [5 * CENT]
    assert (await house.ask(key=ci, max_tokens=10)).status == 402


async def test_a_price_that_is_not_known_may_be_refused(build_house):
    text = BOUNDED.replace("{input: 1, output: 2}", "{output: 2}")
    house = await build_house(text.replace("default_day: 0", "default_day: 0, unknown_price: refuse"))
    refused = await house.ask(key=await key(house, Budget(CENT, "day")), max_tokens=10)
    assert (refused.status, "the price of main/m is not known" in refused.error.message) == (402, True)


async def test_a_threshold_is_told_once_and_to_each_client_above_it(house):
    ci = await key(house, Budget(CENT, "day", warn_at=(0.1,)))
    told = []
    house.app.world.events._listeners.append(Told(told))
    for _ in range(2):
        reply = await house.ask(key=ci, max_tokens=500)
        assert "10% of a budget of key 'ci' is spent or set aside" in reply.headers["x-tidegate-notice"]
    assert told == ["budget_warning"]


class Told:
    def __init__(self, names: list[str]) -> None:
        self.names = names

    def call_began(self, call): ...

    def call_ended(self, call, row): ...

    def notice(self, name, fields):
        self.names.append(name)


async def test_tokens_are_set_aside_and_become_what_they_were(house):
    ci = await key(house, limits=(Limit("output_tokens", 1_000, 60),))
    assert (await house.ask(key=ci, max_tokens=900)).status == 200
    assert (await house.ask(key=ci, max_tokens=990)).status == 200  # the first used only a few
    refused = await house.ask(key=ci, max_tokens=1_001)
    assert (refused.status, refused.error.code) == (429, "limit_reached")


async def test_more_than_was_set_aside_is_booked_and_told(house):
    ci = await key(house, Budget(100 * CENT, "day"))
    told = []
    house.app.world.events._listeners.append(Told(told))
    house.provider("main").says("hello", usage={"prompt_tokens": 9, "completion_tokens": 400_000})
    reply = await house.ask(key=ci, max_tokens=10)
    assert list(used(house).values()) == [reply.row.cost_nusd]
    assert told == ["budget_overrun"]


async def test_a_time_zone_that_there_is_not_is_refused_at_the_start(build_house):
    with pytest.raises(ConfigError, match="no time zone 'Berlin'"):
        await build_house(BOUNDED.replace("default_day: 0", "default_day: 0, zone: Berlin"))


async def test_a_new_process_knows_what_was_spent_before_it(tmp_path):
    async with lived_in(BOUNDED, tmp_path) as house:
        ci = await key(house, Budget(CENT, "day"))
        house.provider("main").always("hello", usage=DEAR)
        assert (await house.ask(key=ci, max_tokens=1_000)).status == 200
    async with lived_in(BOUNDED, tmp_path) as house:
        refused = await house.ask(key=ci, max_tokens=1_000)
        assert (refused.status, "$0.000011 is left" in refused.error.message) == (402, True)


async def test_what_many_keys_have_spent_is_asked_side_by_side_and_of_each_once(house, monkeypatch):
    keys = [await key(house, Budget(100 * CENT, "day"), name=f"k{at}") for at in range(5)]
    usage, asked, go = house.app.world.ledger.usage, [], asyncio.Event()

    async def slow(what):
        asked.append(what.only)
        await go.wait()
        return await usage(what)

    monkeypatch.setattr(house.app.world.ledger, "usage", slow)
    calls = [asyncio.ensure_future(house.ask(key=one, max_tokens=9)) for one in keys + keys]
    await until(lambda: len(asked) == 5)
    go.set()
    assert [reply.status for reply in await asyncio.gather(*calls)] == [200] * 10
    assert len(asked) == 5


# --- whatever happens


async def test_a_thousand_calls_at_once_never_spend_more_than_there_is(house):
    """Random costs, failures, cut-offs, clients that leave, and a budget that is far too small for all of them."""
    rng = random.Random(6)
    budget = 100 * CENT
    ci = await key(house, Budget(budget, "day", warn_at=()), Budget(2 * budget, "total", warn_at=()))
    for name in ("main", "spare"):
        for _ in range(700):
            said = rng.choice(["one two three", "a " * rng.randrange(1, 400)])
            script = rng.choice(
                [{}, {"status": 500}, {"cut_off": 1}, {"usage": False}, {"before": Duration(rng.random())}]
            )
            house.provider(name).says(said, **script)
    highest = 0
    counters = house.app.world.counters
    claim = counters.claim

    async def watched(asked, **options):
        nonlocal highest
        answer = await claim(asked, **options)
        highest = max(highest, *used(house).values())
        return answer

    counters.claim = watched

    async def one(at: int) -> int:
        asking = house.begin(f"call {at}", key=ci, max_tokens=rng.randrange(1, 5_000), stream=rng.random() < 0.5)
        if rng.random() < 0.2:
            await asyncio.sleep(rng.random() / 20)
            asking.leave()
        await asyncio.wait([asking.task])
        return asking.sent[0]["status"] if asking.sent else 0

    statuses = await asyncio.gather(*(one(at) for at in range(1000)))
    await house.clock.sleep(60)
    rows = [row for row in await house.rows() if row.cost_nusd]
    cost = sum(row.cost_nusd for row in rows)
    print(f"\n{len(rows)} calls cost {cost} nano-dollars and {statuses.count(402)} were refused; at most {highest} of")
    print(f"{budget} were settled or set aside at any time")
    assert 402 in statuses and 200 in statuses
    assert 0.9 * budget < highest <= budget
    assert await counters.holds("default") == 0
    assert min(used(house).values()) == sum(row.cost_nusd for row in rows)
