"""Where are experiments made, moved on and put away? The same for people and for what decides by itself.

draft ─► gate ─► running: stage by stage ─► promoted │ rolled_back │ inconclusive │ stopped ─► archived
"""

from __future__ import annotations

import secrets
from typing import Any

from tidegate.core.errors import Conflict, NotFound, StorageFull
from tidegate.core.experiments import CONTROL, ENDED, Decision, Experiment, Spec, State, id_of, kept, spec_of
from tidegate.core.ports import Acted
from tidegate.core.world import World
from tidegate.stages.experiments.running import Running

MAX_WHY = 1_000
AUTOMATIC = "house"  # who decided, when nobody was asked
AGAIN = "was changed by somebody else just now; look again"


class Desk:
    """Nothing is deleted. `by` is a key's id, `who` that key's name."""

    def __init__(self, world: World, running: Running) -> None:
        self._world = world
        self._running = running

    @property
    def _now_ms(self) -> int:
        return self._world.clock.wall_ns() // 1_000_000

    async def every(self) -> list[Experiment]:
        """Archived ones too, oldest first."""
        return await self._world.store.every(Experiment)

    async def named(self, name: str) -> Experiment:
        """The one of this name that is not archived, or else the last that was. Raises NotFound."""
        found = [one for one in await self.every() if one.name == name]
        there = [one for one in found if not one.archived_ms] or found
        if not there:
            raise NotFound(f"there is no experiment {name[:60]!r}; tidegate experiments list shows all")
        return there[-1]

    async def decisions(self, experiment: Experiment) -> list[Decision]:
        """Oldest first. Each by its id: of all experiments together they are many, and what they followed from is
        long."""
        found: list[Decision] = []
        while (one := await self._world.store.find(Decision, f"{experiment.id}#{len(found)}")) is not None:
            found.append(one)
        return found

    async def make(self, spec: Spec, by: str, who: str = "") -> Experiment:
        """A draft. Raises Conflict when the name is in use. What is wrong with `spec` was asked before."""
        same = [one for one in await self.every() if one.name == spec.name]
        if any(not one.archived_ms for one in same):
            raise Conflict(f"there is an experiment {spec.name!r} already: archive it, or take another name")
        now_ms, id = self._now_ms, id_of(spec.name, len(same) + 1)
        one = Experiment(id, spec.name, kept(spec), secrets.token_hex(16), now_ms, by, since_ms=now_ms)
        try:
            await self._world.store.add(one)
        except ValueError:
            raise Conflict(f"experiment {spec.name!r} {AGAIN}") from None
        await self._done("experiment_created", one, by, who, None)
        return one

    async def move(
        self, experiment: Experiment, did: str, state: State, stage: int, *, by: str, why: str, who: str = "",
        inputs: str = "{}", arm: str = "",
    ) -> Experiment:  # fmt: skip
        """Decide what becomes of it, provided that it still is as `experiment` says: of two at once, one succeeds.

        `arm`: that it is about; of what is promoted, it has to be one of the arms. Raises Conflict: somebody else was
        first.
        """
        if experiment.archived_ms:
            raise Conflict(f"experiment {experiment.name!r} was archived; make another one")
        if state == "promoted" and arm not in {CONTROL, *(one.name for one in spec_of(experiment).arms)}:
            raise Conflict(f"experiment {experiment.name!r} has no arm {arm[:60]!r} to promote")
        decision = Decision(
            f"{experiment.id}#{experiment.steps}", experiment.id, self._now_ms, did, experiment.state,
            experiment.stage, state, stage, by, why[:MAX_WHY], inputs, arm,
        )  # fmt: skip
        store = self._world.store
        try:
            await store.add(decision)
        except ValueError:
            # Whoever was first may have died before it did what it had decided.
            first = await store.find(Decision, decision.id)
            if first is not None:
                await self._follow(experiment, first, "")
            raise Conflict(f"experiment {experiment.name!r} {AGAIN}") from None
        return await self._follow(experiment, decision, who)

    async def _follow(self, experiment: Experiment, decision: Decision, who: str) -> Experiment:
        """Do what was decided, unless somebody else has done it."""
        stays = (decision.state, decision.stage) == (experiment.state, experiment.stage)
        fields: dict[str, Any] = {
            "state": decision.state,
            "stage": decision.stage,
            "since_ms": experiment.since_ms if stays else decision.at_ms,
            "steps": experiment.steps + 1,
            "why": decision.why,
            "arm": decision.arm if decision.state == "promoted" else experiment.arm,
        }
        moved = await self._world.store.change(experiment, **fields)
        if moved is None:
            await self._running.look()
            return await self._world.store.find(Experiment, experiment.id) or experiment
        await self._done(f"experiment_{decision.did}", moved, decision.by, who, experiment)
        return moved

    async def archive(self, experiment: Experiment, by: str, who: str = "") -> Experiment:
        """Nothing of it holds any more, not even what it promoted. Raises Conflict while it is under way."""
        if experiment.archived_ms:
            return experiment
        if experiment.state not in (*ENDED, "draft"):
            raise Conflict(f"experiment {experiment.name!r} is under way; stop it first, or wait for its end")
        gone = await self._world.store.change(experiment, archived_ms=self._now_ms, steps=experiment.steps)
        if gone is None:
            raise Conflict(f"experiment {experiment.name!r} {AGAIN}")
        await self._done("experiment_archived", gone, by, who, experiment)
        return gone

    async def _done(self, did: str, now: Experiment, by: str, who: str, before: Experiment | None) -> None:
        """It holds here from now on, elsewhere within two seconds, and the audit log has it."""
        await self._running.look()
        world, at_ms = self._world, self._now_ms
        id = f"act_{at_ms:011x}{world.chance.hex()}"
        act = Acted(id, at_ms, did, now.id, by, who, before and _told(before), _told(now))
        try:
            world.ledger.append(act)
        except StorageFull as full:  # it is done; that it was cannot be kept
            world.events.notice("act_not_recorded", {"did": did, "id": now.id, "error": full.message})


def _told(one: Experiment) -> dict[str, Any]:
    """For the audit log; what it is stands in the store, and never changes."""
    said = {"name": one.name, "state": one.state, "stage": one.stage, "why": one.why, "arm": one.arm}
    return said | ({"archived_ms": one.archived_ms} if one.archived_ms else {})
