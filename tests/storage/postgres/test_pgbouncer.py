"""Behind PgBouncer in transaction mode each transaction has another connection, and all is as ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from tests.parts import debian
from tests.postgres import Server, pgbouncer
from tidegate.core.ports import Closed, Key, Totals
from tidegate.core.usage import Period, UsageAsked
from tidegate.storage.books import Position, Row
from tidegate.storage.postgres import PostgresStore

pytestmark = debian("pgbouncer")


@pytest.fixture
def pooled(postgres_cluster: Server, postgres: str) -> Iterator[str]:
    """The URL of the same database, by way of a PgBouncer with two connections."""
    with pgbouncer(postgres_cluster.port) as port:
        yield f"postgresql://postgres@127.0.0.1:{port}/{postgres.rpartition('/')[2]}"


def key(id: str) -> Key:
    return Key(id=id, name="ci", env="live", digest=b"\0" * 32, pepper_version=1, created_ms=1)


async def test_a_store_and_its_books_work_behind_it(pooled: str) -> None:
    store = await PostgresStore.open(pooled, lambda name, fields: None, prepares=False)
    try:
        await asyncio.gather(*(store.add(key(f"k{n}")) for n in range(40)))
        found = await asyncio.gather(*(store.bearer(f"k{n}") for n in range(40)))
        assert [one.key.id for one in found if one] == [f"k{n}" for n in range(40)]
        closed = Closed("a", 1, "k", "openai", "chat", "ok", 200, 1, 1)
        for n in range(20):
            row = Row(msgspec.structs.replace(closed, id=f"r{n}"), b"sealed")
            assert await asyncio.to_thread(store.books.take, "s", [row], Position(1, n)) == Totals(calls=1)
        (line,) = await store.books.usage(UsageAsked((Period(0, 2**60),)))
        assert line.sums["calls"] == 20
    finally:
        await store.aclose()
