"""What units say: their values, what chance had to decide of them, and how many more it takes."""

from __future__ import annotations

import pytest

from tidegate.core.experiments import METRICS, ArmSpec, Spec, UnitLine
from tidegate.core.findings import chance_of, needed
from tidegate.core.tally import HAD, NEVER, SUMS, Group, counted, values
from tidegate.core.values import Share

LINE = UnitLine(
    0, "b", "u", 0, calls=4, failed=1, answered=2, took_us=3_000, begun=2, first_us=500, priced=4, cost_nusd=1_000,
    guarded=2, asked_again=1, scored=2, score_milli=1_500, judged=1, judged_milli=900, tasks=5, completed=4,
)  # fmt: skip
EMPTY = UnitLine(0, "b", "empty", 0)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("error_rate", 0.25), ("first_token", 250), ("latency", 1_500), ("cost", 250), ("guard_rate", 0.5),
        ("retry_rate", 0.25), ("satisfaction", 0.25), ("judge_score", 0.1), ("task_completion", 0.2),
    ],
)  # fmt: skip
def test_a_value_is_the_mean_of_a_unit_and_more_is_worse(metric, value):
    assert values(metric, [LINE, EMPTY]) == [pytest.approx(value), None]


def test_every_metric_has_its_sums():
    assert set(SUMS) == set(METRICS)


def test_chance_decides_of_who_is_new_and_of_who_had_the_control():
    lines = [UnitLine(stage, arm, unit, 0) for stage, arm, unit in (
        (1, "b", "kept"), (0, "b", "kept"), (0, "control", "moved"), (1, "b", "moved"), (1, "control", "new"),
        (2, "control", "new"), (1, "b", "both"), (1, "control", "both"),
    )]  # fmt: skip
    spec = Spec(name="x", arms=(ArmSpec("b"),))
    found = {unit: {*counted(spec, [line for line in lines if line.unit == unit]).lines} for unit in
             ("kept", "moved", "new", "both")}  # fmt: skip
    assert found["kept"] == {Group(0, "b", NEVER), Group(1, "b", HAD)}
    assert found["moved"] == {Group(0, "control", NEVER), Group(1, "b", 0)}
    assert found["new"] == {Group(1, "control", NEVER), Group(2, "control", 1)}
    assert found["both"] == {Group(1, "b", NEVER), Group(1, "control", HAD)}, "two arms in one stage say nothing"


def test_the_chance_of_an_arm_is_its_part_of_what_is_given_out_now():
    spec = Spec(
        name="x", arms=(ArmSpec("b"), ArmSpec("c", weight=3)), ramp=(Share(0.2), Share(0.4), Share(1.0))
    )  # fmt: skip
    assert chance_of(spec, "b", 0, NEVER) == pytest.approx(0.05 / 0.85)
    assert chance_of(spec, "c", 1, NEVER) == pytest.approx(0.3 / 0.9)
    assert chance_of(spec, "c", 1, 0) == pytest.approx(0.15 / 0.75)
    assert chance_of(spec, "b", 2, 1) == 1, "nobody is left to compare with"


def test_twice_as_far_away_takes_a_quarter_of_the_units_or_less():
    near, far = needed(0.1, 1.0, 0.1, 0.05), needed(0.2, 1.0, 0.2, 0.05)
    assert near is not None and far is not None
    assert near == pytest.approx(4 * far, rel=0.01)
    assert needed(0.1, 1.0, 0.1, 0.05, power=0.95) > near
    assert needed(1e-9, 1.0, 0.1, 0.05) is None
