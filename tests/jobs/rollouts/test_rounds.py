from __future__ import annotations

import asyncio

import pytest

from tests.jobs.rollouts.office import SPEC, Office, population
from tidegate.core.errors import ConfigError, Conflict
from tidegate.core.experiments import Decision, Known, read, spec_of
from tidegate.jobs.rollouts import evidence
from tidegate.jobs.rollouts.course import Move
from tidegate.jobs.rollouts.evidence import Asked, Seen, Tripped, followed_again
from tidegate.jobs.rollouts.evidence import read as inputs_of
from tidegate.jobs.rollouts.rounds import LEASE_S, Lease
from tidegate.telemetry.alerts import EVENTS


@pytest.fixture
async def office():
    return Office()


async def test_one_that_nobody_started_is_left_alone(office):
    process = office.process()
    await process.make()
    await process.look()
    assert await process.did() == [] and office.names() == []


async def test_a_good_one_goes_on_stage_by_stage_and_is_promoted(office):
    process = office.process()
    one = await process.start(
        guards=[{"metric": "error_rate", "margin": 0.2}], primary={"metric": "latency", "margin": 0.1}
    )
    office.lines += population(0, 2_000, 0.2, one.since_ms, slower=0.7)
    await process.look()
    assert await process.did() == ["started"]  # it has not lasted long enough
    await office.clock.advance(700)
    await process.look()
    one = await process.now()
    assert (one.state, one.stage) == ("running", 1)
    office.lines += population(1, 2_000, 0.5, one.since_ms, slower=0.7)
    await office.clock.advance(700)
    await process.look()
    one = await process.now()
    assert (one.state, one.arm) == ("promoted", "a") and "better in latency" in one.why
    assert await process.did() == ["started", "advanced", "promoted"]
    assert office.names() == ["experiment_started", "experiment_advanced", "experiment_promoted"]
    assert [act.by for act in office.acts if act.did == "experiment_promoted"] == ["house"]


@pytest.mark.parametrize(
    ("worse", "metric"), [({"failed": 0.12}, "error rate"), ({"slower": 1.5}, "latency"), ({"dearer": 1.6}, "cost")]
)
async def test_a_bad_one_is_taken_back_before_its_stage_is_over(office, worse, metric):
    process = office.process()
    one = await process.start()
    office.lines += population(0, 1_500, 0.2, one.since_ms, **worse)
    await process.look()
    one = await process.now()
    assert one.state == "rolled_back" and metric in one.why
    (last,) = (fields for name, fields in office.told if name == "experiment_rolled_back")
    assert last["experiment"] == "shorter" and last["decision"] == f"{one.id}#1" and last["why"] == one.why


async def test_what_a_decision_was_based_on_lets_it_follow_again(office):
    process = office.process()
    one = await process.start()
    office.lines += population(0, 1_500, 0.2, one.since_ms, slower=1.6)
    await process.look()
    started, taken_back = await process.decisions()
    spec = spec_of(await process.now())
    assert followed_again(spec, started)[0] is None
    assert followed_again(spec, taken_back) == (True, f"rolled_back: {taken_back.why}")
    seen = inputs_of(taken_back.inputs)
    assert isinstance(seen, Seen) and seen.units == 1_500
    assert len(taken_back.inputs) < 4096
    other = read(SPEC | {"guards": [{"metric": "latency", "margin": 0.9}]})
    assert followed_again(other, taken_back)[0] is False


async def test_of_two_processes_that_decide_at_once_one_does(office):
    one, other = office.process(), office.process()
    started = await one.start()
    office.lines += population(0, 1_500, 0.2, started.since_ms, slower=1.6)
    for process in (one, other):
        await process.running.look()
    await asyncio.gather(
        *(each.rollouts._judge(each.running.known[0]) for each in (one, other)), return_exceptions=True
    )
    assert await one.did() == ["started", "rolled_back"]
    assert office.names().count("experiment_rolled_back") == 1


async def test_one_looks_while_it_has_the_lease_and_another_when_it_has_died(office):
    process, one = office.process(), Lease(office.world, "e", "one")
    other = Lease(office.world, "e", "other")
    assert await one.taken() and not await other.taken()
    await one.given_back()
    assert await other.taken() and not await one.taken()
    await office.clock.advance(LEASE_S + 1)  # it died
    assert await one.taken()
    assert process.rollouts.holder


async def test_a_wrong_sample_ratio_is_told_once_and_nothing_is_decided(office):
    process = office.process()
    one = await process.start()
    office.lines += population(0, 2_000, 0.4, one.since_ms)
    await office.clock.advance(700)
    for _ in range(3):
        await process.look()
    now = await process.now()
    assert (now.state, now.stage, now.since_ms) == ("running", 0, one.since_ms)
    assert await process.did() == ["started", "blocked"] and "not given out" in now.why


async def test_a_person_decides_where_that_is_wanted_but_time_ends_it(office):
    process = office.process()
    one = await process.start(automatic=False, max_duration=3600)
    office.lines += population(0, 1_500, 0.2, one.since_ms, slower=1.6)
    await process.look()
    assert await process.did() == ["started"]
    office.lines[:] = population(0, 1_500, 0.2, one.since_ms)
    await office.clock.advance(4_000)
    await process.look()
    now = await process.now()
    assert now.state == "inconclusive" and "is over" in now.why


async def test_what_nobody_sees_ends_with_its_time_and_is_never_blocked(office):
    process = office.process()
    one = await process.start(mode="shadow", max_duration=3600)
    office.lines += [line._replace(arm="control") for line in population(0, 500, 0.2, one.since_ms)]
    await process.look()
    assert await process.did() == ["started"]
    await office.clock.advance(4_000)
    await process.look()
    assert (await process.now()).state == "inconclusive"


async def test_every_decision_can_be_told_by_a_webhook():
    told = {f"experiment_{did}" for did in (*evidence.DID.values(), "started", "stopped")}
    assert told <= set(EVENTS)


async def test_when_its_money_is_spent_it_ends(office):
    process = office.process()
    one = await process.start(max_usd=0.000_001)
    office.lines += population(0, 300, 0.2, one.since_ms)
    await process.look()
    assert (await process.now()).state == "inconclusive"


# --- tripwires


def trip(process, id, **seen):
    seen = {"failures": 10, "control_calls": 20} | seen
    process.rollouts._trip(id, "10 calls of a failed one after the other", Tripped("a", **seen))


async def test_a_tripwire_takes_back_at_once_and_once(office):
    one, other = office.process(), office.process()
    started = await one.start()
    await other.running.look()
    for process in (one, other):
        trip(process, started.id)
    await office.world.nursery.wait(5)
    now = await one.now()
    assert now.state == "rolled_back" and now.why.startswith("tripwire: 10 calls of a failed")
    assert await one.did() == ["started", "rolled_back"]


async def test_a_tripwire_that_found_the_store_away_is_pulled_with_the_next_look(office):
    process = office.process()
    started = await process.start()
    process.rollouts._tripped[started.id] = ("many failed", Tripped("a", failures=10))
    await process.look()
    assert await process.did() == ["started", "rolled_back"]


# --- the gate


async def test_nobody_gets_an_arm_before_the_suite_has_passed(office):
    process = office.process()
    await process.start(gate="support")
    assert (await process.now()).state == "gate"
    await process.look()
    await asyncio.gather(*process.rollouts._gates.values())
    now = await process.now()
    assert now.state == "running" and await process.did() == ["started", "gate_passed"]
    assert followed_again(spec_of(now), (await process.decisions())[1])[0] is True


async def test_a_gate_that_is_not_passed_ends_it_with_the_reason(office):
    process = office.process()
    await process.start(gate="support")
    office.passes = {"a": "2 of 9 answers failed"}
    await process.look()
    await asyncio.gather(*process.rollouts._gates.values())
    now = await process.now()
    assert now.state == "stopped" and "a: 2 of 9 answers failed" in now.why


@pytest.mark.parametrize("wrong", [ConfigError("suites/support.yaml: cannot be read"), RuntimeError("no such thing")])
async def test_a_suite_that_cannot_be_asked_ends_it_too(office, wrong):
    process = office.process()

    async def fails(one):
        raise wrong

    process.rollouts._gate = fails
    await process.start(gate="support")
    await process.look()
    await asyncio.gather(*process.rollouts._gates.values())
    now = await process.now()
    assert now.state == "stopped" and str(wrong) in now.why


async def test_one_that_is_stopped_while_the_suite_is_asked_stays_stopped(office):
    process = office.process()
    one = await process.start(gate="support")
    known = Known(one, spec_of(one))
    await process.mover.make(one, Move("stopped", "stopped", 0, "enough"), Asked("stop"), "key")
    await process.rollouts._pass_gate(known)
    assert (await process.now()).state == "stopped"


# --- prompts


PROMPT = {"prompt": "support", "arms": [{"name": "a", "prompts": {"support": 4}}]}


async def test_a_promotion_moves_the_label_once_even_if_who_promoted_died(office):
    process = office.process()
    one = await process.start(**PROMPT)
    promoted = await process.desk.move(one, "promoted", "promoted", 0, by="key", why="liked", arm="a")
    assert office.labels == []  # and here it died
    for _ in range(3):
        await process.look()
    assert office.labels == [("support", "production", 4, "key", "experiment shorter: liked")]
    assert await process.did() == ["started", "promoted", "labelled"]
    assert (await process.now()).since_ms == promoted.since_ms


async def test_a_person_can_promote_and_take_back(office):
    process = office.process()
    one = await process.start(**PROMPT)
    spec = spec_of(one)
    promoted = await process.mover.make(one, Move("promoted", "promoted", 0, "", "a"), Asked("promote"), "key", "ann")
    assert promoted.state == "promoted" and len(office.labels) == 1
    with pytest.raises(Conflict):
        await process.mover.make(one, Move("stopped", "stopped", 0, ""), Asked("stop"), "key")
    assert spec.prompt == "support"
    last = await office.store.find(Decision, f"{one.id}#2")
    assert last.did == "labelled" and last.by == "key"


async def test_one_that_cannot_be_judged_does_not_keep_the_others_from_it(office):
    process = office.process()
    one = await process.start()
    await process.desk.move(
        await process.desk.make(read(SPEC | {"name": "other"}), "key"), "started", "running", 0, by="key", why=""
    )
    units = office.units

    async def fails(id, behind):
        if id == one.id:
            raise RuntimeError("what is this?")
        return await units(id, behind)

    process.rollouts._units = fails
    await process.look()
    assert ("rollout_crashed", {"experiment": "shorter", "error": "RuntimeError: what is this?"}) in office.told
    assert "other" in process.rollouts.units
