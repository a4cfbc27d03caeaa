"""Arms share no answers, not even where they differ in nothing that is asked; and a call that is made again is paid
once, whatever its arm has become meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tests.house import Build, House, Reply, until
from tests.stages.cache.test_cache import CACHED, bought, cache_of
from tests.stages.cache.test_meaning import ALIKE, LONG
from tests.stages.experiments.conftest import begin
from tidegate.core.experiments import Experiment
from tidegate.core.units import of_user

NOTHING: dict[str, Any] = {"name": "b"}  # the same as the control
COOLER: dict[str, Any] = {"name": "b", "parameters": {"temperature": 0.1}}


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(CACHED)


def one_of(house: House, experiment: Experiment, arm: str, besides: str = "") -> str:
    """A user who has this arm."""
    found = (f"u{number}" for number in itertools.count())
    place = house.app.gateway.experiments.place
    return next(one for one in found if one != besides and place(experiment, of_user("default", one))[1] == arm)


async def ask(house: House, user: str, said: str = "hi", **options: Any) -> Reply:
    reply = await house.ask(said, headers={"x-tidegate-user": user, **options.pop("headers", {})}, **options)
    assert reply.status == 200, reply.body
    await until(lambda: not house.left())
    return reply


@pytest.mark.parametrize("arm", [NOTHING, COOLER], ids=["the same", "cooler"])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_arm_finds_its_own_answers_and_no_others(house, arm, stream):
    before = await house.ask("hi", stream=stream, temperature=0.1)  # what an arm would ask
    experiment = await begin(house, arm, ramp=[0.5])
    control, tried = (one_of(house, experiment, name) for name in ("control", "b"))
    other = one_of(house, experiment, "b", besides=tried)
    found = [
        cache_of(await ask(house, user, stream=stream, temperature=0.1))[0] for user in (control, tried, other, control)
    ]
    assert cache_of(before)[0] == "miss" and found == ["miss", "miss", "hit", "hit"] and bought(house) == 3


async def test_calls_of_two_arms_at_the_same_time_are_not_bought_together(house):
    experiment = await begin(house, NOTHING, ramp=[0.5])
    control, tried = (one_of(house, experiment, name) for name in ("control", "b"))
    house.clock.hold()
    house.provider("main").always(before=1)
    asking = [house.begin("hi", headers={"x-tidegate-user": user}) for user in (control, tried, control, tried)]
    await until(lambda: len(house.app.gateway.cache.shelf.table) == 2)
    advancing = asyncio.create_task(house.clock.advance(5))
    replies = [await one.reply() for one in asking]
    await advancing
    assert bought(house) == 2 and sorted(reply.row.cache for reply in replies) == ["miss", "miss", "shared", "shared"]


async def test_what_was_promoted_finds_what_its_arm_has_bought(house):
    experiment = await begin(house, COOLER)
    await ask(house, "ann")
    await house.app.gateway.experiments.desk.move(
        experiment, "promoted", "promoted", 0, by="k", why="it is better", arm="b"
    )
    assert cache_of(await ask(house, "bob"))[0] == "hit"


async def test_an_arm_that_is_another_route_has_that_routes_cache(house):
    experiment = await begin(house, {"name": "b", "route": "fast"}, route="plain", ramp=[0.5])
    control, tried = (one_of(house, experiment, name) for name in ("control", "b"))
    found = [cache_of(await ask(house, user, route="plain"))[0] for user in (control, tried, control, tried)]
    assert found == [None, "miss", None, "hit"]


async def test_what_means_the_same_is_not_shared_either(build_house):
    house = await build_house(ALIKE)
    experiment = await begin(house, NOTHING, ramp=[0.5])
    control, tried = (one_of(house, experiment, name) for name in ("control", "b"))
    await ask(house, control, LONG)
    assert cache_of(await ask(house, tried, LONG.lower()))[0] == "miss"
    assert cache_of(await ask(house, tried, LONG + "?")) == ("hit", "semantic")


async def test_a_hit_that_is_checked_is_checked_on_the_way_of_its_arm(build_house):
    house = await build_house(ALIKE.replace("checks: 0%", "checks: 100%"))
    await begin(house, {"name": "b", "target": "main/n"})
    await ask(house, "ann", LONG)
    await ask(house, "ann", LONG.lower())
    await until(lambda: not house.left())
    rows = await house.rows()
    assert [row.target for row in rows] == ["main/n", None, "main/n"], [row.purpose for row in rows]
    assert [[one.counted for one in row.arms] for row in rows] == [[True], [True], [False]]


@pytest.mark.parametrize("arm", [COOLER, {"name": "b", "target": "spare/n"}], ids=["cooler", "elsewhere"])
async def test_a_call_made_again_is_paid_once_whatever_its_arm_has_become(house, arm):
    experiment = await begin(house, arm)
    once = {"idempotency-key": "one"}
    first = await ask(house, "ann", route="fast", headers=once)
    await house.app.gateway.experiments.desk.move(
        experiment, "rolled_back", "rolled_back", 0, by="house", why="it is worse"
    )
    second = await ask(house, "ann", route="fast", headers=once)
    assert second.body == first.body and cache_of(second) == ("hit", "idempotent") and second.row.cost_nusd == 0
