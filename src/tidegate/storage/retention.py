"""How long is what is kept? What is older is deleted in small steps, each kind by itself; sums by the hour stay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from tidegate.core.errors import StoreDown
from tidegate.storage.books import Notice

FIRST_S = 60.0  # after the start, when others are done with theirs
EVERY_S = 3600.0
BATCH = 500  # rows at once, where there are no partitions
PAUSE_S = 0.05  # between two steps, so that rows that are to be written have their turn


class Kind(NamedTuple):
    """What is deleted `keep_s` after it was made: `forget(before_ms, most)` deletes some, and says how many."""

    keep_s: float
    forget: Callable[[int, int], Awaitable[int]]


async def keep(kinds: Mapping[str, Kind], wall_ns: Callable[[], int], notice: Notice) -> None:
    """Every hour, for ever. A database that is away is asked again an hour later."""
    await asyncio.sleep(FIRST_S)
    while True:
        for name, kind in kinds.items():
            try:
                deleted = await forget(kind, wall_ns() // 1_000_000)
            except StoreDown as down:
                notice(f"{name}_not_deleted", {"error": down.message})
            else:
                if deleted:
                    notice(f"{name}_deleted", {"older_than_days": round(kind.keep_s / 86_400, 1)})
        await asyncio.sleep(EVERY_S)


async def forget(kind: Kind, now_ms: int) -> bool:
    """Whether anything was deleted. Raises StoreDown; then go on later."""
    deleted = False
    while await kind.forget(now_ms - round(kind.keep_s * 1000), BATCH):
        deleted = True
        await asyncio.sleep(PAUSE_S)
    return deleted
