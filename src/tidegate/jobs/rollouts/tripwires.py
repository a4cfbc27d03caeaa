"""What takes an arm back at once? Calls that fail one after the other, answers of a wrong form, money that burns.

It listens in every process to the calls that end there. What it saw of an arm is a few numbers, and whether that is too
much is said by `evidence.refusal` alone, so that the decision can be looked at again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tidegate.core.call import Call
from tidegate.core.experiments import CONTROL, Assigned, Tripwires
from tidegate.core.ports import Closed
from tidegate.jobs.rollouts.evidence import Tripped, refusal
from tidegate.storage.trials import FAILED, REFUSED_BY_PROVIDER

LATELY = 20  # calls of the control
MANY_UNITS = 10_000  # of an arm that are told apart in a minute; calls of more are not looked at
MANY = 100  # stages of experiments that are watched
MINUTE_MS = 60_000

Trip = Callable[[str, str, Tripped], None]  # an experiment's id, why, and what was seen. Must not wait
WiresOf = Callable[[str], Tripwires | None]  # of an experiment that is running, by its id


class Minute:
    """What the units of one arm have spent."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.nusd = 0
        self.units: set[str] = set()

    def add(self, unit: str, nusd: int) -> None:
        if unit in self.units or len(self.units) < MANY_UNITS:
            self.units.add(unit)
            self.nusd += nusd


class Side:
    """One arm of one stage, in this process. `burnt` is its minute; of the control, the last whole one too."""

    def __init__(self) -> None:
        self.failures = self.malformed = 0
        self.lately: deque[bool] = deque(maxlen=LATELY)
        self.burnt = Minute()
        self.before = Minute()

    def ended(self, unit: str, *, failed: bool | None, nusd: int, minute: int) -> None:
        """`failed`: None, where it says nothing of the arm."""
        if failed is not None:
            self.failures = self.failures + 1 if failed else 0
            self.lately.append(failed)
        if minute != self.burnt.number:
            self.before, self.burnt = self.burnt, Minute(minute)
        self.burnt.add(unit, nusd)

    def spends(self) -> Minute:
        """The fuller minute: the one that has just begun knows little."""
        return max(self.burnt, self.before, key=lambda one: len(one.units))


class Stage(msgspec.Struct):
    """What is known here of one stage of an experiment."""

    sides: dict[str, Side] = {}

    def side(self, arm: str) -> Side:
        found = self.sides.get(arm)
        if found is None:
            found = self.sides[arm] = Side()
        return found

    def seen(self, arm: str) -> Tripped:
        side, control = self.side(arm), self.side(CONTROL)
        spends = control.spends()
        return Tripped(
            arm=arm,
            failures=side.failures,
            malformed=side.malformed,
            control_calls=len(control.lately),
            control_failed=sum(control.lately),
            nusd=side.burnt.nusd,
            units=len(side.burnt.units),
            control_nusd=spends.nusd,
            control_units=len(spends.units),
        )


def has_failed(row: Closed) -> bool | None:
    """None: a client left, or a limit of ours refused it. What a provider refuses may be the arm's doing: a parameter
    that it does not take."""
    if row.outcome == "ok":
        return False
    refused = row.outcome == "refused" and row.error == REFUSED_BY_PROVIDER
    return True if refused or row.outcome in FAILED else None


class Wires:
    """A listener. Each experiment is told of once, until it is forgotten."""

    def __init__(self, wires_of: WiresOf, trip: Trip) -> None:
        self._wires_of = wires_of
        self._trip = trip
        self._stages: OrderedDict[tuple[str, int], Stage] = OrderedDict()

    def call_began(self, call: Call) -> None:
        """Nothing is known yet."""

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        """Nobody is told of anything but calls."""

    def call_ended(self, call: Call, row: Closed | None) -> None:
        if row is None or not row.arms or row.kind != "live":
            return
        for one in row.arms:
            wires = self._wires_of(one.experiment)
            if wires is not None and one.counted:
                self._ended(one, row, wires)

    def _ended(self, one: Assigned, row: Closed, wires: Tripwires) -> None:
        if row.cache is not None and not row.attempts:
            return  # nobody was asked: it says nothing of the arm
        stage = self._stage(one)
        minute = row.at_ms // MINUTE_MS
        stage.side(one.arm).ended(one.unit, failed=has_failed(row), nusd=row.cost_nusd or 0, minute=minute)
        self._look(one, stage, wires)

    def wants(self, call: Call) -> bool:
        """Whether somebody looks at the form of its answer."""
        return any((wires := self._wires_of(one.experiment)) is not None and wires.malformed for one in call.arms)

    def formed(self, call: Call, *, well: bool) -> None:
        """Whether an answer is what its schema asks for."""
        for one in call.arms:
            wires = self._wires_of(one.experiment)
            if wires is not None and wires.malformed and one.counted:
                stage = self._stage(one)
                side = stage.side(one.arm)
                side.malformed = 0 if well else side.malformed + 1
                self._look(one, stage, wires)

    def _look(self, one: Assigned, stage: Stage, wires: Tripwires) -> None:
        if one.arm == CONTROL:
            return
        seen = stage.seen(one.arm)
        why = refusal(wires, seen)
        if why:
            self._trip(one.experiment, why, seen)

    def _stage(self, one: Assigned) -> Stage:
        place = one.experiment, one.stage
        found = self._stages.get(place)
        if found is None:
            found = self._stages[place] = Stage()
            if len(self._stages) > MANY:
                self._stages.popitem(last=False)
        return found
