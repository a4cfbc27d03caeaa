from __future__ import annotations

import pytest

from tidegate.core.errors import BadRequest, Conflict
from tidegate.core.experiments import ArmSpec, Experiment, Share, Spec
from tidegate.core.rollout import Judgement
from tidegate.jobs.rollouts.course import Move, followed, gated, possible, wanted

SPEC = Spec(name="x", arms=(ArmSpec("short"), ArmSpec("long")), ramp=(Share(0.1), Share(0.5), Share(1.0)))


def one(state="running", stage=0):
    return Experiment("exp_1", "x", "{}", "salt", 0, "key", state=state, stage=stage)


def found(did, arm="short"):
    return Judgement(did=did, why="because", arm=arm, findings=())


@pytest.mark.parametrize(
    ("state", "stage", "verbs"),
    [
        ("draft", 0, ["start", "stop"]),
        ("gate", 0, ["stop"]),
        ("running", 0, ["advance", "promote", "rollback", "stop"]),
        ("running", 2, ["promote", "rollback", "stop"]),
        ("promoted", 1, ["rollback"]),
        ("rolled_back", 0, []),
        ("inconclusive", 0, []),
        ("stopped", 0, []),
    ],
)
def test_what_a_person_can_do_depends_on_where_it_is(state, stage, verbs):
    assert possible(one(state, stage), SPEC) == verbs


@pytest.mark.parametrize(
    ("state", "verb", "said"),
    [
        ("draft", "advance", "cannot advance: it is draft; it can: start, stop"),
        ("running", "start", "cannot start: it is running at its last stage, 100%; it can: promote, rollback, stop"),
        ("stopped", "start", "it is stopped; it has ended; begin another one"),
    ],
)
def test_in_a_wrong_state_it_is_said_what_is_possible(state, verb, said):
    with pytest.raises(Conflict, match=said):
        wanted(one(state, 2), SPEC, verb, "")


def test_a_person_moves_it_on():
    assert wanted(one(stage=1), SPEC, "advance", "looks good") == Move("advanced", "running", 2, "looks good")
    assert wanted(one("draft"), SPEC, "start", "") == Move("started", "running", 0, "")
    assert wanted(one(), SPEC, "promote", "", "long").arm == "long"
    with pytest.raises(BadRequest, match="short, long"):
        wanted(one(), SPEC, "promote", "")


def test_what_only_a_shadow_has_said_is_promoted_by_nobody():
    spec = Spec(name="x", arms=(ArmSpec("a"),), mode="shadow", ramp=(Share(0.1), Share(0.5)))
    assert possible(one(), spec) == ["advance", "rollback", "stop"]
    with pytest.raises(Conflict, match="nobody has seen what the arms of 'x' say; begin an experiment whose mode is"):
        wanted(one(), spec, "promote", "")


def test_a_gate_is_asked_before_anybody_gets_an_arm():
    spec = Spec(name="x", arms=(ArmSpec("a"),), gate="support")
    assert wanted(one("draft"), spec, "start", "")[:2] == ("started", "gate")
    assert gated(one("gate"), spec, {})[:2] == ("gate_passed", "running")
    failed = gated(one("gate"), spec, {"a": "3 of 10 answers failed"})
    assert failed[:2] == ("stopped", "stopped") and "a: 3 of 10 answers failed" in failed.why


@pytest.mark.parametrize(
    ("did", "stage", "move"),
    [
        ("wait", 0, None),
        ("advance", 0, ("advanced", "running", 1)),
        ("advance", 2, None),
        ("promote", 2, ("promoted", "promoted", 2)),
        ("roll_back", 0, ("rolled_back", "rolled_back", 0)),
        ("inconclusive", 1, ("inconclusive", "inconclusive", 1)),
        ("blocked", 1, ("blocked", "running", 1)),
    ],
)
def test_what_was_found_is_followed(did, stage, move):
    got = followed(one(stage=stage), SPEC, found(did))
    assert (got and got[:3]) == move
    assert followed(one("stopped"), SPEC, found(did)) is None


@pytest.mark.parametrize("fields", [{"automatic": False}, {"unit": "request"}, {"mode": "shadow"}])
def test_what_a_person_decides_is_not_decided_without_one_but_ends_in_time(fields):
    spec = Spec(name="x", arms=(ArmSpec("a"),), **fields)
    assert followed(one(), spec, found("promote")) is followed(one(), spec, found("roll_back")) is None
    assert followed(one(), spec, found("inconclusive")).state == "inconclusive"


def test_that_all_units_of_a_shadow_have_the_control_is_no_wrong_ratio():
    assert followed(one(), Spec(name="x", arms=(ArmSpec("a"),), mode="shadow"), found("blocked")) is None
