"""How long are rows kept? What is older is deleted in small steps; sums by the hour stay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate.core.errors import StoreDown
from tidegate.storage.ledger import Books, Notice

FIRST_S = 60.0  # after the start, when others are done with theirs
EVERY_S = 3600.0
BATCH = 500  # rows at once, where there are no partitions
PAUSE_S = 0.05  # between two steps, so that rows that are to be written have their turn


async def keep(books: Books, keep_s: float, wall_ns: Callable[[], int], notice: Notice) -> None:
    """Every hour, for ever. A database that is away is asked again an hour later."""
    await asyncio.sleep(FIRST_S)
    while True:
        try:
            deleted = await forget(books, wall_ns() // 1_000_000 - round(keep_s * 1000))
        except StoreDown as down:
            notice("rows_not_deleted", {"error": down.message})
        else:
            if deleted:
                notice("rows_deleted", {"older_than_days": round(keep_s / 86_400, 1)})
        await asyncio.sleep(EVERY_S)


async def forget(books: Books, before_ms: int) -> bool:
    """Whether anything was deleted. Raises StoreDown; then go on later."""
    deleted = False
    while await books.forget(before_ms, BATCH):
        deleted = True
        await asyncio.sleep(PAUSE_S)
    return deleted
