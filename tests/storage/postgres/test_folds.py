"""A day is folded while somebody stores rows of it: whichever comes first, the answer has them all."""

from __future__ import annotations

import asyncio

import psycopg

from tidegate.core.analytics import DAY_MS
from tidegate.core.ports import Closed
from tidegate.core.usage import Period, UsageAsked
from tidegate.storage.books import Position, Row
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.postgres.books import _take
from tidegate.storage.rollups import Rollups

DAY = (Period(0, DAY_MS),)


def row(name: str) -> Row:
    return Row(Closed(name, 7, "k", "openai", "chat", "ok", 200, 1, 1, session=name), b"\0")


async def calls(store: PostgresStore) -> int:
    (line,) = await store.books.usage(UsageAsked(DAY))
    return line.sums["calls"]


async def test_a_fold_waits_for_who_stores_rows_of_its_day(postgres: str) -> None:
    store = await PostgresStore.open(postgres, lambda name, fields: None)
    try:
        await asyncio.to_thread(store.books.take, "one", [row("a")], Position(0, 1))
        with psycopg.connect(postgres, autocommit=True) as writer, psycopg.connect(postgres, autocommit=True) as other:
            with writer.transaction():
                _take(writer, "two", [row("b")], Position(0, 1), (), Rollups())
                folding = asyncio.create_task(store.books.fold(DAY_MS))
                waits = b"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                while not other.execute(waits).fetchone()[0]:
                    await asyncio.sleep(0.01)
            assert await folding
        assert await calls(store) == 2
    finally:
        await store.aclose()


async def test_who_stores_rows_of_a_day_that_is_being_folded_takes_the_fold_back(postgres: str) -> None:
    store = await PostgresStore.open(postgres, lambda name, fields: None)
    try:
        await asyncio.to_thread(store.books.take, "one", [row("a")], Position(0, 1))
        assert await store.books.fold(DAY_MS)
        assert not await store.books.fold(DAY_MS)
        await asyncio.to_thread(store.books.take, "one", [row("b")], Position(0, 2))
        assert await calls(store) == 2
        assert await store.books.fold(DAY_MS)
        assert await calls(store) == 2
    finally:
        await store.aclose()
