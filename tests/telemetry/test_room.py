"""How much room is left, and what was dropped? As the page of metrics says it."""

from __future__ import annotations

from tidegate.core.limits import Budget, Limit
from tidegate.core.ports import Team
from tidegate.core.shares import MOST, Shares, What

TWO = """
limits: {loops: {policy: "off"}}
budgets: {default_day: 0}
providers: {main: {type: scripted, price: {input: 1000, output: 1000}}}
routes: {fast: {targets: [{provider: main, model: m}], limits: [{of: requests, most: 4}]}}
"""


async def key(house, *, budgets: tuple[Budget, ...] = (), limits: tuple[Limit, ...] = ()) -> str:
    """Of a team that has these."""
    world = house.app.world
    await world.store.add(Team("red", "Red team", 0, limits=limits, budgets=budgets))
    text, _ = await house.app.gateway.auth.create("ci", "test", admin=False, team_id="red")
    return text


async def page(house) -> list[str]:
    return (await house.get("/metrics")).body.decode().splitlines()


async def test_limits_and_budgets_say_how_much_of_them_is_used(build_house):
    house = await build_house(TWO)
    red = await key(house, budgets=(Budget(10**12, "day"),), limits=(Limit("requests", 8, 60),))
    house.provider("main").always("hello", usage={"prompt_tokens": 100_000, "completion_tokens": 0})
    for _ in range(2):
        assert (await house.ask("hi", key=red, max_tokens=10)).status == 200
    said = await page(house)
    assert 'tidegate_limit_used_ratio{name="Red team",of="requests",whose="team"} 0.25' in said
    assert 'tidegate_limit_used_ratio{name="fast",of="requests",whose="route"} 0.5' in said
    (ratio,) = [line for line in said if line.startswith("tidegate_budget_used_ratio{")]
    assert ratio.startswith('tidegate_budget_used_ratio{name="Red team",per="day",whose="team"} 0.1')


async def test_a_limit_that_nobody_was_counted_against_for_its_time_is_not_used(build_house):
    house = await build_house(TWO)
    await house.ask("hi")
    await house.clock.advance(61)
    assert 'tidegate_limit_used_ratio{name="fast",of="requests",whose="route"} 0.0' in await page(house)


async def test_who_is_refused_is_counted_by_whose_limit_it_was(build_house):
    house = await build_house(TWO)
    red = await key(house, budgets=(Budget(1, "day"),))
    assert (await house.ask("hi", key=red, max_tokens=10)).status == 402
    for _ in range(5):
        last = await house.ask("hi")
    assert last.status == 429
    said = await page(house)
    assert 'tidegate_refusals_total{of="money",whose="team"} 1.0' in said
    assert 'tidegate_refusals_total{of="requests",whose="route"} 1.0' in said


async def test_no_event_of_any_class_is_dropped_as_long_as_all_is_well(build_house):
    house = await build_house(TWO)
    await house.ask("hi")
    said = await page(house)
    for kind in ("ledger", "log", "bodies"):
        assert f'tidegate_events_dropped_total{{class="{kind}"}} 0.0' in said


async def test_a_row_that_is_lost_is_a_dropped_event_of_the_ledger(build_house):
    house = await build_house(TWO)
    house.app.world.events.notice("row_lost", {"request_id": "req_1"})
    assert 'tidegate_events_dropped_total{class="ledger"} 1.0' in await page(house)


def test_users_and_keys_are_not_seen_and_others_only_so_many() -> None:
    shares = Shares()
    assert shares.of(What("key", "k", "ci", "requests")) is None
    assert shares.of(What("user", "ann", "ann", "requests")) is None
    found = [shares.of(What("team", f"t{at}", "", "requests")) for at in range(MOST + 5)]
    assert found.count(None) == 5
    assert shares.of(What("team", "t0", "", "requests")) is found[0]
