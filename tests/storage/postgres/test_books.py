"""Rows by the day and sums by the hour, exactly once, whatever the line to the database does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from tests.postgres import Server
from tidegate.core.ports import Closed, StoreDown, Totals
from tidegate.core.usage import Period, UsageAsked
from tidegate.storage import retention
from tidegate.storage.books import Position, Row
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.postgres.books import DAY_MS, PostgresBooks
from tidegate.storage.retention import Kind

DAY = 20_000 * DAY_MS
ALL = UsageAsked((Period(0, 2**60),))


@pytest.fixture
async def books(postgres: str) -> AsyncIterator[PostgresBooks]:
    store = await PostgresStore.open(postgres, lambda name, fields: None)
    yield store.books
    await store.aclose()


def row(id: str, at_ms: int = DAY, **fields: Any) -> Row:
    return Row(Closed(id, at_ms, "k", "openai", "chat", "ok", 200, 1, 1, **fields), b"sealed " + id.encode())


def partitions(url: str) -> list[str]:
    with psycopg.connect(url) as db:
        sql = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY relname"
        return [name for (name,) in db.execute(sql)]


async def calls(books: PostgresBooks) -> int:
    return sum(line.sums["calls"] for line in await books.usage(ALL))


async def test_each_day_has_a_partition(books, postgres):
    books.take("s", [row("a"), row("b", DAY + DAY_MS - 1), row("c", DAY + DAY_MS)], Position(1, 1))
    assert partitions(postgres) == ["calls_20241004", "calls_20241005"]
    assert await books.find("c") == b"sealed c"


async def test_absurd_times_stop_nothing(books):
    books.take("s", [row("a", -(2**62)), row("b", 2**62)], Position(1, 1))
    assert await books.find("a") and await books.find("b") and await calls(books) == 2


async def test_days_that_are_too_old_are_dropped_whole_and_their_sums_stay(books, postgres):
    books.take("s", [row(f"{n}", DAY + n * DAY_MS // 2) for n in range(6)], Position(1, 1))
    assert await retention.forget(Kind(0, books.forget), DAY + 2 * DAY_MS + 5)
    assert partitions(postgres) == ["calls_20241006"]
    assert await calls(books) == 6 and await books.totals("") == Totals(calls=6)
    assert not await retention.forget(Kind(0, books.forget), DAY + 2 * DAY_MS + 5)


async def test_a_row_of_a_day_that_was_dropped_makes_it_again(books, postgres):
    books.take("s", [row("a")], Position(1, 1))
    with psycopg.connect(postgres) as db:
        db.execute("DROP TABLE tidegate.calls_20241004")
    with pytest.raises(StoreDown):
        books.take("s", [row("b")], Position(1, 2))
    assert books.take("s", [row("b")], Position(1, 2)) == Totals(calls=1)


async def test_two_that_write_the_same_sums_at_once_lose_nothing_and_wait_for_nobody(books, postgres):
    other = await PostgresStore.open(postgres, lambda name, fields: None)
    try:
        for n in range(20):
            for name, one in (("s", books), ("t", other.books)):
                rows = [row(f"{name}{n}.{m}", user=f"u{m}") for m in range(10)]
                assert one.take(name, rows, Position(n, n)) == Totals(calls=10)
        assert await calls(books) == 400 and await books.totals("") == Totals(calls=400)
    finally:
        await other.aclose()


async def test_what_was_committed_while_the_line_broke_is_counted_once(books, monkeypatch):
    """Nobody knows, when the answer to a COMMIT is lost, whether it was done: here it was."""
    books.account("s")
    do = books._lanes.do

    def broken(work: Any, **options: Any) -> Any:
        do(work, **options)
        raise StoreDown("the line broke")

    books.take("s", [row("a")], Position(1, 1))
    monkeypatch.setattr(books._lanes, "do", broken)
    with pytest.raises(StoreDown):
        books.take("s", [row("b"), row("c")], Position(1, 3))
    monkeypatch.undo()
    assert books.take("s", [row("b"), row("c"), row("d")], Position(1, 4)) == Totals(calls=3)
    assert await calls(books) == 4 and await books.totals("") == Totals(calls=4)


async def test_a_server_that_hangs_is_left_in_time(postgres_server: Server):
    store = await PostgresStore.open(postgres_server.new_database(), lambda name, fields: None, timeout_s=0.5)
    try:
        store.books.take("s", [row("a")], Position(1, 1))
        postgres_server.freeze()
        with pytest.raises(StoreDown, match=r"within 0\.5 s"):
            store.books.take("s", [row("b")], Position(1, 2))
        postgres_server.thaw()
        while True:
            try:
                taken = store.books.take("s", [row("b")], Position(1, 2))
                break
            except StoreDown:
                continue
        assert taken == Totals(calls=1) and await calls(store.books) == 2
    finally:
        postgres_server.thaw()
        await store.aclose()
