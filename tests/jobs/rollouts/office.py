"""Processes that look at the same experiments: one store, one ledger, and whatever is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import Any

from tests.clock import JumpClock
from tidegate.core.experiments import CONTROL, Decision, Experiment, Spec, UnitLine, read
from tidegate.core.ports import Acted
from tidegate.core.tally import Counting
from tidegate.core.world import Nursery, World
from tidegate.jobs.rollouts import Config
from tidegate.jobs.rollouts.course import wanted
from tidegate.jobs.rollouts.evidence import Asked, Passed
from tidegate.jobs.rollouts.moves import Mover
from tidegate.jobs.rollouts.reports import LOOKS
from tidegate.jobs.rollouts.rounds import Rollouts
from tidegate.stages.experiments.desk import Desk
from tidegate.stages.experiments.running import Running
from tidegate.storage.memory import MemoryStore

SPEC = {"name": "shorter", "arms": [{"name": "a", "target": "main/n"}], "ramp": ["20%", "50%"], "min_units": 50}


class Office:
    """`lines` is what the ledger says of every experiment."""

    def __init__(self, store: Any = None) -> None:
        self.store = store or MemoryStore()
        self.clock = JumpClock()
        self.lines: list[UnitLine] = []
        self.acts: list[Acted] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.labels: list[tuple[Any, ...]] = []
        self.passes: dict[str, str] = {"a": ""}
        loop, me, nothing = asyncio.get_running_loop(), self, None
        self.world: Any = World(loop, self.clock, Nursery(loop), nothing, self.store, me, nothing, me)  # type: ignore[arg-type]

    # --- a ledger and listeners

    def append(self, record: Any) -> None:
        self.acts.append(record)

    def notice(self, name: str, fields: Any) -> None:
        self.told.append((name, dict(fields)))

    async def units(self, experiment: str, behind: str) -> list[UnitLine]:
        return in_order(self.lines, behind)

    # --- who works here

    async def relabel(self, *asked: Any) -> None:
        self.labels.append(asked)

    async def gate(self, one: Any) -> Passed:
        return Passed(suite=one.spec.gate, suite_hash="0", arms=self.passes)

    def process(self) -> Process:
        return Process(self)

    def names(self) -> list[str]:
        return [name for name, _ in self.told if name.startswith("experiment_")]


class Process:
    """One that serves."""

    def __init__(self, office: Office) -> None:
        self.running = Running(office.store, office)  # type: ignore[arg-type]
        self.desk = Desk(office.world, self.running)
        self.mover = Mover(office.world, self.desk, office.relabel)
        self.rollouts = Rollouts(
            office.world, Config(), lambda: self.running.known, office.units, office.gate, self.mover
        )

    async def look(self) -> None:
        await self.running.look()
        await self.rollouts.look()

    async def make(self, **fields: Any) -> Experiment:
        return await self.desk.make(read(SPEC | fields), "key")

    async def start(self, **fields: Any) -> Experiment:
        one = await self.make(**fields)
        return await self.mover.make(one, wanted(one, read(SPEC | fields), "start", ""), Asked("start"), "key")

    async def now(self) -> Experiment:
        return await self.desk.named("shorter")

    async def decisions(self) -> list[Decision]:
        return await self.desk.decisions(await self.now())

    async def did(self) -> list[str]:
        return [one.did for one in await self.decisions()]


def population(
    stage: int, count: int, share: float, at_ms: int, *, apart_ms: int = 10, seed: int = 1, **arm: Any
) -> Iterator[UnitLine]:
    """Units with one call each; of `arm` what is other there: failed (a share), slower and dearer (factors)."""
    chance = random.Random(f"{seed}:{stage}")
    for number in range(count):
        is_arm = chance.random() < share
        slower, dearer = (arm.get(name, 1.0) if is_arm else 1.0 for name in ("slower", "dearer"))
        failed = chance.random() < (arm.get("failed", 0.02) if is_arm else 0.02)
        score = 1000 if chance.random() < (arm.get("liked", 0.8) if is_arm else 0.8) else 0
        yield UnitLine(
            stage=stage, arm="a" if is_arm else CONTROL, unit=f"{seed}{stage}{number:010x}",
            first_ms=at_ms + number * apart_ms, calls=1, failed=int(failed), answered=int(not failed),
            took_us=round(chance.lognormvariate(13, 0.3) * slower) if not failed else 0, begun=int(not failed),
            first_us=round(chance.lognormvariate(12, 0.3) * slower) if not failed else 0, priced=int(not failed),
            cost_nusd=round(chance.lognormvariate(12, 0.3) * dearer) if not failed else 0, scored=1, score_milli=score,
        )  # fmt: skip


def in_order(lines: Sequence[UnitLine], behind: str, most: int = 400) -> list[UnitLine]:
    """As a ledger has them: all of the next units."""
    found = sorted({line.unit for line in lines if line.unit > behind})[:most]
    return sorted((line for line in lines if found and behind < line.unit <= found[-1]), key=lambda line: line.unit)


def counting(spec: Spec, lines: Sequence[UnitLine], parts: int = LOOKS) -> Counting:
    came = sorted((line.first_ms, line.unit, line.stage, line.arm) for line in lines)
    parts = min(parts, len(came))
    found = Counting(spec, looks=[came[len(came) * number // parts - 1] for number in range(1, parts)])
    found.add(lines)
    return found


def arms(lines: Sequence[UnitLine]) -> dict[str, int]:
    return {arm: sum(line.arm == arm for line in lines) for arm in {line.arm for line in lines}}
