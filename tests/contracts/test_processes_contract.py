"""Wherever it is kept, whoever says so is there, and whoever leaves or falls silent is not."""

from __future__ import annotations

from msgspec.structs import replace

from tidegate.core.topology import GONE_MS, Process
from tidegate.storage.books import Home
from tidegate.storage.processes import Processes

ONE = Process("a", "north", 1, "1/1", "0.1", "c0ffee", ("k1",), "valkey:6379", since_ms=1000, seen_ms=5000)
OTHER = replace(ONE, id="b", host="south", since_ms=900)


async def test_who_said_so_is_there_once_and_the_oldest_first(home: Home) -> None:
    processes = Processes(home.tables, lambda: 6000)
    for one in (ONE, OTHER, replace(ONE, seen_ms=5500)):
        await processes.tell(one)
    assert await processes.seen() == [OTHER, replace(ONE, seen_ms=5500)]


async def test_who_leaves_or_has_been_silent_is_not_there(home: Home) -> None:
    now = [6000]
    processes = Processes(home.tables, lambda: now[0])
    await processes.tell(ONE)
    await processes.tell(OTHER)
    await processes.leave("b")
    assert await processes.seen() == [ONE]
    now[0] += GONE_MS
    assert await processes.seen() == []
