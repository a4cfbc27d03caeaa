"""Batches as who runs Tidegate sees them: whose they are, how far they are, what they cost, and that they end."""

from __future__ import annotations

import pytest

from tests.api.admin.test_keys import make, send
from tests.house import Build, House
from tests.jobs.batches.desk import Desk, line, lines

CONFIG = """
limits: {loops: {policy: "off"}}
providers:
  main: {type: scripted, price: {input: 1000, output: 1000}}
routes:
  fast: {targets: [{provider: main, model: m}]}
"""


@pytest.fixture
async def house(build_house: Build) -> House:
    house = await build_house(CONFIG)
    for team in ("search", "ads"):
        await send(house, "POST", "teams", id=team)
    return house


async def test_all_batches_are_listed_with_whose_they_are_and_one_tells_what_it_cost(house: House):
    desk = await Desk.of_another(house, team_id="search")
    batch = await desk.begin(lines(line("a"), line("b")))
    await desk.ended(batch["id"])
    told = (await house.get("/admin/batches")).events[0]
    assert [(one["id"], one["name"], one["team_id"], one["status"]) for one in told["batches"]] == [
        (batch["id"], "other", "search", "completed")
    ]
    assert told["batches"][0]["counts"]["done"] == 2 and told["next"] is None
    one = (await house.get(f"/admin/batches/{batch['id']}")).events[0]
    rows = [row for row in await house.rows() if row.kind == "batch"]
    assert (one["calls"], one["all_counted"]) == (2, True)
    assert one["cost_usd"] == pytest.approx(sum(row.cost_nusd or 0 for row in rows) / 1e9) and one["cost_usd"] > 0


async def test_a_manager_sees_and_cancels_those_of_the_team_only(house: House):
    others = await Desk.of_another(house, team_id="ads")
    theirs = await others.begin(lines(line("a")))
    mine = await (await Desk.of_another(house, team_id="search")).begin(lines(line("a")))
    boss = (await make(house, role="manager", team_id="search"))["key"]
    seen = (await house.get("/admin/batches", key=boss)).events[0]["batches"]
    assert [one["id"] for one in seen] == [mine["id"]]
    assert (await send(house, "POST", f"batches/{theirs['id']}/cancel", key=boss)).status == 404
    assert (await send(house, "POST", f"batches/{mine['id']}/cancel", key=boss)).status == 200
    look = (await make(house, role="viewer"))["key"]
    assert (await send(house, "POST", f"batches/{mine['id']}/cancel", key=look)).status == 403
    await others.ended(theirs["id"])


async def test_pages_follow_each_other_newest_first(house: House):
    desk = Desk(house)
    ids = [(await desk.begin(lines(line("a"))))["id"] for _ in range(3)]
    first = (await house.get("/admin/batches?limit=2")).events[0]
    second = (await house.get(f"/admin/batches?limit=2&after={first['next']}")).events[0]
    assert sorted(one["id"] for page in (first, second) for one in page["batches"]) == sorted(ids)
    assert second["next"] is None
    assert (await house.get("/admin/batches?limit=0")).status == 400
    assert (await house.get("/admin/batches?after=batch_none")).status == 400
    for id in ids:
        await desk.ended(id)
