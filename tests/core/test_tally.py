"""Counted piece by piece, units say what they say when all are looked at at once; and no more of them is kept."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core import at_once
from tidegate.core import tally
from tidegate.core.experiments import CONTROL, METRICS, ArmSpec, GuardMetric, Spec, UnitLine
from tidegate.core.findings import findings
from tidegate.core.rollout import decide
from tidegate.core.stats.sequential_shares import Lot, evidence_above, evidence_below
from tidegate.core.tally import GRID, MOST_SHARES, Arrival, Counting, Group, Tally, counted, gridded
from tidegate.core.values import Share

SPEC = Spec(
    name="x", arms=(ArmSpec("b"), ArmSpec("c", weight=2)), ramp=(Share(0.2), Share(0.5), Share(0.7)),
    guards=tuple(GuardMetric(name, 0.05) for name in METRICS), primary=GuardMetric("latency", 0.1),
)  # fmt: skip


def drawn(seed: int, units: int, *, free: bool, zeros: float = 0.0, disorder: float = 0.1) -> list[UnitLine]:
    """Of some units lines in several stages, with several arms in one, or with an earlier stage that came later."""
    chance, found = random.Random(seed), []
    for number in range(units):
        usual = chance.lognormvariate(0, 0.5)
        for stage in range(3):
            for arm in (CONTROL, "b", "c"):
                if chance.random() > 0.3:
                    continue
                of = [chance.choice((0, 1, 1, 2, 9)) for _ in range(6)]
                first_ms = (
                    1_790_000_000_000 + chance.randrange(100) + (0 if chance.random() < disorder else 100 * stage)
                )
                cost = 0 if free else round(1e5 * of[2] * usual * chance.lognormvariate(0, 0.3)) + of[2]
                found.append(
                    UnitLine(
                        stage, arm, f"{number:x}", first_ms, calls=of[0], failed=min(of[0], chance.randrange(2)),
                        answered=of[1], took_us=round(1e6 * of[1] * usual * chance.lognormvariate(0, 0.3)),
                        begun=of[1], first_us=0 if chance.random() < zeros else 3 * of[1], priced=of[2], cost_nusd=cost,
                        guarded=chance.randrange(of[0] + 1), asked_again=0, scored=of[3],
                        score_milli=chance.randrange(1000 * of[3] + 1), judged=of[4], judged_milli=500 * of[4],
                        tasks=of[5], completed=chance.randrange(of[5] + 1),
                    )
                )  # fmt: skip
    return found


def in_pieces(lines: Sequence[UnitLine], most: int, chance: random.Random, looks: Sequence[Arrival] = ()) -> Counting:
    """Units in any order, some at once, all lines of each."""
    units = sorted({line.unit for line in lines})
    chance.shuffle(units)
    found = Counting(SPEC, looks=looks)
    while units:
        some = {units.pop() for _ in range(min(len(units), chance.randrange(most) + 1))}
        found.add([line for line in lines if line.unit in some])
    return found


def check_is_the_same(tally: Tally, lines: Sequence[UnitLine], before: Any = None) -> None:
    assert tally.lines == {group: len(of) for group, of in at_once.sorted_out(lines).items()}
    assert tally.units == at_once.units_of(lines)
    assert tally.count == len(lines)
    assert tally.spent_nusd == {arm: sum(line.cost_nusd for line in lines if line.arm == arm) for arm in tally.units}
    ours, theirs = findings(SPEC, tally), at_once.findings(SPEC, lines, before)
    for one, other in zip(ours, theirs, strict=True):
        alike(msgspec.structs.asdict(one), msgspec.structs.asdict(other))


def alike(one: Any, other: Any) -> None:
    """Numbers that are counted are the same, others but for rounding."""
    if isinstance(other, float):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9)
    elif isinstance(other, dict):
        assert one.keys() == other.keys()
        for name in other:
            alike(one[name], other[name])
    elif isinstance(other, tuple):
        for ours, theirs in zip(one, other, strict=True):
            alike(
                *(msgspec.structs.asdict(each) if isinstance(each, msgspec.Struct) else each for each in (ours, theirs))
            )
    else:
        assert one == other


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 120), st.sampled_from((1, 7, 1000)), st.booleans(), st.booleans())
def test_pieces_say_what_all_lines_say_at_once(seed, units, most, free, zeros):
    lines = drawn(seed, units, free=free, zeros=0.3 * zeros)
    check_is_the_same(in_pieces(lines, most, random.Random(seed)).tally(), lines)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9), st.floats(0, 1))
@example(7, 0.0)  # a fifth of the control, but for rounding
@example(78, 0.0)  # a difference as large as the margin, but for rounding
@example(214, 0.0)
def test_an_earlier_look_has_the_lines_that_had_come_by_then_and_no_others(seed, disorder):
    lines = drawn(seed, 60, free=False, disorder=disorder)
    came = sorted((line.first_ms, line.unit, line.stage, line.arm) for line in lines)
    ends = [len(came) * number // 6 for number in range(1, 6)]
    found = in_pieces(lines, 20, random.Random(seed), [came[end - 1] for end in ends])
    for look, end in enumerate([*ends, len(came)]):
        there = set(came[:end])
        seen = [line for line in lines if (line.first_ms, line.unit, line.stage, line.arm) in there]
        check_is_the_same(found.tally(look), seen)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9), st.floats(0, 1))
def test_what_was_so_before_is_taken_away_as_it_is_from_all_at_once(seed, share):
    lines, chance = drawn(seed, 80, free=False), random.Random(seed)
    before = {
        name: {f"{number:x}": chance.random() for number in range(80) if chance.random() < share}
        for name in ("latency", "error_rate", "satisfaction")
    }
    found = Counting(SPEC, before)
    for unit in sorted({line.unit for line in lines}):
        found.add([line for line in lines if line.unit == unit])
    check_is_the_same(found.tally(), lines, before)


def test_it_is_as_large_for_many_units_as_for_few():
    sizes = []
    for units in (300, 3_000):
        found = in_pieces(drawn(1, units, free=False), 500, random.Random(1)).tally()
        sizes.append(len(msgspec.msgpack.encode(found)))
    assert sizes[1] < 1.1 * sizes[0]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Tally) == found


def test_of_very_many_different_shares_a_bet_makes_less_than_it_could_and_hardly():
    chance = random.Random(2)
    lines = [
        UnitLine(0, "b" if number % 5 else CONTROL, f"{number}", 0, calls=calls, failed=chance.randrange(calls // 9))
        for number in range(3 * MOST_SHARES)
        for calls in (chance.randrange(300, 900),)
    ]
    spec = Spec(name="x", arms=(ArmSpec("b"),), ramp=(Share(0.8),), guards=(GuardMetric("error_rate", 0.05),))
    found = Counting(spec)
    for begin in range(0, len(lines), 1000):
        found.add(lines[begin : begin + 1000])
    of = found.tally().values["error_rate"]
    exact = Counter(line.failed / line.calls for line in lines if line.arm == "b")
    arm = of[Group(0, "b", tally.NEVER)]
    assert len(arm.shares) <= MOST_SHARES < len(exact)
    assert arm.none + sum(arm.shares.values()) == pytest.approx(exact.total())
    assert sum(share * count for share, count in arm.shares.items()) == pytest.approx(
        sum(share * count for share, count in exact.items())
    )
    none = exact.pop(0.0)
    for beyond in (0.0, 0.05):
        for evidence in (evidence_above, evidence_below):
            is_, could = (
                evidence([Lot(0.8, arm.none, arm.shares, {})], beyond),
                evidence([Lot(0.8, none, exact, {})], beyond),
            )
            assert could - 0.01 * abs(could) - 0.01 < is_ <= could + 1e-9
    check = decide(spec, 0, 1, 1, found.tally()), decide(spec, 0, 1, 1, counted(spec, lines))
    assert check[0].findings[0].estimate == pytest.approx(check[1].findings[0].estimate)


def test_what_is_on_the_grid_stays_there():
    once = gridded({0.3: 7, 1.0: 2, 1 / GRID: 1})
    assert gridded(once) == once and sum(once.values()) == pytest.approx(10) and once[1.0] == 2
