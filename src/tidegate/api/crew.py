"""Who answers? Tasks that take one turn after the other: to make one for each costs as much as a stage does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate.api.edge import Application
from tidegate.api.turn import Turn

MOST_IDLE = 64  # that wait for a turn; more are made, and end, as they are needed

Over = Callable[[asyncio.Task[None]], object]


class Crew:
    """Of the connections of one server. When the last of them is gone, nobody is left waiting."""

    def __init__(self) -> None:
        self.idle: list[Hand] = []
        self._connections = 0

    def join(self) -> None:
        self._connections += 1

    def leave(self) -> None:
        self._connections -= 1
        while self.idle and not self._connections:
            waits = self.idle.pop().waits
            if waits is not None and not waits.done():
                waits.set_result(None)

    def take(self, turn: Turn, application: Application, loop: asyncio.AbstractEventLoop, over: Over) -> Hand:
        """Who answers it now. `over` is called with the task when that is done."""
        while self.idle:
            hand = self.idle.pop()
            waits = hand.waits
            if waits is not None and not waits.done():  # else somebody has ended it meanwhile
                hand.next = (turn, application, over)
                waits.set_result(None)
                return hand
        return Hand(self, loop, (turn, application, over))

    def keeps(self, hand: Hand) -> bool:
        if len(self.idle) >= MOST_IDLE or not self._connections:
            return False
        self.idle.append(hand)
        return True


class Hand:
    """One task, and the turn that it has."""

    __slots__ = ("_crew", "_loop", "next", "task", "waits")

    def __init__(self, crew: Crew, loop: asyncio.AbstractEventLoop, first: tuple[Turn, Application, Over]) -> None:
        self._crew = crew
        self._loop = loop
        self.next: tuple[Turn, Application, Over] | None = first
        self.waits: asyncio.Future[None] | None = None  # for `next`; done without one, it ends
        self.task = loop.create_task(self._work(), name="turns")

    async def _work(self) -> None:
        while self.next is not None:
            (turn, application, over), self.next = self.next, None
            try:
                await turn.run(application)
            finally:
                over(self.task)
            del turn  # not to be kept while waiting for the next
            if self.task.cancelling() or not self._crew.keeps(self):
                return  # what was meant to end one turn must not end another
            self.waits = self._loop.create_future()
            await self.waits
