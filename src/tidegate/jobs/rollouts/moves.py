"""How is an experiment moved, and who is told? In the store first, where one of two who would is the one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tidegate.core.errors import Conflict, TidegateError
from tidegate.core.experiments import Decision, Experiment, Spec, spec_of
from tidegate.core.world import World
from tidegate.jobs.rollouts.course import Move
from tidegate.jobs.rollouts.evidence import Inputs, Labelled, written
from tidegate.stages.experiments.desk import AUTOMATIC, Desk

TOLD = 600  # characters of a reason in an alert

Relabel = Callable[[str, str, int, str, str], Awaitable[None]]  # prompt, label, version, by, why. Raises TidegateError


class Mover:
    """`relabel` moves a label of a prompt."""

    def __init__(self, world: World, desk: Desk, relabel: Relabel) -> None:
        self._world = world
        self._desk = desk
        self._relabel = relabel

    async def make(
        self, experiment: Experiment, move: Move, inputs: Inputs, by: str = AUTOMATIC, who: str = ""
    ) -> Experiment:
        """Raises StoreDown, and Conflict: somebody else has moved it just now. `who`: the name of the key `by`."""
        moved = await self._desk.move(
            experiment, move.did, move.state, move.stage, by=by, why=move.why, who=who, inputs=written(inputs),
            arm=move.arm,
        )  # fmt: skip
        fields = {"experiment": moved.name, "stage": moved.stage + 1, "arm": move.arm or None, "by": by}
        decision = f"{experiment.id}#{experiment.steps}"
        self._world.events.notice(f"experiment_{move.did}", {**fields, "decision": decision, "why": move.why[:TOLD]})
        if move.did == "promoted":
            await self.settle(moved, spec_of(moved))
        return moved

    async def settle(self, experiment: Experiment, spec: Spec) -> None:
        """What a promotion still wants: that the label of the prompt is the arm's version. Once, whoever does it."""
        arm = next((one for one in spec.arms if one.name == experiment.arm), None)
        version = arm.prompts.get(spec.prompt) if arm is not None and spec.prompt is not None else None
        if experiment.state != "promoted" or spec.prompt is None or version is None:
            return
        last = await self._world.store.find(Decision, f"{experiment.id}#{experiment.steps - 1}")
        if last is None or last.did != "promoted":
            return
        try:
            await self._relabel(spec.prompt, spec.label, version, last.by, f"experiment {experiment.name}: {last.why}")
            said = f"{spec.label} of {spec.prompt} is version {version} now"
        except TidegateError as wrong:
            said = f"{spec.label} of {spec.prompt} stays: {wrong.message}"
        move = Move("labelled", "promoted", experiment.stage, said, experiment.arm)
        try:
            await self.make(experiment, move, Labelled(spec.prompt, spec.label, version), last.by)
        except Conflict:
            return  # somebody else has done it
