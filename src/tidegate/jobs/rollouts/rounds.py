"""Who looks how experiments do, and when? Each process, every few seconds, and one of them decides.

What is known is in the store and in the ledger, and what a unit gets is a hash: a process that dies changes nothing.
Whoever has the lease of an experiment looks at it; should two decide at once, the store takes the first, and the other
one finds that it has been decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress

from tidegate.core.errors import Conflict, StoreDown, TidegateError
from tidegate.core.experiments import Decision, Experiment, Known, Tripwires
from tidegate.core.ports import Once
from tidegate.core.tally import Counting, Tally
from tidegate.core.world import World
from tidegate.jobs.rollouts import Config, evidence
from tidegate.jobs.rollouts.count import Units, count
from tidegate.jobs.rollouts.course import Move, followed, gated
from tidegate.jobs.rollouts.evidence import Passed, Seen, Tripped
from tidegate.jobs.rollouts.moves import Mover
from tidegate.jobs.rollouts.tripwires import Wires

LEASE_S = 5.0  # a process that dies holds up the others for so long; tripwires wait for nobody
RENEW_S = 2.0
SELDOM = 20  # times what a look has taken must pass before the next: of a large experiment it takes long
UNDER_WAY = ("gate", "running", "promoted")


There = Callable[[], tuple[Known, ...]]  # all that are not archived; another tuple when anything has changed
Gate = Callable[[Known], Awaitable[Passed]]  # raises TidegateError


class Rollouts:
    """One for a process. `there` are all experiments that it knows."""

    def __init__(self, world: World, config: Config, there: There, units: Units, gate: Gate, mover: Mover) -> None:
        self._world = world
        self._every_s = float(config.look_every)
        self._there = there
        self._seen: tuple[Known, ...] = ()
        self._by_id: dict[str, Known] = {}
        self._units = units
        self._gate = gate
        self._mover = mover
        self._tripped: dict[str, tuple[str, Tripped]] = {}
        self._next_ns: dict[str, int] = {}  # by id: when to look again
        self._gates: dict[str, asyncio.Task[None]] = {}  # by id
        self._begun_ms: dict[str, int] = {}  # by id: when anybody first could get an arm
        self.wires = Wires(self._wires_of, self._trip)
        self.units: dict[str, dict[str, int]] = {}  # by name and arm, as this process saw them last
        self.holder = world.chance.hex()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            with suppress(StoreDown):  # whoever keeps the store has told the operator
                await self.look()

    async def look(self) -> None:
        """Once, at all of them. Raises StoreDown."""
        known = [one for one in self._known().values() if one.experiment.state in UNDER_WAY]
        names = {one.experiment.name for one in known}
        self.units = {name: arms for name, arms in self.units.items() if name in names}
        self._next_ns = {id: at_ns for id, at_ns in self._next_ns.items() if id in self._by_id}
        self._tripped = {id: trip for id, trip in self._tripped.items() if id in self._by_id}
        for one in known:
            if one.experiment.state == "gate":
                self._begin_gate(one)
            else:
                await self._look_at(one)

    async def aclose(self) -> None:
        for task in self._gates.values():
            task.cancel()
        await asyncio.gather(*self._gates.values(), return_exceptions=True)

    def stages(self) -> Iterator[tuple[str, str, int]]:
        """Name, state and stage of those that are under way."""
        for one in self._known().values():
            if one.experiment.state in ("gate", "running"):
                yield one.experiment.name, one.experiment.state, one.experiment.stage

    def _known(self) -> Mapping[str, Known]:
        """By id. Asked with every call that has an arm."""
        there = self._there()
        if there is not self._seen:
            self._seen, self._by_id = there, {one.experiment.id: one for one in there}
        return self._by_id

    async def _look_at(self, one: Known) -> None:
        """One that cannot be judged must not keep the others from it."""
        experiment = one.experiment
        tripped = self._tripped.get(experiment.id)
        try:
            if experiment.state == "promoted":
                await self._mover.settle(experiment, one.spec)
            elif tripped is not None:
                await self._take_back(experiment, *tripped)
            else:
                await self._leased(one)
        except StoreDown:
            raise
        except Conflict:
            return  # somebody else has decided just now
        except Exception as wrong:  # noqa: BLE001 whatever it is, it is told
            fields = {"experiment": experiment.name, "error": f"{type(wrong).__name__}: {wrong}"[:500]}
            self._world.events.notice("rollout_crashed", fields)

    async def _leased(self, one: Known) -> None:
        id, clock = one.experiment.id, self._world.clock
        began_ns = clock.now_ns()
        if began_ns < self._next_ns.get(id, 0):
            return
        async with Lease(self._world, id, self.holder).held() as is_ours:
            if is_ours:
                await self._judge(one)
                took_ns = clock.now_ns() - began_ns
                self._next_ns[id] = began_ns + SELDOM * took_ns

    async def _judge(self, one: Known) -> None:
        experiment, spec = one.experiment, one.spec
        # In shadow mode nobody has an arm: there are no units to compare, but its time runs.
        counting = Counting(spec)
        if spec.mode == "live":
            await count(self._units, experiment.id, counting)
        tally = counting.tally()
        self.units[experiment.name] = tally.units
        seen = await self.seen(one, tally)
        judgement = await asyncio.to_thread(evidence.judged, spec, seen)
        move = followed(experiment, spec, judgement)
        if move is None or (move.did == "blocked" and await self._is_blocked(experiment)):
            return
        await self._mover.make(experiment, move, seen)

    async def seen(self, one: Known, tally: Tally) -> Seen:
        """What a decision about it would be based on now."""
        experiment, now_ms = one.experiment, self._now_ms
        return Seen(
            stage=experiment.stage,
            stage_age_s=(now_ms - experiment.since_ms) / 1000,
            age_s=(now_ms - await self._begun(experiment)) / 1000,
            units=tally.count,
            tally=evidence.packed(tally),
        )

    async def _begun(self, experiment: Experiment) -> int:
        known = self._begun_ms.get(experiment.id)
        for step in range(experiment.steps) if known is None else ():
            one = await self._world.store.find(Decision, f"{experiment.id}#{step}")
            if one is not None and one.state == "running":
                known = self._begun_ms[experiment.id] = one.at_ms
                break
        return known or experiment.since_ms

    async def _is_blocked(self, experiment: Experiment) -> bool:
        """And that was said, in this stage."""
        last = await self._world.store.find(Decision, f"{experiment.id}#{experiment.steps - 1}")
        return last is not None and last.did == "blocked" and last.stage == experiment.stage

    # --- the gate

    def _begin_gate(self, one: Known) -> None:
        """It takes minutes, and nobody waits for it."""
        id = one.experiment.id
        if id not in self._gates:
            self._gates[id] = task = self._world.loop.create_task(self._pass_gate(one), name=f"gate {id}")
            task.add_done_callback(lambda _: self._gates.pop(id))

    async def _pass_gate(self, one: Known) -> None:
        with suppress(StoreDown, Conflict):  # it is tried again, or somebody has stopped it meanwhile
            async with Lease(self._world, one.experiment.id, self.holder).held() as is_ours:
                if not is_ours:
                    return
                try:
                    passed = await self._gate(one)
                except Exception as wrong:  # noqa: BLE001 its scorers are somebody's own
                    why = wrong.message if isinstance(wrong, TidegateError) else f"{type(wrong).__name__}: {wrong}"
                    passed = Passed(suite=one.spec.gate or "", suite_hash="", arms={"the suite": why[:500]})
                failed = {arm: why for arm, why in passed.arms.items() if why}
                await self._mover.make(one.experiment, gated(one.experiment, one.spec, failed), passed)

    # --- tripwires

    def _wires_of(self, id: str) -> Tripwires | None:
        found = self._known().get(id)
        if found is None or found.experiment.state != "running" or id in self._tripped:
            return None
        return found.spec.tripwires

    def _trip(self, id: str, why: str, seen: Tripped) -> None:
        self._tripped[id] = (why, seen)
        self._world.nursery.spawn(self._act(id, why, seen), f"take back {id}")

    async def _act(self, id: str, why: str, seen: Tripped) -> None:
        found = self._known().get(id)
        with suppress(StoreDown, Conflict):  # it is tried again with every look
            if found is not None:
                await self._take_back(found.experiment, why, seen)

    async def _take_back(self, experiment: Experiment, why: str, seen: Tripped) -> None:
        move = Move("rolled_back", "rolled_back", experiment.stage, evidence.tripwire(why), seen.arm)
        await self._mover.make(experiment, move, seen)

    @property
    def _now_ms(self) -> int:
        return self._world.clock.wall_ns() // 1_000_000


class Lease:
    """The right to look at one experiment, for as long as somebody holds it."""

    def __init__(self, world: World, id: str, holder: str) -> None:
        self._world = world
        self._id = f"rollout:{id}"
        self._holder = holder

    @asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """Whether it is ours. Raises StoreDown."""
        if not await self.taken():
            yield False
            return
        holding = self._world.loop.create_task(self._hold(), name=f"hold {self._id}")
        try:
            yield True
        finally:
            holding.cancel()
            await self.given_back()

    async def taken(self) -> bool:
        now_ms = self._world.clock.wall_ns() // 1_000_000
        once = Once(self._id, self._holder, b"", now_ms + round(LEASE_S * 1000))
        return await self._world.store.begin_once(once, now_ms) is None

    async def given_back(self) -> None:
        with suppress(StoreDown):  # then it runs out
            await self._world.store.end_once(Once(self._id, self._holder, b"", 0))

    async def _hold(self) -> None:
        """Take it again and again. Should another be quicker in between, both do the same work, and one decides."""
        while True:
            await asyncio.sleep(RENEW_S)
            await self.given_back()
            with suppress(StoreDown):
                await self.taken()
