from __future__ import annotations

import msgspec
import pytest

from tidegate.core.call import Call, nothing
from tidegate.core.experiments import Assigned, Tripwires
from tidegate.core.ports import AttemptRow, Closed
from tidegate.jobs.rollouts.tripwires import Wires

TRIED = (AttemptRow("p", "m", "ok", 0, 1),)


class Watched:
    """Wires of one experiment, and what they told."""

    def __init__(self, **wires) -> None:
        self.told = []
        self.wires = Wires({"e": Tripwires(**wires)}.get, lambda id, why, seen: self.told.append((id, why, seen)))

    def ends(
        self, arm, outcome="ok", *, unit="u", cost=0, at_s=60, tried=TRIED, counted=True, experiment="e", cache=None
    ):
        call = Call(
            id="c", dialect="openai", operation="chat", at_ms=0, arrived_ns=0, credential=None, path="", intake=nothing
        )
        call.arms = (Assigned(experiment, 0, arm, unit, counted),)
        error = "upstream_refused" if outcome == "refused" and tried else None
        row = Closed("c", at_s * 1000, "k", "openai", "chat", outcome, 200, 0, 0, attempts=tried, cost_nusd=cost)
        row = msgspec.structs.replace(row, cache=cache, error=error, arms=call.arms)
        self.wires.call_ended(call, row)
        return call


def test_failures_in_a_row_take_it_back_and_an_answer_breaks_the_row():
    watched = Watched(failures=3)
    for outcome in ("failed", "cut_off", "ok", "failed", "refused"):
        watched.ends("a", outcome)
    assert watched.told == []
    watched.ends("a", "failed")
    assert [(id, seen.failures) for id, _, seen in watched.told] == [("e", 3)]


@pytest.mark.parametrize(
    "options",
    [
        {"outcome": "client_left"},
        {"outcome": "refused", "tried": ()},  # a limit of ours
        {"outcome": "failed", "counted": False},
        {"outcome": "failed", "experiment": "another"},
        {"outcome": "failed", "tried": (), "cache": "hit"},
    ],
)
def test_what_says_nothing_of_the_arm_neither_counts_nor_breaks_the_row(options):
    watched = Watched(failures=3)
    watched.ends("a", "failed")
    watched.ends("a", "failed")
    for _ in range(5):
        watched.ends("a", **options)
    assert watched.told == []
    watched.ends("a", "failed")
    assert len(watched.told) == 1


def test_where_the_control_fails_too_it_is_not_the_arm():
    watched = Watched(failures=3)
    for outcome in ("ok",) * 14 + ("failed",) * 6:
        watched.ends("control", outcome)
    for _ in range(10):
        watched.ends("a", "failed")
    assert watched.told == []
    for _ in range(20):
        watched.ends("control")
    watched.ends("a", "failed")
    assert len(watched.told) == 1


def test_money_that_burns_is_told_by_unit_and_minute():
    watched = Watched(burn=3.0)
    for unit in range(50):
        watched.ends("control", unit=f"c{unit}", cost=100)
    for unit in range(8):
        watched.ends("a", unit=f"a{unit}", cost=290)
    assert watched.told == []
    for unit in range(8):
        watched.ends("a", unit=f"a{unit}", cost=290, at_s=120)
    assert watched.told == []  # another minute
    watched.ends("a", unit="a0", cost=90, at_s=121)
    ((_, why, seen),) = watched.told
    assert "spends 3.0 times" in why and (seen.units, seen.control_units) == (8, 50)


def test_answers_of_a_wrong_form_are_counted_in_a_row():
    watched = Watched(malformed=2)
    call = watched.ends("a")
    for well in (False, True, False):
        watched.wires.formed(call, well=well)
    assert watched.told == []
    watched.wires.formed(call, well=False)
    assert "response schema" in watched.told[0][1]
