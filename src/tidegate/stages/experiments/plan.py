"""What is to be done with each call? Experiments as they stand, made ready once and looked up per call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec

from tidegate.core import units
from tidegate.core.call import Call, PromptAsked, Route, Target
from tidegate.core.errors import ModelNotFound
from tidegate.core.experiments import CONTROL, ArmSpec, Assigned, Known, Spec
from tidegate.stages.experiments import parameters


class Names(Protocol):
    """What can be asked for. Raises ModelNotFound."""

    def find(self, model: str) -> Route: ...

    def target(self, name: str) -> Target: ...


MAX_ROUTES = 1_000  # of an arm: clients choose the names that patterns fit


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to do it, ready. `route` and `target` are what takes the place of the route's own."""

    name: str
    route: Route | None = None
    prompts: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, bytes] = field(default_factory=dict)
    only_targets: bool = False  # of `route`
    _made: dict[int, tuple[Route, Route]] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: ArmSpec, routes: Names) -> Arm:
        """Raises ModelNotFound."""
        route = routes.find(spec.route) if spec.route is not None else None
        if spec.target is not None:
            target = routes.target(spec.target)
            route = Route(spec.target, (target,), 0.0)
        said = {name: msgspec.json.encode(value) for name, value in spec.parameters.items()}
        return cls(spec.name, route, spec.prompts, said, spec.target is not None)

    def instead_of(self, asked: Route) -> Route:
        """What answers calls for `asked`: made once, so that whoever remembers something of a route can tell it."""
        if self.route is None:
            return asked
        found = self._made.get(id(asked))
        if found is None or found[0] is not asked:
            if len(self._made) >= MAX_ROUTES:
                self._made.clear()
            found = self._made[id(asked)] = (asked, self._route(asked, self.route))
        return found[1]

    def _route(self, asked: Route, other: Route) -> Route:
        """Whose it is, what bounds it and how long a client waits stay those of the one that was asked for."""
        if self.only_targets:
            return msgspec.structs.replace(asked, targets=other.targets)
        return msgspec.structs.replace(
            other,
            name=asked.name,
            policy=other.name,
            owner=asked.owner,
            limits=asked.limits,
            timeout_s=asked.timeout_s,
            on_disconnect=asked.on_disconnect,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """An experiment, ready."""

    id: str
    spec: Spec
    state: str
    stage: int
    salt: str
    begin: int  # of its slice of the layer
    end: int
    ramp: int
    arms: Sequence[tuple[int, Arm]]  # each with its bound
    control: Arm
    winner: Arm | None
    route: str | None  # its own name, whatever alias was said
    takes: frozenset[tuple[str, str]] | None  # dialects and operations that have its parameters; None: all of them

    @classmethod
    def of(cls, known: Known, routes: Names) -> Trial:
        """Raises ModelNotFound: the configuration has no such route any more."""
        one, spec = known
        arms = [Arm.of(arm, routes) for arm in spec.arms]
        control = Arm.of(spec.control, routes)
        winner = {CONTROL: control, **{arm.name: arm for arm in arms}}.get(one.arm) if one.state == "promoted" else None
        if winner is not None and spec.prompt is not None:  # its label says so from now on, and moves like any label
            winner = replace(winner, prompts={name: at for name, at in winner.prompts.items() if name != spec.prompt})
        begin, end = spec.layer_share
        names = {name for arm in (*spec.arms, spec.control) for name in arm.parameters}
        return cls(
            one.id, spec, one.state, one.stage, one.salt, units.upto(begin), units.upto(end),
            units.upto(spec.ramp[min(one.stage, len(spec.ramp) - 1)]),
            list(zip(units.bounds([arm.weight for arm in spec.arms]), arms, strict=True)), control, winner,
            routes.find(spec.route).name if spec.route is not None else None,
            parameters.taken_by(names) if names else None,
        )  # fmt: skip

    @property
    def has_all_of_its_layer(self) -> bool:
        return self.end - self.begin == units.ALL

    def arm(self, name: str) -> Arm | None:
        return next((arm for arm in (self.control, *(one for _, one in self.arms)) if arm.name == name), None)

    def is_for(self, call: Call) -> bool:
        """Whether such a call can take part, whosever it is."""
        if self.takes is not None and (call.dialect, call.operation) not in self.takes:
            return False
        return self.spec.prompt is None or _names(call.prompt_asked, self.spec.prompt, self.spec.label)

    def assigned(self, place: units.Place) -> Arm:
        """Of those who take part."""
        if place.ramp >= self.ramp:
            return self.control
        return next(arm for bound, arm in self.arms if place.pick < bound)

    def told(self, unit: str) -> tuple[str, str | None, str]:
        """Its digest, its arm, and why; None: it takes no part."""
        place = units.place(self.salt, unit)
        if self.winner is not None:
            return place.id, self.winner.name, "it was promoted, so everybody has it"
        if not self.begin <= units.in_layer(self.spec.layer, unit) < self.end:
            return place.id, None, f"it stands in another part of layer {self.spec.layer}"
        arm = self.assigned(place).name
        share = self.spec.ramp[min(self.stage, len(self.spec.ramp) - 1)]
        if self.state != "running":
            return place.id, None, f"the experiment is {self.state}; running, it would have {arm}"
        if self.spec.mode == "shadow":
            return place.id, CONTROL, f"it is a shadow: nobody sees {arm}"
        return place.id, arm, f"at stage {self.stage + 1}, {share!r} of the units have an arm"


def _names(asked: PromptAsked | None, prompt: str, label: str) -> bool:
    """Whoever names a version, or another label, knows what it wants."""
    return asked is not None and asked.id == prompt and asked.version is None and asked.label in (None, label)


class Plan:
    """All that are there. What was promoted comes first: what is tried after it is tried on top of it."""

    def __init__(self, known: Sequence[Known], routes: Names) -> None:
        self.of = known
        self.by_name: dict[str, Trial] = {}
        self.lost: dict[str, str] = {}  # by name, why: they have no effect
        for one in known:
            try:
                self.by_name[one.spec.name] = Trial.of(one, routes)
            except ModelNotFound as gone:
                self.lost[one.spec.name] = gone.message
        self._by_id = {one.id: one for one in self.by_name.values()}
        holding = sorted(
            (one for one in self.by_name.values() if one.state in ("promoted", "running")),
            key=lambda one: one.state == "running",
        )
        named = {one.route for one in holding if one.route is not None}
        self._by_route = {name: [one for one in holding if one.route in (None, name)] for name in named}
        self._always = [one for one in holding if one.route is None]

    def for_route(self, name: str) -> Sequence[Trial]:
        return self._by_route.get(name, self._always)

    def arms_of(self, assigned: Iterable[Assigned]) -> Iterator[tuple[Trial, Arm]]:
        """What another call was given, as far as there still is such a thing."""
        for one in assigned:
            trial = self._by_id.get(one.experiment)
            arm = trial.arm(one.arm) if trial is not None else None
            if trial is not None and arm is not None:
                yield trial, arm
