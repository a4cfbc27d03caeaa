"""Room at a target: who gets it, who waits for it, and that none is lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.clock import JumpClock
from tidegate.core.world import Nursery, World
from tidegate.upstream.slots import Slots


@pytest.fixture
async def world() -> World:
    loop = asyncio.get_running_loop()
    nothing = object()
    return World(loop, JumpClock(), Nursery(loop), *[nothing] * 5)  # type: ignore[arg-type]


def full(most: int = 1) -> Slots:
    slots = Slots()
    while slots.take(most):
        pass
    return slots


def waiting(slots: Slots, world: World, priority: str = "interactive", seconds: float = 60) -> asyncio.Task[bool]:
    return asyncio.get_running_loop().create_task(slots.wait(world, priority, 10, seconds))  # type: ignore[arg-type]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_there_is_room_up_to_the_bound_and_none_behind_it() -> None:
    slots = Slots()
    assert [slots.take(2) for _ in range(3)] == [True, True, False]
    slots.give_back()
    assert slots.take(2) and not slots.take(2)
    assert slots.take(None)  # for whom there is no bound


async def test_who_waits_gets_the_slot_of_who_leaves_and_nobody_slips_in_between(world: World) -> None:
    slots = full()
    one = waiting(slots, world)
    await settled()
    slots.give_back()
    assert not slots.take(1)
    assert await one
    slots.give_back()
    assert slots.taken == 0


async def test_interactive_calls_go_before_batches_that_came_earlier(world: World) -> None:
    slots = full()
    batch = waiting(slots, world, "batch")
    await settled()
    person = waiting(slots, world)
    await settled()
    slots.give_back()
    assert await person and not batch.done()
    slots.give_back()
    assert await batch


async def test_who_finds_too_many_waiting_is_refused_at_once(world: World) -> None:
    slots = full()
    assert not await slots.wait(world, "interactive", 0, 60)
    assert slots.shed == 1 and slots.waiting == 0


async def test_who_has_waited_long_enough_leaves_without_a_slot(world: World) -> None:
    slots = full()
    assert not await slots.wait(world, "interactive", 10, 2.5)
    assert (slots.shed, slots.waiting, slots.taken) == (1, 0, 1)


@pytest.mark.parametrize("given_first", [False, True], ids=["before it was given", "in the moment it was given"])
async def test_who_is_cancelled_takes_no_slot_along(world: World, given_first: bool) -> None:
    slots = full()
    leaver, next_one = waiting(slots, world), waiting(slots, world)
    await settled()
    if given_first:
        slots.give_back()
    leaver.cancel()
    await asyncio.wait([leaver])
    if not given_first:
        slots.give_back()
    assert await next_one
    slots.give_back()
    assert (slots.taken, slots.waiting) == (0, 0)
