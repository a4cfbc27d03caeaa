"""Who gets what? A call that takes part in experiments gets its arm of each, and keeps to it on all of its way.

What it got is in `call.arms` from here on: in its row, in the key of what is cached, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from tidegate.core import units
from tidegate.core.call import Call
from tidegate.core.errors import BadRequest, Forbidden, NotFound
from tidegate.core.experiments import CONTROL, Assigned, Experiment, Known, Spec, spec_of
from tidegate.core.ports import Codecs
from tidegate.core.prompts import Prompt
from tidegate.core.usage import HOUR_MS, Period, UsageAsked
from tidegate.core.world import World
from tidegate.stages.experiments import parameters
from tidegate.stages.experiments.checks import PromptThere, There, Wrong, trouble
from tidegate.stages.experiments.desk import Desk
from tidegate.stages.experiments.plan import Arm, Names, Plan, Trial
from tidegate.stages.experiments.running import Running

OVERRIDE = b"x-tidegate-arm"  # experiment=arm, …
TARGET = b"x-tidegate-target"
MAX_OVERRIDES = 8
LATELY_MS = 7 * 86_400_000


class Experiments:
    """Of one configuration: arms are routes of it."""

    def __init__(
        self, world: World, running: Running, routes: Names, codecs: Codecs, protected: Sequence[str] = ()
    ) -> None:
        """`protected`: labels of prompts that no experiment may move."""
        self._protected = protected
        self._world = world
        self._codecs = codecs
        self._routes = routes
        self._plan = Plan((), routes)
        self.running = running
        self.desk = Desk(world, running)

    def assign(self, call: Call) -> None:
        """Give `call` its arms. Raises BadRequest, Forbidden and NotFound for a header that names other ones."""
        if self.running.known or OVERRIDE in call.named:
            self._assign(call, self.plan())

    async def trouble(self, spec: Spec) -> list[Wrong]:
        """All that is wrong with a description, as things stand now. Raises StoreDown."""
        await self.running.look()
        there = There(
            self._routes,
            partial(parameters.wrong, codecs=self._codecs),
            self.running.known,
            await self._prompts(),
            await self._heard(),
        )
        return list(trouble(spec, there))

    async def _prompts(self) -> dict[str, PromptThere]:
        found = {}
        for one in await self._world.store.every(Prompt):
            versions = set(range(1, one.latest + 1)) - set(one.deleted)
            found[one.id] = PromptThere(versions, [label.name for label in one.labels], self._protected)
        return found

    async def _heard(self) -> set[str]:
        """Metrics that somebody has said something for lately."""
        now_ms = self._world.clock.wall_ns() // 1_000_000
        asked = UsageAsked((Period(now_ms - LATELY_MS, now_ms + HOUR_MS),), ("source",))
        found = {line.names[0]: line.sums for line in await self._world.ledger.opined(asked)}
        nothing = {"scored": 0}
        said = {
            "satisfaction": found.get("user", nothing)["scored"],
            "judge_score": found.get("judge", nothing)["scored"],
            "task_completion": sum(sums["tasks"] for sums in found.values()),
        }
        return {name for name, count in said.items() if count}

    def place(self, experiment: Experiment, unit: str) -> tuple[str, str | None, str]:
        """Of a unit, by the name that `core.units` has for it: its digest, its arm, and why. Raises ModelNotFound."""
        return Trial.of(Known(experiment, spec_of(experiment)), self._routes).told(unit)

    def version(self, prompt: str, label: str, organisation: str, user: str) -> int | None:
        """Of a prompt, what this user's calls get that name `label` and no version. None: nothing is tried of it."""
        unit = units.unit("user", organisation, user=user, session=None, team=None)
        found: int | None = None
        holding = (one for one in self.plan().by_name.values() if one.state in ("promoted", "running"))
        for trial in sorted(holding, key=lambda one: one.state == "running"):  # what is tried goes before
            spec = trial.spec
            if unit is None or spec.unit != "user" or spec.prompt != prompt or spec.label != label:
                continue
            name = trial.told(unit)[1]
            arm = trial.winner or (trial.arm(name) if name is not None else None)
            found = arm.prompts.get(prompt, found) if arm is not None else found
        return found

    def plan(self) -> Plan:
        known = self.running.known
        if self._plan.of is not known:
            lost = self._plan.lost
            self._plan = Plan(known, self._routes)
            for name, why in self._plan.lost.items():
                if name not in lost:
                    self._world.events.notice("experiment_without_route", {"experiment": name, "error": why})
        return self._plan

    def _assign(self, call: Call, plan: Plan) -> None:
        asked, route = call.asked, call.route
        assert asked is not None and route is not None
        if call.own is not None:
            for _, arm in plan.arms_of(call.arms):  # of a call that this one is made for
                give(call, arm)
            return
        if not asked.model or asked.codec.metering == "free" or TARGET in call.named:
            return
        named = overrides(call, plan) if OVERRIDE in call.named else {}
        trials: Sequence[Trial] = plan.for_route(route.name)
        if named:
            trials = [*trials, *(one for one in map(plan.by_name.get, named) if one is not None and one not in trials)]
        got: list[Assigned] = []
        for trial, arm, one in decided(call, trials, named):
            got.append(one)
            if trial.spec.mode == "shadow" and trial.spec.name not in named:
                call.shadows = (*call.shadows, one)
                got[-1] = Assigned(one.experiment, one.stage, CONTROL, one.unit)
            else:
                give(call, arm)
        if got:
            call.arms = (*call.arms, *got)  # beside those of a canary


def decided(call: Call, trials: Sequence[Trial], named: dict[str, Arm]) -> Iterator[tuple[Trial, Arm, Assigned]]:
    """Of each experiment that the call takes part in, what it gets."""
    principal = call.principal
    assert principal is not None
    names: dict[str, str | None] = {}  # of units, by kind
    layers: dict[tuple[str, str], int] = {}
    for trial in trials:
        spec = trial.spec
        if not trial.is_for(call):
            continue
        kind = spec.unit
        if kind not in names:
            names[kind] = call.id if kind == "request" else units.unit(
                kind, principal.organisation_id, user=call.user, session=call.session, team=principal.team_id
            )  # fmt: skip
        unit = names[kind]
        place = units.place(trial.salt, unit) if unit is not None else None
        arm = named.get(spec.name) or trial.winner
        if arm is not None:  # it was chosen, or is everybody's
            yield trial, arm, Assigned(trial.id, trial.stage, arm.name, place.id if place else "", counted=False)
            continue
        if place is None or unit is None or call.kind != "live":
            continue
        if not trial.has_all_of_its_layer:
            at = layers.get((spec.layer, unit))
            if at is None:
                at = layers[spec.layer, unit] = units.in_layer(spec.layer, unit)
            if not trial.begin <= at < trial.end:
                continue
        if spec.mode == "shadow" and place.ramp >= trial.ramp:
            continue
        arm = trial.assigned(place)
        yield trial, arm, Assigned(trial.id, trial.stage, arm.name, place.id)


def give(call: Call, arm: Arm) -> None:
    """From here on the call goes the arm's way."""
    assert call.route is not None
    if arm.route is not None:
        call.route = arm.instead_of(call.route)
    if arm.prompts:
        call.pinned = {**call.pinned, **arm.prompts}
    if arm.parameters:
        parameters.put(call, arm.parameters)


def overrides(call: Call, plan: Plan) -> dict[str, Arm]:
    """What a call itself wants, by the names of experiments; drafts can be tried so, too."""
    principal, route = call.principal, call.route
    assert principal is not None and route is not None
    if not principal.overrides:
        raise Forbidden(
            f"key {principal.name!r} may not choose arms: {OVERRIDE.decode()} needs the scope override, or an admin"
        )
    found: dict[str, Arm] = {}
    for said in call.named[OVERRIDE].decode("utf-8", "replace").split(",")[:MAX_OVERRIDES]:
        name, equals, wanted = (part.strip() for part in said.partition("="))
        trial = plan.by_name.get(name)
        if not equals or not wanted:
            raise BadRequest(f"{OVERRIDE.decode()}: experiment=arm is expected, not {said.strip()[:60]!r}")
        if trial is None:
            raise NotFound(f"{OVERRIDE.decode()}: there is no experiment {name[:60]!r}; leave the header out")
        arm = trial.arm(wanted)
        if arm is None:
            there = ", ".join([CONTROL, *(one.name for _, one in trial.arms)])
            raise NotFound(f"{OVERRIDE.decode()}: {name!r} has no arm {wanted[:60]!r}; there are: {there}")
        if trial.route not in (None, route.name) or not trial.is_for(call):
            raise BadRequest(f"{OVERRIDE.decode()}: this call is none that experiment {name!r} is about")
        found[name] = arm
    return found
