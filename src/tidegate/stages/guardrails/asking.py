"""Who is asked with whom, and do they speak of what they were shown?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from tidegate.core.guard import Finding, Part
from tidegate.core.world import World

if TYPE_CHECKING:
    from tidegate.stages.guardrails import Guard

Found = Sequence[Sequence[Finding]]  # in each part


def together(guards: Sequence[Guard]) -> list[list[Guard]]:
    """In order, and those beside each other that only look in one group: they see the same."""
    groups: list[list[Guard]] = []
    for guard in guards:
        if groups and not guard.changes and not groups[-1][-1].changes:
            groups[-1].append(guard)
        else:
            groups.append([guard])
    return groups


class Asking:
    """`with Asking(…) as asking`: guards that see the same. Those that wait for others do so while the rest looks."""

    def __init__(self, world: World, group: Sequence[Guard], ask: Callable[[Guard], Awaitable[Found | None]]) -> None:
        self._ask = ask
        self._tasks = {
            guard: world.nursery.spawn(self._asked(guard), f"guard {guard.name}")
            for guard in group
            if guard.waits and len(group) > 1
        }

    async def _asked(self, guard: Guard) -> Found | None:
        return await self._ask(guard)

    async def of(self, guard: Guard) -> Found | None:
        """What one of them has found."""
        return await (self._tasks[guard] if guard in self._tasks else self._ask(guard))

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._tasks.values():
            let_go(task)


def let_go(task: asyncio.Task[Found | None]) -> None:
    """Nobody waits for it any more; what it raises was answered already, or does not matter."""
    if not task.done():
        task.cancel()
    elif not task.cancelled():
        task.exception()


def in_place(parts: Sequence[Part], found: Found) -> None:
    """Raises ValueError for places that are not there: whoever names them has looked at something else."""
    if len(found) != len(parts):
        raise ValueError(f"there are {len(parts)} texts, and it speaks of {len(found)}")
    for part, some in zip(parts, found, strict=True):
        at = 0
        for one in some:
            if not at <= one.start <= one.end <= len(part.text):
                raise ValueError(f"{part.path}: {one.start} to {one.end} is no place in it, or lies in another")
            at = one.end
