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
            self.idle.pop().go()

    def take(self, turn: Turn, application: Application, loop: asyncio.AbstractEventLoop, over: Over) -> Hand:
        """Who answers it now. `over` is called with the task when that is done."""
        while self.idle:
            hand = self.idle.pop()
            if hand.waits:
                break  # else somebody has ended it meanwhile
        else:
            hand = Hand(self, loop)
        hand.begin(turn, application, over)
        return hand

    def keeps(self, hand: Hand) -> bool:
        if len(self.idle) >= MOST_IDLE or not self._connections:
            return False
        self.idle.append(hand)
        return True


class Hand:
    """One task, and the turn that it has."""

    __slots__ = ("_crew", "_loop", "_next", "_waits", "task")

    def __init__(self, crew: Crew, loop: asyncio.AbstractEventLoop) -> None:
        self._crew = crew
        self._loop = loop
        self._next: tuple[Turn, Application, Over] | None = None
        self._waits: asyncio.Future[None] | None = None
        self.task = loop.create_task(self._work(), name="turns")

    @property
    def waits(self) -> bool:
        return self._waits is not None and not self._waits.done()

    def begin(self, turn: Turn, application: Application, over: Over) -> None:
        self._next = (turn, application, over)
        self.go()

    def go(self) -> None:
        if self._waits is not None and not self._waits.done():
            self._waits.set_result(None)

    async def _work(self) -> None:
        while self._next is not None:
            (turn, application, over), self._next = self._next, None
            try:
                await turn.run(application)
            finally:
                over(self.task)
            del turn  # not to be kept while waiting for the next
            if self.task.cancelling() or not self._crew.keeps(self):
                return  # what was meant to end one turn must not end another
            waits = self._waits = self._loop.create_future()
            await waits
            self._waits = None
