"""What is promised of a rollout: more units for less of an effect, and none where no number would do."""

from __future__ import annotations

import pytest

from tidegate.core.experiments import ArmSpec, GuardMetric, Spec
from tidegate.core.promise import promised
from tidegate.core.values import Share

SPREADS = {"cost": 0.7, "latency": 0.5, "error_rate": 0.005}
SPEC = Spec(name="x", arms=(ArmSpec("b"),), ramp=(Share(0.5),), primary=GuardMetric("cost", 0.05))


def most(spec: Spec = SPEC, share: float = 0.5, gain: float = 0.15, power: float = 0.8) -> float:
    found = promised(spec, share, gain, SPREADS, power)
    return max(found[name] or float("inf") for name in found)


def test_it_is_of_each_metric():
    found = promised(SPEC, 0.5, 0.15, SPREADS)
    assert set(found) == {"cost", "latency", "error_rate"}
    assert all(units is not None and 500 < units < 5_000 for units in found.values())


@pytest.mark.parametrize("other", [{"power": 0.9}, {"gain": 0.08}, {"share": 0.8}])
def test_more_power_less_gain_and_a_small_control_take_more_units(other):
    assert most(**other) > most()


def test_a_gain_that_is_not_above_its_margin_cannot_be_promised():
    assert promised(SPEC, 0.5, 0.05, SPREADS)["cost"] is None


def test_with_several_arms_each_needs_more():
    assert most(Spec(name="x", arms=(ArmSpec("b"), ArmSpec("c")), primary=SPEC.primary)) > most()
