"""The bench of experiments: many rollouts at once do what each would, and every figure is there."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from bench.rollouts import Calls, Rollouts, Said

from tests.test_bench import bench
from tidegate.core.experiments import ArmSpec, GuardMetric, Spec, UnitLine
from tidegate.core.rollout import decide
from tidegate.core.tally import counted
from tidegate.core.values import Share

LONG_S = 1e5
FIGURES = {
    "aa_wrong_better", "aa_wrong_rollback", "naive_wrong_better", "rollback_units_error_2_6",
    "rollback_units_latency_20", "bad_promoted", "power_at_promise",
}  # fmt: skip


class Lines:
    """The same calls as the ledger would hand them over: one line per unit and stage."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, int], list[int]] = {}
        self._arms: dict[tuple[int, int], str] = {}

    def call(self, row: int, at: Calls, stage: int) -> None:
        unit, failed = int(at.unit[row]), bool(at.failed[row])
        key = (stage, unit)
        self._arms[key] = "b" if at.arm[row] else "control"
        sums = self._lines.setdefault(key, [0] * 6)
        more = (1, failed, not failed, 0 if failed else int(at.took_us[row]), 1, int(at.cost_nusd[row]))
        for place, value in enumerate(more):
            sums[place] += value

    def all(self) -> list[UnitLine]:
        return [
            UnitLine(stage, self._arms[stage, unit], f"{unit:016x}", 0, calls=calls, failed=failed, answered=answered,
                     took_us=took_us, priced=priced, cost_nusd=cost)
            for (stage, unit), (calls, failed, answered, took_us, priced, cost) in self._lines.items()
        ]  # fmt: skip


@pytest.mark.parametrize(("errors", "slower", "dearer"), [(0.02, 1.0, 1.0), (0.3, 1.0, 1.0), (0.02, 0.6, 0.8)])
def test_many_rollouts_at_once_do_what_each_would(errors, slower, dearer):
    spec = Spec(
        name="x",
        arms=(ArmSpec("b"),),
        ramp=(Share(0.2), Share(0.5), Share(0.6)),
        primary=GuardMetric("latency", 0.1),
        guards=(GuardMetric("error_rate", 0.05), GuardMetric("cost", 0.2)),
        min_units=15,
    )
    rollouts, units, chance = 4, 400, np.random.default_rng(7)
    many, lines = Rollouts(spec, rollouts, units), [Lines() for _ in range(rollouts)]
    place = chance.random((rollouts, units))
    rows, seen, moved = np.arange(rollouts), set(), 0
    for look in range(700):
        unit = np.minimum(chance.pareto(0.7, rollouts) * 20, units - 1).astype(np.int64)
        arm = place[rows, unit] < np.asarray(spec.ramp)[many.stage]
        at = Calls(
            unit, arm, chance.random(rollouts) < np.where(arm, errors, 0.02),
            np.round(1e6 * chance.lognormal(0, 0.5, rollouts) * np.where(arm, slower, 1.0)),
            np.round(1e6 * chance.lognormal(0, 0.7, rollouts) * np.where(arm, dearer, 1.0)),
        )  # fmt: skip
        for row in range(rollouts):
            lines[row].call(row, at, int(many.stage[row]))
        many.call(at)
        said = many.said()
        moves, promotes = many.moves_on(said), many.promotes(said)
        if look % 70 == 69:
            for row in range(rollouts):
                found = decide(spec, int(many.stage[row]), LONG_S, LONG_S, counted(spec, lines[row].all()))
                seen.add(found.did)
                at_once = "roll_back" if said.worse[row] else "blocked" if said.odd[row] else None
                at_once = at_once or ("promote" if promotes[row] else "advance" if moves[row] else "wait")
                assert found.did == at_once, (look, row, found.why)
                assert [one.verdict == "better" for one in found.findings[:1]] == [bool(said.better[row])]
                assert any(one.looks_worse for one in found.findings) == bool(said.worrying[row])
                estimate = many.means["latency"].apart()
                if found.findings[0].estimate is not None:
                    assert np.log1p(found.findings[0].estimate) == pytest.approx(estimate.estimate[row], abs=1e-9)
            many.stage += moves
            moved += int(moves.sum())
    assert moved if errors < 0.1 else "roll_back" in seen


def test_all_looks_at_once_say_what_each_says():
    spec = Spec(name="x", arms=(ArmSpec("b"),), ramp=(Share(0.3),), primary=GuardMetric("cost", 0.05), min_units=20)
    shape, chance = (3, 400), np.random.default_rng(1)
    at = Calls(
        np.zeros(shape, np.int64), chance.random(shape) < 0.3, chance.random(shape) < 0.1,
        chance.lognormal(0, 0.5, shape), chance.lognormal(0, 0.7, shape),
    )  # fmt: skip
    looks = np.ones(shape, bool)
    at_once = Rollouts.of_looks(spec, at, looks)
    said, promotes = at_once.said(), at_once.promotes(at_once.said())
    many = Rollouts(spec, 3, 0)
    for call in range(400):
        many.call(Calls(*(column[:, call] for column in at)))
        one: Any = many.said()
        for name in Said._fields:
            assert list(getattr(one, name)) == list(getattr(said, name).reshape(shape)[:, call]), (call, name)
        assert list(many.promotes(one)) == list(promotes.reshape(shape)[:, call])
    assert said.gains.any() or said.certain.any() or said.lacks.any()


def test_every_figure_is_there():
    done = bench("experiments", "--quick", "--seeds", "4", "--calls", "100", "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["figures"]) >= FIGURES
    assert set(found["missing"]) == {name for name, value in found["figures"].items() if value is None}
    assert {row["of"] for row in found["rows"]} == {"nothing", "harm", "bad", "gain"}
