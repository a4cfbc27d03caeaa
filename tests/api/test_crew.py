"""Tasks that answer: one turn after the other, none left waiting, and what ends one turn ends no other."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tests.api.test_turn import turn
from tidegate.api.crew import MOST_IDLE, Crew
from tidegate.api.incoming import Receive, Scope, Send


class Doors:
    """An application that waits until it is let through, and who has answered."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.tasks: list[asyncio.Task[Any]] = []
        self.over: list[asyncio.Task[Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.tasks.append(cast("asyncio.Task[Any]", asyncio.current_task()))
        await self.open.wait()

    def take(self, crew: Crew) -> asyncio.Task[None]:
        return crew.take(turn()[0], self, asyncio.get_running_loop(), self.over.append).task


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_task_takes_one_turn_after_the_other():
    crew, doors = Crew(), Doors()
    crew.join()
    for _ in range(3):
        doors.take(crew)
        await turns(3)
    assert len(set(doors.tasks)) == 1 and len(doors.over) == 3
    crew.leave()


async def test_turns_at_the_same_time_have_tasks_of_their_own():
    crew, doors = Crew(), Doors()
    crew.join()
    doors.open.clear()
    for _ in range(MOST_IDLE + 5):
        doors.take(crew)
    await turns(3)
    assert len(set(doors.tasks)) == MOST_IDLE + 5
    doors.open.set()
    await turns(3)
    assert len(crew.idle) == MOST_IDLE, "the others have ended"
    crew.leave()


async def test_nobody_waits_when_the_last_connection_is_gone():
    crew, doors = Crew(), Doors()
    crew.join()
    task = doors.take(crew)
    await turns(3)
    crew.leave()
    await asyncio.wait_for(task, 30)


async def test_a_task_that_was_cancelled_takes_no_other_turn():
    crew, doors = Crew(), Doors()
    crew.join()
    doors.open.clear()
    task = doors.take(crew)
    await turns(3)
    task.cancel()
    await asyncio.wait([task], timeout=30)
    assert task.done() and not crew.idle and doors.over == [task]
    crew.leave()
