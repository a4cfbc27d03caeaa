"""On what was it decided? Everything that a decision followed from, so that anybody can let it follow again.

Of units there is what was known of all together, which is what statistics ask: no unit, no user, nothing that was said.
A few KiB, however many units there are.
"""

from __future__ import annotations

import base64
import zlib
from itertools import accumulate

import msgspec

from tidegate.core.experiments import Decision, Spec, Tripwires, UnitLine
from tidegate.core.rollout import Judgement, decide
from tidegate.core.tally import Tally, counted
from tidegate.stages.experiments.desk import MAX_WHY

FIRST = UnitLine._fields.index("first_ms")
UNIT = UnitLine._fields.index("unit")


class Seen(msgspec.Struct, frozen=True, tag="tally", tag_field="of"):
    """What `decide` is asked with."""

    stage: int
    stage_age_s: float
    age_s: float
    units: int
    tally: str  # packed

    def known(self, spec: Spec) -> Tally:
        return unpacked(self.tally)


class SeenLines(msgspec.Struct, frozen=True, tag="units", tag_field="of"):
    """The same as it was written before: the sums of each unit, and numbers in place of the units."""

    stage: int
    stage_age_s: float
    age_s: float
    units: int
    lines: str  # packed

    def known(self, spec: Spec) -> Tally:
        return counted(spec, lines_of(self.lines))


class Tripped(msgspec.Struct, frozen=True, tag="tripwire", tag_field="of"):
    """What a tripwire saw of an arm in one process."""

    arm: str
    failures: int = 0  # one after the other
    malformed: int = 0
    control_calls: int = 0  # of the last ones
    control_failed: int = 0
    nusd: int = 0  # what the arm's units spent in a minute
    units: int = 0
    control_nusd: int = 0
    control_units: int = 0


class Passed(msgspec.Struct, frozen=True, tag="gate", tag_field="of"):
    """What each arm made of the suite."""

    suite: str
    suite_hash: str
    arms: dict[str, str]  # "" where it has passed, or why not
    cost_nusd: int = 0


class Asked(msgspec.Struct, frozen=True, tag="person", tag_field="of"):
    """Somebody wanted it."""

    verb: str
    arm: str = ""


class Labelled(msgspec.Struct, frozen=True, tag="label", tag_field="of"):
    """Which version the label of a prompt is now."""

    prompt: str
    label: str
    version: int


Inputs = Seen | SeenLines | Tripped | Passed | Asked | Labelled


def written(inputs: Inputs) -> str:
    return msgspec.json.encode(inputs).decode()


def read(inputs: str) -> Inputs | None:
    """None: it is of a kind that this version does not know."""
    try:
        found: Inputs = msgspec.json.decode(inputs, type=Inputs)
    except msgspec.ValidationError:
        return None
    return found


def judged(spec: Spec, seen: Seen | SeenLines) -> Judgement:
    """The same whenever it is asked, and wherever."""
    return decide(spec, seen.stage, seen.stage_age_s, seen.age_s, seen.known(spec))


def followed_again(spec: Spec, decision: Decision) -> tuple[bool | None, str]:
    """Whether the same follows from what a decision was based on, and what does. None: nothing can follow."""
    match read(decision.inputs):
        case Seen() | SeenLines() as seen:
            found = judged(spec, seen)
            same = DID.get(found.did) == decision.did and shortened(found.why) == decision.why
            return same, f"{DID.get(found.did, found.did)}: {found.why}"
        case Tripped() as tripped:
            why = refusal(spec.tripwires, tripped)
            return bool(why) and shortened(tripwire(why)) == decision.why, why or "no tripwire is touched by this"
        case Passed() as passed:
            good = not any(passed.arms.values())
            return good == (decision.did == "gate_passed"), "every arm has passed" if good else "an arm has not passed"
        case Asked() as asked:
            return None, f"a person wanted it: {asked.verb}"
        case Labelled() as labelled:
            return None, f"{labelled.label} of {labelled.prompt} was to be version {labelled.version}"
    return None, "it was written by a version that knew more; take that one"


DID = {
    "advance": "advanced",
    "promote": "promoted",
    "roll_back": "rolled_back",
    "inconclusive": "inconclusive",
    "blocked": "blocked",
}  # what becomes of a judgement


def shortened(why: str) -> str:
    """As a decision has it."""
    return why[:MAX_WHY]


def tripwire(why: str) -> str:
    return f"tripwire: {why}"


# --- what was known of units


def packed(tally: Tally) -> str:
    return base64.b64encode(zlib.compress(msgspec.msgpack.encode(tally), 6)).decode()


def unpacked(text: str) -> Tally:
    return msgspec.msgpack.decode(zlib.decompress(base64.b64decode(text)), type=Tally)


def lines_of(text: str) -> list[UnitLine]:
    """They are columns of differences, and what a unit was called is the number of its first line."""
    columns = msgspec.msgpack.decode(zlib.decompress(base64.b64decode(text)))
    if not columns:
        return []
    columns[UNIT] = [f"{number:016x}" for number in columns[UNIT]]
    columns[FIRST] = list(accumulate(columns[FIRST]))
    return [UnitLine(*line) for line in zip(*columns, strict=True)]


# --- tripwires


def refusal(wires: Tripwires, seen: Tripped) -> str:
    """Why the arm must be taken back at once; "" where it need not. The only rule: who listens has no other."""
    if wires.failures and seen.failures >= wires.failures and not _failing(seen):
        beside = f"of the control's last {seen.control_calls} calls {seen.control_failed} did"
        return f"{seen.failures} calls of {seen.arm} failed one after the other; {beside}"
    if wires.malformed and seen.malformed >= wires.malformed:
        return f"{seen.malformed} answers of {seen.arm} one after the other are not what the response schema asks for"
    enough = min(seen.units, seen.control_units) >= FEWEST_UNITS and seen.control_nusd > 0
    if wires.burn and enough and seen.nusd * seen.control_units > wires.burn * seen.control_nusd * seen.units:
        times = seen.nusd * seen.control_units / (seen.control_nusd * seen.units)
        return f"a unit of {seen.arm} spends {times:.1f} times what one of the control does ({seen.units} in a minute)"
    return ""


FEWEST_UNITS = 5  # of both, before what they spend says anything
HEALTHY = 0.25  # share of failed calls from which on the control fails too: it is not the arm's doing


def _failing(seen: Tripped) -> bool:
    return seen.control_calls > 0 and seen.control_failed > HEALTHY * seen.control_calls
