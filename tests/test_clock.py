from __future__ import annotations

import asyncio
import time

import pytest

from tests.clock import JumpClock


async def test_sleepers_wake_in_their_order_without_time_passing():
    clock = JumpClock()
    woken: list[tuple[str, float]] = []
    began = time.monotonic()

    async def sleep(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.now_ns() / 1e9 - beginning))

    beginning = clock.now_ns() / 1e9
    await asyncio.gather(sleep("long", 3600), sleep("naps", 600, 600), sleep("short", 1))
    assert [name for name, _ in woken] == ["short", "naps", "naps", "long"]
    assert [round(at) for _, at in woken] == [1, 600, 1200, 3600]
    assert time.monotonic() - began < 1


async def test_it_does_not_jump_while_bytes_are_on_their_way():
    clock = JumpClock()
    heard: list[object] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            await reader.readexactly(1)
            writer.write(b"x")
        heard.append("all")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        alarm = asyncio.create_task(clock.sleep(1))
        alarm.add_done_callback(lambda _: heard.append("alarm"))
        for _ in range(100):
            writer.write(b"x")
            await reader.readexactly(1)
        writer.close()
        await alarm
        assert heard == ["all", "alarm"]


async def test_it_does_not_jump_while_there_is_work():
    clock = JumpClock()
    alarm = asyncio.create_task(clock.sleep(1))
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert not alarm.done()
    await alarm


async def test_held_it_moves_only_when_it_is_advanced_and_then_through_all_that_is_due():
    clock = JumpClock()
    clock.hold()
    turns: list[float] = []

    async def every_second() -> None:
        while True:
            await clock.sleep(1)
            turns.append(clock.now_ns())

    task = asyncio.create_task(every_second())
    await asyncio.sleep(0.01)
    assert turns == [] and clock.sleepers == 1
    await clock.advance(3)
    assert [at - turns[0] for at in turns] == [0, 10**9, 2 * 10**9]
    await asyncio.sleep(0.01)
    assert len(turns) == 3
    task.cancel()


async def test_a_cancelled_sleeper_is_forgotten():
    clock = JumpClock()
    nap = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    nap.cancel()
    with pytest.raises(asyncio.CancelledError):
        await nap
    before = clock.now_ns()
    await clock.sleep(5)
    assert clock.now_ns() - before == 5 * 10**9 and clock.sleepers == 0
