from __future__ import annotations

import base64
import random
import zlib
from itertools import pairwise

import msgspec
import pytest

from tidegate.core.experiments import ArmSpec, Spec, Tripwires, UnitLine
from tidegate.core.rollout import decide
from tidegate.core.tally import counted
from tidegate.jobs.rollouts.evidence import (
    FIRST,
    UNIT,
    Asked,
    SeenLines,
    Tripped,
    judged,
    lines_of,
    packed,
    read,
    refusal,
    unpacked,
    written,
)

SPEC = Spec(name="x", arms=(ArmSpec("a"),))


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


def packed_lines(lines):
    """As decisions were written while they had a line of each unit."""
    known = {}
    columns = [list(column) for column in zip(*lines, strict=True)]
    columns[UNIT] = [known.setdefault(line.unit, len(known)) for line in lines]
    columns[FIRST] = [lines[0].first_ms, *(b.first_ms - a.first_ms for a, b in pairwise(lines))]
    return base64.b64encode(zlib.compress(msgspec.msgpack.encode(columns), 6)).decode()


def test_what_was_known_comes_back_as_it_was_and_is_no_longer_for_many_units():
    sizes = []
    for count in (500, 20_000):
        tally = counted(SPEC, lines(count))
        assert unpacked(packed(tally)) == tally and tally.count == count
        sizes.append(len(packed(tally)))
    assert sizes[1] < 1.1 * sizes[0] < 4096


def test_a_decision_of_before_with_a_line_of_each_unit_follows_again():
    seen = [*lines(500), *lines(3)]  # the first three are there in another stage too
    seen[-3:] = [line._replace(stage=2) for line in seen[-3:]]
    then = {"stage": 1, "stage_age_s": 9.0, "age_s": 90.0, "spent_nusd": 7, "units": 503, "lines": packed_lines(seen)}
    back = read(msgspec.json.encode({"of": "units"} | then).decode())
    assert isinstance(back, SeenLines) and len({line.unit for line in lines_of(back.lines)}) == 500
    again, then_found = judged(SPEC, back), decide(SPEC, 1, 9.0, 90.0, counted(SPEC, seen))
    assert (again.did, again.why, again.ratio) == (then_found.did, then_found.why, then_found.ratio)


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
