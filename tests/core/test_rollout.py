"""Where a rollout goes: on when nothing looks worse, back when something is, to everybody when all is known."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tidegate.core.experiments import ArmSpec, GuardMetric, Spec, UnitLine
from tidegate.core.rollout import decide
from tidegate.core.values import Duration, Share

LONG_S = 3600.0


def trial(**fields: object) -> Spec:
    return Spec(**({"name": "x", "arms": (ArmSpec("b"),), "ramp": (Share(0.05), Share(0.5), Share(1.0))} | fields))


def units(
    n: int, share: float, stage: int = 0, seed: int = 1, errors: float = 0.01, latency: float = 1.0, cost: float = 1.0,
    score: float = 0.5, first: int = 0, arms: Sequence[str] = ("b",),
) -> list[UnitLine]:  # fmt: skip
    """One call each: what is given is that of the arm."""
    chance, found = random.Random(seed), []
    for at in range(n):
        arm = chance.choice(arms) if chance.random() < share else "control"
        own = arm != "control"
        failed = chance.random() < (errors if own else 0.01)
        took_us = round(1e6 * chance.lognormvariate(0, 0.5) * (latency if own else 1))
        cost_nusd = round(1e6 * chance.lognormvariate(0, 0.7) * (cost if own else 1))
        scored = chance.betavariate(4 * score, 4 * (1 - score)) if own else chance.betavariate(2, 2)
        found.append(
            UnitLine(
                stage, arm, f"{first + at:016x}", at, 1, int(failed), int(not failed), took_us, int(not failed),
                took_us // 4, 1, cost_nusd, scored=1, score_milli=round(1000 * scored),
            )
        )  # fmt: skip
    return found


def test_a_stage_ends_when_it_has_lasted_and_nothing_looks_worse():
    spec, lines = trial(), units(4_000, 0.05)
    assert decide(spec, 0, LONG_S, LONG_S, lines).did == "advance"
    early = decide(spec, 0, 10, 10, lines)
    assert (early.did, early.why) == ("wait", "this stage lasts 600s at least")
    few = decide(spec, 0, LONG_S, LONG_S, lines[:300])
    assert few.did == "wait" and "needs 100 users with each arm, and has: b " in few.why


@pytest.mark.parametrize(
    ("worse", "metric"), [({"errors": 0.12}, "error rate"), ({"latency": 1.3}, "latency"), ({"cost": 1.4}, "cost")]
)
def test_what_is_certainly_worse_is_taken_back_at_once(worse, metric):
    found = decide(trial(), 0, 1, 1, units(3_000, 0.05, **worse))
    assert (found.did, found.arm) == ("roll_back", "b")
    assert found.why.startswith(f"b is worse in {metric}: by ")


def test_nobody_loses_the_control_before_all_is_known():
    spec = trial(guards=(GuardMetric("latency", 0.1),), primary=GuardMetric("cost", 0.05))
    first = units(600, 0.05, cost=0.8)
    unsure = decide(spec, 1, LONG_S, LONG_S, first + units(250, 0.5, 1, cost=0.8, first=4_000, seed=2))
    assert unsure.did == "wait" and "it is not sure that " in unsure.why
    second = first + units(3_000, 0.5, 1, cost=0.8, first=4_000, seed=3)
    sure = decide(spec, 1, LONG_S, LONG_S, second)
    assert (sure.did, sure.arm) == ("advance", "b")
    last = decide(spec, 2, LONG_S, LONG_S, second + units(200, 1, 2, first=10_000, seed=4))
    assert (last.did, last.arm) == ("promote", "b")
    assert last.why.startswith("b: better in cost by ")


def test_without_enough_evidence_by_the_end_the_control_stays():
    spec = trial(max_duration=Duration(86_400))
    found = decide(spec, 1, 90_000, 90_000, units(400, 0.5, 1))
    assert found.did == "inconclusive"
    assert found.why.startswith("its time of 86400s is over, and the control stays: b: it is not sure that ")


def test_units_that_are_missing_block():
    lines = [line for line in units(6_000, 0.5, 1) if line.arm == "control" or line.first_ms % 5]
    found = decide(trial(), 1, LONG_S, LONG_S, lines)
    assert found.did == "blocked" and "instead of" in found.why
