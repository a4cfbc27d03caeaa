from __future__ import annotations

import random
import time

import pytest

from tidegate.core.experiments import Tripwires, UnitLine
from tidegate.jobs.rollouts.evidence import Asked, Tripped, packed, read, refusal, unpacked, written


def lines(count):
    chance, at_ms = random.Random(1), 1_790_000_000_000
    for number in range(count):
        at_ms += chance.randrange(5_000)
        arm, calls = chance.choice(("control", "a")), chance.randrange(1, 9)
        yield UnitLine(
            stage=number * 3 // count, arm=arm, unit=f"{chance.getrandbits(64):016x}", first_ms=at_ms, calls=calls,
            failed=chance.randrange(2), answered=calls, took_us=round(chance.lognormvariate(14, 0.5)), begun=calls,
            first_us=round(chance.lognormvariate(13, 0.5)), priced=calls,
            cost_nusd=round(chance.lognormvariate(13, 0.7)),
        )  # fmt: skip


def test_lines_come_back_as_they_were_but_for_the_names_of_units():
    seen = [*lines(500), *lines(3)]  # the first three are there in another stage too
    back = unpacked(packed(seen))
    assert [line._replace(unit="") for line in back] == [line._replace(unit="") for line in seen]
    assert len({line.unit for line in back}) == 500 and back[0].unit == back[500].unit == "0" * 16
    assert unpacked(packed([])) == []
    assert packed(back) == packed(seen)


def test_a_unit_takes_about_twenty_bytes():
    seen = list(lines(20_000))
    began = time.perf_counter()
    text = packed(seen)
    print(f"\n20,000 units: {len(text) / 20_000:.1f} bytes each, packed in {time.perf_counter() - began:.2f} s")
    assert len(text) / 20_000 < 30


def test_what_a_later_version_writes_is_not_read():
    assert read(written(Asked("stop"))) == Asked("stop")
    assert read('{"of": "stars"}') is None


WIRES = Tripwires(failures=5, malformed=3, burn=4.0)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Tripped("a", failures=4), ""),
        (Tripped("a", failures=5), "5 calls of a failed one after the other"),
        (Tripped("a", failures=5, control_calls=20, control_failed=5), "control's last 20 calls 5 did"),
        (Tripped("a", failures=50, control_calls=20, control_failed=6), ""),  # everything fails: it is not the arm
        (Tripped("a", malformed=3), "3 answers of a"),
        (Tripped("a", nusd=41, units=5, control_nusd=10, control_units=5), "4.1 times"),
        (Tripped("a", nusd=40, units=5, control_nusd=10, control_units=5), ""),
        (Tripped("a", nusd=1000, units=4, control_nusd=10, control_units=500), ""),  # too few to say
        (Tripped("a", nusd=1000, units=9, control_nusd=0, control_units=9), ""),  # nothing to hold it against
    ],
)
def test_a_tripwire_has_one_rule(seen, said):
    assert said in refusal(WIRES, seen) and bool(refusal(WIRES, seen)) == bool(said)


def test_a_tripwire_can_be_turned_off():
    assert refusal(Tripwires(0, 0, 0.0), Tripped("a", 99, 99, 0, 0, 9999, 9, 1, 9)) == ""
