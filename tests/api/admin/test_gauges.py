"""How much of each limit and budget is used now, of whom, and who spends most."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.admin.test_keys import make, send
from tests.house import Build, House
from tidegate.core.errors import StoreDown

PRICED = """
limits: {loops: {policy: "off"}}
providers:
  main: {type: scripted, price: {input: 10000, output: 10000}}
routes:
  fast: {targets: [{provider: main, model: m}]}
"""
REQUESTS = {"of": "requests", "most": 10, "per_s": 3600}
DAY = {"usd": 40.0, "per": "day"}


@pytest.fixture
async def house(build_house: Build) -> House:
    house = await build_house(PRICED)
    await send(house, "POST", "teams", id="search", budgets=[DAY], limits=[REQUESTS])
    return house


async def use(house: House, more: str = "", **options: Any) -> dict[str, Any]:
    reply = await house.get(f"/admin/use{more}", **options)
    assert reply.status == 200, reply.body
    return dict(reply.events[0])


def told(gauges: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    return {one["of"]: (one["used"], one["most"]) for one in gauges}


async def test_what_is_used_is_told_of_a_key_and_of_its_team(house: House):
    made = await make(house, team_id="search", limits=[REQUESTS], budgets=[DAY])
    cost = [(await house.ask(key=made["key"], max_tokens=4)).row.cost_nusd / 1e9 for _ in range(2)]
    seen = await use(house)
    assert seen["keys"][0]["id"] == made["id"]
    assert told(seen["keys"][0]["gauges"]) == {"requests": (2, 10), "money": (pytest.approx(sum(cost)), 40)}
    assert [(one["kind"], one["id"]) for one in seen["above"]] == [("team", "search")]
    assert told(seen["above"][0]["gauges"])["requests"] == (2, 10)
    assert [(one["key_id"], one["calls"]) for one in seen["spenders"]][:1] == [(made["id"], 2)]
    one = (await send(house, "GET", f"keys/{made['id']}")).events[0]
    assert [(use["kind"], told(use["gauges"])["requests"]) for use in one["use"]] == [
        ("team", (2, 10)),
        ("key", (2, 10)),
    ]


async def test_to_look_is_not_to_use(house: House):
    made = await make(house, limits=[REQUESTS])
    for _ in range(3):
        assert told((await use(house))["keys"][0]["gauges"])["requests"] == (0, 10)
    assert (await house.ask(key=made["key"], max_tokens=4)).status == 200


async def test_pages_follow_each_other_newest_first(house: House):
    ids = [(await make(house, name=f"k{number}"))["id"] for number in range(5)]
    first = await use(house, "?limit=2")
    second = await use(house, f"?limit=2&after={first['next']}")
    third = await use(house, f"?limit=2&after={second['next']}")
    assert [one["id"] for page in (first, second, third) for one in page["keys"]][:5] == ids[::-1]
    assert third["next"] is None


async def test_a_manager_sees_the_team_and_no_other(house: House):
    await send(house, "POST", "teams", id="ads", budgets=[DAY])
    await make(house, name="theirs", team_id="ads")
    boss = await make(house, name="boss", role="manager", team_id="search")
    seen = await use(house, key=boss["key"])
    assert [one["name"] for one in seen["keys"]] == ["boss"]
    assert [one["id"] for one in seen["above"]] == ["search"]


async def test_while_those_who_count_are_away_the_bounds_are_told(house: House, monkeypatch: pytest.MonkeyPatch):
    await make(house, limits=[REQUESTS])

    async def away(*_: object, **__: object) -> None:
        raise StoreDown("nobody answers")

    monkeypatch.setattr(house.app.world.counters, "claim", away)
    assert told((await use(house))["keys"][0]["gauges"])["requests"] == (None, 10)


async def test_a_page_has_a_size_and_begins_behind_one_that_there_is(house: House):
    assert (await house.get("/admin/use?limit=0")).status == 400
    assert (await house.get("/admin/use?after=nobody")).status == 400
