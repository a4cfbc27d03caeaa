"""Where a rollout goes: on when nothing looks worse, back when something is, to everybody when all is known."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from tests.effort import steps
from tidegate.core.experiments import ArmSpec, GuardMetric, Spec, UnitLine
from tidegate.core.rollout import Judgement
from tidegate.core.rollout import decide as decided
from tidegate.core.tally import Before, counted
from tidegate.core.values import Duration, Share

LONG_S = 3600.0


def decide(
    spec: Spec, stage: int, stage_age_s: float, age_s: float, lines: Sequence[UnitLine], before: Before | None = None
) -> Judgement:
    return decided(spec, stage, stage_age_s, age_s, counted(spec, lines, before))


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


def test_a_certain_trifle_takes_nothing_back():
    """5 % slower is certain after so many, and the margin is 10 %."""
    found = decide(trial(), 1, LONG_S, LONG_S, units(16_000, 0.5, 1, latency=1.05))
    latency = found.findings[1]
    assert latency.low is not None and latency.low > 0 and latency.verdict == "within"
    assert found.did == "advance"


def test_what_users_say_is_a_reason_too():
    spec = trial(guards=(GuardMetric("satisfaction", 0.05),))
    found = decide(spec, 0, 1, 1, units(4_000, 0.5, score=0.35))
    assert found.did == "roll_back"
    assert found.why.startswith("b is worse in satisfaction: by 0.1")
    (one,) = found.findings
    assert one.estimate is not None and one.low is not None and one.high is not None
    assert one.low < one.estimate < one.high < 0
    assert one.value == pytest.approx(0.35, abs=0.02) and one.control_value == pytest.approx(0.5, abs=0.02)


def test_harm_is_ended_even_where_units_are_missing():
    lines = [line for line in units(6_000, 0.5, 1, errors=0.3) if line.arm == "control" or line.first_ms % 5]
    assert decide(trial(), 1, LONG_S, LONG_S, lines).did == "roll_back"


def test_money_that_is_spent_ends_it():
    spec = trial(max_usd=2.0)
    tally = counted(spec, units(400, 0.5, 1))
    with_cost = {nusd: replace(tally, spent_nusd={"control": 9, "b": nusd}) for nusd in (1_999_999_999, 2_000_000_000)}
    assert decided(spec, 1, 1, 1, with_cost[1_999_999_999]).did == "wait"
    found = decided(spec, 1, 1, 1, with_cost[2_000_000_000])
    assert found.did == "inconclusive" and found.why.startswith("it has cost the 2 USD that it may, and the control")


def test_what_is_counted_by_request_is_never_decided():
    spec = trial(unit="request", max_duration=Duration(1_000))
    lines = units(4_000, 0.5, errors=0.5)
    assert decide(spec, 0, 1, 1, lines).did == "wait"
    assert decide(spec, 0, 1, 1_000, lines).did == "inconclusive"


def test_of_several_arms_the_one_that_gains_most_wins():
    spec = trial(
        arms=(ArmSpec("b"), ArmSpec("c", weight=2)), ramp=(Share(0.6),), primary=GuardMetric("cost", 0.05),
        guards=(GuardMetric("latency", 0.1),),
    )  # fmt: skip
    third = units(6_000, 1 / 3, errors=0.01, cost=0.8)
    more = [line._replace(arm="c") for line in units(6_000, 1, seed=5, cost=0.7, first=50_000)][:4_000]
    plain = units(4_000, 0, seed=6, first=90_000)
    lines = [line for line in third if line.arm == "b"][:2_000] + more + plain
    found = decide(spec, 0, LONG_S, LONG_S, lines)
    assert (found.did, found.arm) == ("promote", "c"), found.why
    assert [(one.arm, one.metric) for one in found.findings] == [
        ("b", "cost"), ("b", "latency"), ("c", "cost"), ("c", "latency"),
    ]  # fmt: skip
    lax = trial(arms=spec.arms, ramp=spec.ramp, guards=spec.guards)
    without = decide(lax, 0, LONG_S, LONG_S, lines)
    assert (without.did, without.arm) == ("promote", "c"), "the heavier of two that are both fine"
    broken = [line._replace(failed=1) if line.arm == "b" else line for line in lines]
    spec = trial(arms=spec.arms, ramp=spec.ramp)
    one_bad = decide(spec, 0, LONG_S, LONG_S, broken)
    assert (one_bad.did, one_bad.arm) == ("roll_back", "b"), "what chance gave to a bad arm cannot be given back singly"


def test_what_looks_worse_waits_where_it_is():
    found = decide(trial(), 0, LONG_S, LONG_S, units(2_000, 0.06, errors=0.03, seed=3))
    assert found.did == "wait" and found.why.startswith("b looks worse in error rate, by ")


def test_what_nobody_sends_cannot_be_fine():
    spec = trial(ramp=(Share(0.5),), guards=(GuardMetric("judge_score", 0.05),))
    found = decide(spec, 0, LONG_S, LONG_S, units(2_000, 0.5))
    assert found.did == "wait"
    assert found.why == "b: too few users have a value of judge score: 0 with it, 0 without"
    assert decide(spec, 0, LONG_S, spec.max_duration, units(2_000, 0.5)).did == "inconclusive"


def test_calls_that_cost_nothing_are_compared_by_their_means():
    spec = trial(guards=(GuardMetric("cost", 0.1),))
    lines = [line._replace(cost_nusd=0) if line.first_ms % 3 == 0 else line for line in units(9_000, 0.5, 1, cost=0.5)]
    (cost,) = decide(spec, 1, LONG_S, LONG_S, lines).findings
    assert cost.how == "relative means" and cost.verdict == "within"
    assert cost.estimate == pytest.approx(-0.5, abs=0.05)


def test_a_stage_without_a_control_says_nothing_of_the_arm():
    spec = trial(guards=(GuardMetric("latency", 0.1),))
    before = units(6_000, 0.5, 1)
    slow_day = units(3_000, 1, 2, latency=3.0, first=10_000)
    found = decide(spec, 2, LONG_S, LONG_S, before + slow_day)
    assert found.did == "promote"
    assert found.findings[0].strata[-1].control_units == 0 and found.findings[0].strata[-1].estimate is None


@pytest.mark.parametrize("seed", range(3))
def test_neither_order_nor_the_names_of_units_nor_of_arms_change_anything(seed):
    lines = units(800, 0.3, 0, seed, latency=1.1) + units(800, 0.5, 1, seed + 9, latency=1.1, first=400)
    spec = trial(primary=GuardMetric("satisfaction", 0.1))
    found = decide(spec, 1, LONG_S, LONG_S, lines)
    shuffled = random.Random(seed).sample(lines, len(lines))
    renamed = [line._replace(unit=line.unit[::-1], arm=line.arm.replace("b", "z")) for line in shuffled]
    again = decide(trial(primary=spec.primary, arms=(ArmSpec("z"),)), 1, LONG_S, LONG_S, renamed)
    assert again.did == found.did
    for one, other in zip(found.findings, again.findings, strict=True):
        assert one.verdict == other.verdict
        assert (one.estimate, one.low, one.high) == pytest.approx((other.estimate, other.low, other.high), abs=1e-6)


def test_it_says_what_would_settle_it_and_never_that_something_is_significant():
    needs = []
    for n in (300, 1_000, 4_000):
        found = decide(trial(), 1, LONG_S, LONG_S, units(n, 0.5, 1, seed=8))
        latency = found.findings[1]
        needs.append(latency.needs)
        assert "significant" not in found.why
    assert needs[0] is not None and needs[0] > 0 and needs[-1] == 0


def test_who_had_the_arm_before_is_no_new_bet_and_still_counts_for_the_estimate():
    first = [line._replace(failed=int(line.arm == "b"), answered=0) for line in units(60, 0.1, seed=4)]
    once = decide(trial(), 1, 1, 1, first).findings[0]
    again = decide(trial(), 1, 1, 1, first + [line._replace(stage=1) for line in first if line.arm == "b"]).findings[0]
    assert once.low == again.low
    assert again.units == 2 * once.units


def test_what_was_so_before_makes_it_surer_with_the_same_units():
    chance = random.Random(3)
    usual = {f"{at:016x}": chance.lognormvariate(0, 1) * 1e6 for at in range(2_000)}
    lines = [
        line._replace(took_us=round(usual[line.unit] * chance.lognormvariate(0, 0.2)), failed=0, answered=1)
        for line in units(2_000, 0.5, 1)
    ]
    spec = trial(guards=(GuardMetric("latency", 0.1),))
    plain = decide(spec, 1, LONG_S, LONG_S, lines).findings[0]
    known = decide(spec, 1, LONG_S, LONG_S, lines, before={"latency": usual}).findings[0]
    assert None not in (plain.low, plain.high, known.low, known.high)
    assert known.high - known.low < 0.5 * (plain.high - plain.low)
    assert abs(known.estimate) < 0.03


def test_a_line_more_is_fifty_steps_more_however_many_there_are():
    some = units(1_000, 0.05) + units(1_000, 0.5, 1)

    def work(copies: int) -> int:
        lines = [
            UnitLine(*line[:2], f"{at % 1_000:x}.{copy}", *line[3:])
            for copy in range(copies)
            for at, line in enumerate(some)
        ]
        spec = trial(primary=GuardMetric("satisfaction", 0.05))
        return steps(lambda: decide(spec, 1, LONG_S, LONG_S, lines))

    assert (work(10) - work(5)) / 10_000 < 50
