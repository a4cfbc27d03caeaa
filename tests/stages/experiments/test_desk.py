"""An experiment is moved on by whoever is first, even if that one dies half-way, and everybody is told who it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clock import JumpClock
from tests.house import until
from tidegate.core.errors import Conflict, NotFound, StoreDown
from tidegate.core.experiments import Decision, Experiment, Spec, read, spec_of
from tidegate.core.ports import Acted
from tidegate.core.world import Nursery, World
from tidegate.stages.experiments.desk import Desk
from tidegate.stages.experiments.running import Running
from tidegate.storage.memory import MemoryStore

SPEC = read({"name": "answers", "arms": [{"name": "b", "target": "main/n"}], "ramp": ["5%", "100%"]})


class Told:
    """A ledger and listeners, as far as they are told of what administrators did."""

    def __init__(self) -> None:
        self.acts: list[Acted] = []
        self.notices: list[str] = []

    def append(self, record: Any) -> None:
        self.acts.append(record)

    def notice(self, name: str, fields: Any) -> None:
        self.notices.append(name)


class Office:
    """Two processes with one store."""

    def __init__(self) -> None:
        self.store, self.told, self.clock = MemoryStore(), Told(), JumpClock()
        loop, told, nothing = asyncio.get_running_loop(), self.told, None
        world: Any = World(
            loop, self.clock, Nursery(loop), nothing, self.store, told, nothing, told  # type: ignore[arg-type]
        )  # fmt: skip
        self.running = Running(self.store, world.events)
        self.elsewhere = Running(self.store, world.events)
        self.desk = Desk(world, self.running)
        self.other = Desk(world, self.elsewhere)

    async def started(self, spec: Spec = SPEC) -> Experiment:
        return await self.desk.move(await self.desk.make(spec, "k"), "started", "running", 0, by="k", why="go")

    async def decided(self, experiment: Experiment) -> list[str]:
        return [one.did for one in await self.desk.decisions(experiment)]


@pytest.fixture
async def office() -> Office:
    return Office()


async def test_what_is_made_is_a_draft_with_all_that_was_said(office):
    made = await office.desk.make(SPEC, "k", "ann")
    assert (made.id, made.state, made.steps, len(made.salt)) == ("answers.1", "draft", 0, 32)
    assert spec_of(made) == SPEC and await office.desk.named("answers") == made
    assert [(one.did, one.of, one.by, one.name) for one in office.told.acts] == [
        ("experiment_created", "answers.1", "k", "ann")
    ]


async def test_it_is_known_at_once_where_it_was_moved_and_elsewhere_at_the_next_look(office):
    started = await office.started()
    assert [one.experiment for one in office.running.known] == [started]
    assert office.elsewhere.known == ()
    await office.elsewhere.look()
    assert [one.experiment for one in office.elsewhere.known] == [started]


async def test_what_is_known_stays_the_very_same_while_nothing_changes(office):
    await office.started()
    known = office.running.known
    await office.running.look()
    assert office.running.known is known


async def test_while_the_store_is_away_what_is_known_holds_on(office, monkeypatch):
    await office.started()

    async def away(kind: Any) -> Any:
        raise StoreDown("away")

    monkeypatch.setattr(office.store, "every", away)
    with pytest.raises(StoreDown):
        await office.running.look()
    assert len(office.running.known) == 1


async def test_a_move_is_a_decision_and_an_entry_of_the_audit_log(office):
    started = await office.started()
    moved = await office.desk.move(
        started, "promoted", "promoted", 1, by="house", why="it is better", inputs='{"of":"units"}', arm="b"
    )
    assert (moved.state, moved.stage, moved.steps, moved.arm, moved.why) == ("promoted", 1, 2, "b", "it is better")
    last = (await office.desk.decisions(started))[-1]
    assert last == Decision(
        "answers.1#1", "answers.1", moved.since_ms, "promoted", "running", 0, "promoted", 1, "house", "it is better",
        '{"of":"units"}', "b",
    )  # fmt: skip
    act = office.told.acts[-1]
    assert (act.did, act.by, act.before["state"], act.after["arm"]) == ("experiment_promoted", "house", "running", "b")


async def test_of_two_who_decide_at_once_one_does(office):
    started = await office.started()
    both = await asyncio.gather(
        office.desk.move(started, "advanced", "running", 1, by="house", why="go on"),
        office.other.move(started, "rolled_back", "rolled_back", 0, by="house", why="it is worse"),
        return_exceptions=True,
    )
    assert sum(isinstance(one, Conflict) for one in both) == 1
    assert await office.decided(started) == ["started", "advanced"]
    assert (await office.desk.named("answers")).steps == 2


async def test_what_was_decided_by_one_who_died_is_done_by_the_next(office):
    started = await office.started()
    died = Decision(
        "answers.1#1", "answers.1", 9, "rolled_back", "running", 0, "rolled_back", 0, "house", "worse", "{}"
    )
    await office.store.add(died)
    with pytest.raises(Conflict, match="look again"):
        await office.desk.move(started, "advanced", "running", 1, by="house", why="go on")
    now = await office.desk.named("answers")
    assert (now.state, now.steps, now.why) == ("rolled_back", 2, "worse")
    assert office.told.acts[-1].did == "experiment_rolled_back"


async def test_who_decided_is_told_that_it_is_done_though_another_did_it(office, monkeypatch):
    started, add = await office.started(), office.store.add

    async def add_and_be_late(one: Any) -> None:
        await add(one)
        with pytest.raises(Conflict):
            monkeypatch.setattr(office.store, "add", add)
            await office.other.move(started, "stopped", "stopped", 0, by="l", why="enough")

    monkeypatch.setattr(office.store, "add", add_and_be_late)
    moved = await office.desk.move(started, "advanced", "running", 1, by="k", why="go on")
    assert (moved.state, moved.stage, moved.steps) == ("running", 1, 2)
    assert [one.did for one in office.told.acts].count("experiment_advanced") == 1


async def test_only_an_arm_can_be_promoted(office):
    with pytest.raises(Conflict, match="no arm 'c'"):
        await office.desk.move(await office.started(), "promoted", "promoted", 1, by="k", why="", arm="c")


async def test_a_name_is_free_again_when_its_experiment_was_archived(office):
    started = await office.started()
    with pytest.raises(Conflict, match="already"):
        await office.desk.make(SPEC, "k")
    with pytest.raises(Conflict, match="under way"):
        await office.desk.archive(started, "k")
    stopped = await office.desk.move(started, "stopped", "stopped", 0, by="k", why="")
    gone = await office.desk.archive(stopped, "k")
    assert gone.archived_ms and office.running.known == ()
    again = await office.desk.make(SPEC, "k")
    assert again.id == "answers.2" and await office.desk.named("answers") == again
    with pytest.raises(Conflict, match="archived"):
        await office.desk.move(gone, "started", "running", 0, by="k", why="")


async def test_one_that_is_not_there_is_named(office):
    with pytest.raises(NotFound, match="'other'"):
        await office.desk.named("other")


async def test_what_a_later_version_has_written_is_told_once_and_passed_over(office):
    made = await office.desk.make(SPEC, "k")
    await office.store.change(made, spec='{"name": "answers", "arms": [{"name": "b"}], "later": 1}')
    later = Running(office.store, office.told)  # type: ignore[arg-type]
    await later.look()
    await later.look()
    assert later.known == () and office.told.notices == ["experiment_unreadable"]


async def test_every_process_knows_within_two_seconds(office):
    looking = asyncio.create_task(office.elsewhere.run())
    try:
        await asyncio.sleep(0)
        started = await office.started()
        async with asyncio.timeout(2):
            await until(lambda: office.elsewhere.known)
        assert office.elsewhere.known[0].experiment == started
    finally:
        looking.cancel()
