"""Does the event loop keep up?"""

from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tidegate.core.ports import Backlog
from tidegate.telemetry.pulse import WINDOW_S, Pulse


class Nowhere:
    busy = 3


@pytest.fixture
async def pulse():
    made = Pulse(asyncio.get_running_loop(), Nowhere(), lambda: Backlog(rows=2, bytes=99))
    yield made
    made.stop()


def page(pulse: Pulse) -> str:
    registry = CollectorRegistry()
    registry.register(pulse)
    return generate_latest(registry).decode()


def longest(pulse: Pulse) -> float:
    return float(page(pulse).partition("\ntidegate_loop_lag_max_seconds ")[2].split()[0])


async def test_whoever_holds_the_loop_up_is_seen(pulse: Pulse) -> None:
    pulse.start()
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 that is what it is there for
    await asyncio.sleep(0.02)
    assert 0.05 < longest(pulse) < 5


def stalled(pulse: Pulse) -> float:
    return float(page(pulse).partition("\ntidegate_loop_stall_max_seconds ")[2].split()[0])


async def test_a_stall_of_our_own_is_told_apart_from_waiting_for_a_core(pulse: Pulse) -> None:
    pulse.start()
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 that is what it is there for
    await asyncio.sleep(0.02)
    assert 0 < stalled(pulse) <= longest(pulse), "it slept, which is nobody else's doing"
    pulse.late(3.0, time.monotonic(), 0.5)
    assert (longest(pulse), stalled(pulse)) == (3.0, 0.5)


async def test_the_longest_lag_is_forgotten_after_two_windows(pulse: Pulse) -> None:
    pulse.start()
    now = time.monotonic()
    pulse.late(0.3, now)
    pulse.late(0.1, now + WINDOW_S + 1)
    assert longest(pulse) == 0.3
    pulse.late(0.0, now + 2 * WINDOW_S + 2)
    assert longest(pulse) == 0.1
    assert 'tidegate_loop_lag_seconds_bucket{le="0.2"} 2.0' in page(pulse)
    assert "tidegate_loop_lag_seconds_count 3.0" in page(pulse)


async def test_tasks_and_busy_connections_are_counted_though_it_does_not_beat(pulse: Pulse) -> None:
    waiting = asyncio.create_task(asyncio.sleep(9))
    assert f"tidegate_tasks {len(asyncio.all_tasks())}.0" in page(pulse)
    assert "tidegate_provider_connections_busy 3.0" in page(pulse)
    waiting.cancel()


async def test_what_was_stopped_beats_no_more(pulse: Pulse) -> None:
    pulse.start()
    pulse.stop()
    before = page(pulse)
    await asyncio.sleep(0.05)
    assert page(pulse) == before
