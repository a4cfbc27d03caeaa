"""Are the servers that we keep things in and count in fit for it, and is all alike for those who serve?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tidegate import config, storage
from tidegate.app import SystemClock, open_home
from tidegate.app.homes import open_counters
from tidegate.cli.workers import bundled
from tidegate.core.errors import ConfigError, TidegateError
from tidegate.core.topology import Difference, disagreements
from tidegate.storage.processes import Processes


class Finding(NamedTuple):
    well: bool
    what: str
    mend: str = ""


def findings(found: config.Config) -> Iterator[Finding]:
    yield from _database(found.storage)
    yield from _counters(found)
    yield from _others(found)


def _database(configured: storage.Config) -> Iterator[Finding]:
    """PostgreSQL, where one is configured; asking it makes its tables, as starting does."""
    if configured.database is None:
        return

    async def look() -> None:
        home = await open_home(configured, Path(), _unheard)
        await home.aclose()

    wrong = _trouble(look)
    if wrong is None:
        yield Finding(True, "database: PostgreSQL answers, and its tables are up to date")
        return
    yield Finding(
        False,
        f"database: {wrong}",
        "Tidegate does not start without it; one that serves goes on: it knows its keys for 15 minutes, and rows "
        "wait in the spool (storage.max_spool) until the database is back",
    )


def _counters(found: config.Config) -> Iterator[Finding]:
    """Valkey, where one is configured, or is going to be started for several workers."""
    if found.storage.valkey is None:
        try:
            if found.api.workers > 1:
                bundled()
        except ConfigError as missing:
            yield Finding(False, "counters: several workers have none together", missing.message)
        return
    lost: list[Any] = []

    def hear(name: str, fields: Mapping[str, Any]) -> None:
        if name == "valkey_lost":
            lost.append(fields["error"])

    async def look() -> None:
        counters = await open_counters(found.storage, SystemClock(), hear)
        await counters.aclose()

    wrong = _trouble(look)
    if wrong is not None:
        yield Finding(False, f"counters: {wrong}", "Tidegate does not start with such a server")
    elif lost:
        policy = found.storage.on_store_down
        said = f"Tidegate starts without it, and does what storage.on_store_down says ({policy}) until it is there"
        yield Finding(False, f"counters: Valkey does not answer: {lost[0]}", said)
    else:
        yield Finding(True, "counters: Valkey answers, can be written to, and forgets nothing")


def _others(found: config.Config) -> Iterator[Finding]:
    """Those who serve now from the same database, where they are several."""
    kept, folder = found.storage, Path(found.storage.data_dir).expanduser()
    if kept.database is None and not (found.api.workers > 1 and (folder / "tidegate.sqlite").exists()):
        return
    differences: list[Difference] = []
    count = 0

    async def look() -> None:
        nonlocal count
        home = await open_home(kept, folder, _unheard)
        try:
            there = await Processes(home.tables, lambda: time.time_ns() // 1_000_000).seen()
        finally:
            await home.aclose()
        count = len(there)
        differences.extend(disagreements(there))

    if _trouble(look) is not None:
        return  # what is wrong with the database was said
    for one in differences:
        what, _, mend = one.said.rpartition(": ")
        yield Finding(False, f"those who serve: {what}", mend)
    if not differences:
        yield Finding(True, f"those who serve: {count} now, and nothing differs")


def _trouble(look: Callable[[], Coroutine[Any, Any, None]]) -> TidegateError | None:
    try:
        asyncio.run(look())
    except TidegateError as wrong:
        return wrong
    return None


def _unheard(name: str, fields: Mapping[str, Any]) -> None:
    pass
