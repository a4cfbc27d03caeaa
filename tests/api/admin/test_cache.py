"""What an administrator sees of the cache: what hits were, and both questions of one that was found by meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import Build, House
from tests.stages.cache.test_meaning import ALIKE, LONG, settled

STORED = "    store: {prompts: true, replies: true}\n  other:"
KEPT = ALIKE.replace("semantic:", "exact: true, semantic:", 1).replace("  other:", STORED) + "audit: {enabled: true}\n"


@pytest.fixture
async def house(build_house: Build) -> House:
    house = await build_house(KEPT)
    house.provider("main").says("in the post")
    return house


async def hit_by_meaning(house: House, route: str = "fast") -> tuple[Any, Any]:
    first = await house.ask(LONG, route=route)
    await settled(house)
    return first, await house.ask(LONG.lower(), route=route)


async def test_the_report_tells_hits_by_kind_and_lists_those_by_meaning(house: House):
    _, hit = await hit_by_meaning(house)
    await house.ask(LONG)
    (told,) = (await house.get("/admin/cache")).events
    assert {one["layer"]: one["calls"] for one in told["kinds"]} == {"semantic": 1, "exact": 1}
    assert [(one["id"], one["route"]) for one in told["recent"]] == [(hit.id, "fast")]
    assert "credit card" not in json.dumps(told)  # lists carry nothing of what was said


async def test_a_hit_shows_both_questions_and_who_reads_them_is_told_of(house: House):
    first, hit = await hit_by_meaning(house)
    (told,) = (await house.get(f"/admin/cache/{hit.id}")).events
    assert json.loads(told["asked"])["messages"][-1]["content"] == LONG.lower()
    assert json.loads(told["bought_asked"])["messages"][-1]["content"] == LONG
    assert (told["bought"], "in the post" in told["answered"]) == (first.id, True) and told["similarity"] > 0.99
    await house.app.world.ledger.flush()
    archive = house.app.gateway.archive
    acts = [await archive.entry(one) for one in await archive.log.latest(2**62, "~", 9) if one.id.startswith("act")]
    assert {(act["did"], act["of"]) for act in acts} == {("body_read", hit.id), ("body_read", first.id)}


async def test_of_a_route_that_keeps_nothing_there_is_what_the_ledger_has(house: House):
    first, hit = await hit_by_meaning(house, "other")
    (told,) = (await house.get(f"/admin/cache/{hit.id}")).events
    assert (told["asked"], told["bought_asked"], told["bought"]) == (None, None, first.id)


async def test_what_was_judged_is_still_shown_but_not_remembered(house: House):
    _, hit = await hit_by_meaning(house)
    assert (await house.begin(path=f"/admin/cache/{hit.id}/wrong", body=b"").reply()).status == 200
    (told,) = (await house.get(f"/admin/cache/{hit.id}")).events
    assert (told["similarity"], told["bought"]) == (None, None) and told["asked"]


async def test_what_was_bought_is_no_hit(house: House):
    first, _ = await hit_by_meaning(house)
    assert (await house.get(f"/admin/cache/{first.id}")).status == 404
    assert (await house.get("/admin/cache/req_none")).status == 404
