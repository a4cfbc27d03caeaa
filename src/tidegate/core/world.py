"""What is there, whatever the configuration: the ports, and the tasks of the house.

A `Gateway` is one configuration and may be replaced; the World stays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tidegate.core.call import Call
    from tidegate.core.flight import Flight
    from tidegate.core.ports import Clock, Counters, Events, Ledger, Store, Transport


T = TypeVar("T")


class Nursery:
    """The tasks that belong to the house and not to a client. What is still running can be counted and waited for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.tasks: set[asyncio.Task[Any]] = set()

    def spawn(
        self, work: Coroutine[Any, Any, T], name: str, after: Callable[[asyncio.Task[T]], None] | None = None
    ) -> asyncio.Task[T]:
        """`after` is called when it has ended, however."""
        task = self.loop.create_task(work, name=name)
        self.tasks.add(task)
        # One callback, for each is a step of the loop.
        task.add_done_callback(self.tasks.discard if after is None else partial(self._ended, after))
        return task

    def _ended(self, after: Callable[[asyncio.Task[T]], None], task: asyncio.Task[T]) -> None:
        self.tasks.discard(task)
        after(task)

    async def wait(self, seconds: float) -> None:
        """Until no task is left, or for so long."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=seconds)


class Chance:
    """Bits that nobody can guess. The kernel is asked for many at once: a system call costs more than a name does."""

    __slots__ = ("_at", "_block")

    def __init__(self) -> None:
        self._block = ""
        self._at = 0

    def hex(self) -> str:
        """80 bits, never the same twice."""
        at = self._at
        if at >= len(self._block):
            self._block, at = os.urandom(10 * 256).hex(), 0
        self._at = at + 20
        return self._block[at : at + 20]


@dataclass(frozen=True, slots=True)
class World:
    """The ports, bound once by `app.build`."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    nursery: Nursery
    transport: Transport
    store: Store
    ledger: Ledger
    counters: Counters
    events: Events
    calls: set[Call] = field(default_factory=set)  # that have begun and not ended; a flight may outlast its call
    flights: set[Flight] = field(default_factory=set)
    chance: Chance = field(default_factory=Chance)
    closing: asyncio.Event = field(default_factory=asyncio.Event)  # set on SIGTERM: no new purchases
