"""Two that decide at once, each with connections of its own, on one real database: one transition, and both know it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.jobs.rollouts.office import SPEC, Office, Process, population
from tidegate.core.experiments import Decision, Experiment, read
from tidegate.jobs.rollouts.evidence import Tripped
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.sqlite import SqliteStore

MANY = 8  # experiments


@pytest.fixture(params=["sqlite", "postgres"])
async def pair(request: pytest.FixtureRequest, tmp_path) -> AsyncIterator[tuple[Process, Process]]:
    async with AsyncExitStack() as stack:

        async def office() -> Office:
            if request.param == "sqlite":
                store = await SqliteStore.open(tmp_path / "tidegate.db")
            else:
                store = await PostgresStore.open(request.getfixturevalue("postgres"), lambda name, fields: None)
            stack.push_async_callback(store.aclose)
            return Office(store)

        one, other = await office(), await office()
        other.lines = one.lines
        yield one.process(), other.process()


async def begun(pair, count=MANY):
    one = pair[0]
    for number in range(count):
        made = await one.desk.make(read(SPEC | {"name": f"e{number}", "layer": f"{number}"}), "key")
        await one.desk.move(made, "started", "running", 0, by="key", why="")
    for each in pair:
        await each.running.look()
    return [known.experiment for known in one.running.known]


async def transitions(process, found):
    decisions = [one for one in await process.rollouts._world.store.every(Decision) if one.did != "started"]
    assert sorted(one.experiment for one in decisions) == sorted(one.id for one in found)
    return {one.did for one in decisions}


async def test_each_is_taken_back_once(pair):
    one, other = pair
    found = await begun(pair)
    one.rollouts._world.ledger.lines += population(0, 1_000, 0.2, found[0].since_ms, slower=1.8)
    known = [each.running.known for each in pair]
    tasks = [each.rollouts._judge(of[at]) for at in range(MANY) for each, of in zip(pair, known, strict=True)]
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each).__name__ for each in ended} <= {"NoneType", "Conflict"}
    assert await transitions(other, found) == {"rolled_back"}
    told = [name for each in pair for name in each.rollouts._world.events.names()]
    assert told.count("experiment_rolled_back") == MANY
    await other.running.look()
    assert {known.experiment.state for known in other.running.known} == {"rolled_back"}


async def test_where_both_look_one_of_them_has_the_lease(pair):
    one, other = pair
    found = await begun(pair)
    one.rollouts._world.ledger.lines += population(0, 1_000, 0.2, found[0].since_ms, failed=0.4)
    await asyncio.gather(one.rollouts.look(), other.rollouts.look())
    for each in pair:
        await each.look()  # who found the lease taken
    assert await transitions(one, found) == {"rolled_back"}


async def test_tripwires_of_both_take_it_back_once(pair):
    found = await begun(pair, 3)
    for experiment in found:
        for each in pair:
            each.rollouts._trip(experiment.id, "many failed", Tripped("a", failures=10, control_calls=20))
    for each in pair:
        await each.rollouts._world.nursery.wait(5)
    assert await transitions(pair[0], found) == {"rolled_back"}
    now = await pair[1].rollouts._world.store.every(Experiment)
    assert {one.why for one in now} == {"tripwire: many failed"}
