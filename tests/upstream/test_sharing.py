"""Two processes, each with its own view, on one board: they agree, also after the board was away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from tests.stages.test_auth import HandClock
from tests.stages.test_routes import provider
from tidegate.core.call import Target
from tidegate.core.errors import StoreDown
from tidegate.core.values import Duration
from tidegate.core.world import Nursery, World
from tidegate.storage.memory import MemoryCounters
from tidegate.upstream.breaker import Config
from tidegate.upstream.sharing import BOARD, Sharing
from tidegate.upstream.targets import PassedOver, Seat, Targets

TARGET = Target(provider("main"), "m")
CONFIG = Config(failures=2, open_for=Duration(60))


class Board(MemoryCounters):
    away = False

    async def notes(self, board: str) -> Mapping[str, bytes]:
        if self.away:
            raise StoreDown("nobody answers")
        return await super().notes(board)


class Process:
    def __init__(self, board: Board, clock: HandClock) -> None:
        nothing = cast(Any, None)
        self.told: list[str] = []
        loop = asyncio.get_running_loop()
        world = World(loop, clock, Nursery(loop), nothing, nothing, nothing, board, cast(Any, self))
        self.world = world
        self.targets = Targets(world, CONFIG)
        self.sharing = Sharing(world, self.targets)

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        self.told.append(name)

    @property
    def state(self) -> str:
        return self.targets.of(TARGET).breaker.state

    async def fail(self) -> None:
        for _ in range(2):
            seat = await self.seat()
            assert isinstance(seat, Seat)
            seat.give_back(self.world.clock.now_ns(), "badly", first_s=None, took_s=1.0, why="HTTP 503")

    async def seat(self) -> Seat | PassedOver:
        return await self.targets.seat(cast(Any, None), TARGET)


@pytest.fixture
async def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def board(clock: HandClock) -> Board:
    return Board(clock)


@pytest.fixture
async def pair(board: Board, clock: HandClock) -> tuple[Process, Process]:
    return Process(board, clock), Process(board, clock)


async def exchange(*processes: Process) -> None:
    for process in processes:
        await process.sharing.exchange()


async def test_what_one_has_set_aside_the_other_does_not_ask(pair: tuple[Process, Process]) -> None:
    one, other = pair
    await one.fail()
    await exchange(one, other)
    assert other.state == "open" and other.told == ["breaker_open"]
    assert isinstance(await other.seat(), PassedOver)


async def test_one_of_all_processes_tries_and_its_answer_is_everybodys(
    pair: tuple[Process, Process], clock: HandClock
) -> None:
    one, other = pair
    await one.fail()
    await exchange(one, other)
    clock.seconds += 61
    probe = await one.seat()
    assert isinstance(probe, Seat) and probe.is_probe
    assert isinstance(await other.seat(), PassedOver), "the lease is the first one's"
    probe.answered(clock.now_ns(), 0.5)
    await exchange(one, other)
    assert (one.state, other.state) == ("closed", "closed")
    await asyncio.sleep(0)


async def test_an_admins_word_reaches_all(pair: tuple[Process, Process], clock: HandClock) -> None:
    one, other = pair
    one.targets.say(TARGET, "open")
    await exchange(one, other)
    assert other.state == "open" and other.targets.of(TARGET).breaker.forced
    clock.seconds += 5
    other.targets.say(TARGET, "reset")
    await exchange(other, one)
    assert one.state == "closed" and not one.targets.of(TARGET).breaker.forced


async def test_without_the_board_each_goes_on_alone_says_so_once_and_agrees_again_later(
    pair: tuple[Process, Process], board: Board, clock: HandClock
) -> None:
    one, other = pair
    board.away = True
    await one.fail()
    for _ in range(3):
        await exchange(one, other)
    assert one.told == ["breaker_open", "breakers_not_shared"] and other.told == ["breakers_not_shared"]
    assert (one.state, other.state) == ("open", "closed")
    clock.seconds += 1
    board.away = False
    await exchange(one, other)
    assert other.state == "open" and other.told[1:] == ["breaker_open", "breakers_shared_again"]


async def test_a_board_that_was_wiped_is_filled_again(
    pair: tuple[Process, Process], board: Board, clock: HandClock
) -> None:
    one, _ = pair
    await one.fail()
    await exchange(one)
    await board.note(BOARD, TARGET.name, None, 0)
    board.away = True
    await exchange(one)
    board.away = False
    await exchange(one, one)
    newcomer = Process(board, clock)
    await exchange(newcomer)
    assert newcomer.state == "open"


async def test_what_nobody_understands_on_the_board_is_passed_by(pair: tuple[Process, Process], board: Board) -> None:
    await board.note(BOARD, TARGET.name, b"\xff", 60)
    await exchange(*pair)
    assert pair[0].state == "closed"
