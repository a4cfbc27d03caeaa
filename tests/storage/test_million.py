"""A million calls, and usage is told within 300 ms. Only with TIDEGATE_MILLION=1: making them takes a minute."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tidegate.core.ports import Closed
from tidegate.core.usage import HOUR_MS, Period, UsageAsked, ms, periods
from tidegate.storage.ledger import Books
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.rollups import COLUMNS, COUNT, Rollup, Rollups
from tidegate.storage.sqlite import SqliteStore

pytestmark = [
    pytest.mark.skipif("TIDEGATE_MILLION" not in os.environ, reason="asked for with TIDEGATE_MILLION=1"),
    pytest.mark.timeout(600),
]

CALLS_AN_HOUR = 1389
WITHIN_S = 0.3
BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = 30
CALLS = DAYS * 24 * CALLS_AN_HOUR  # 1,000,080


def one_hour() -> list[Rollup]:
    """30 keys of 6 teams with 4 end users each, 5 targets, a call in 41 failed."""
    return Rollups().of(
        Closed(
            f"r{n}",
            0,
            f"key{n % 30:02}",
            "openai",
            "chat",
            "failed" if n % 41 == 0 else "ok",
            200,
            1000,
            100,
            "fast",
            "fast",
            f"main/m{n % 5}",
            usage={"input": 100, "output": 20},
            cost_nusd=27_000,
            user=f"u{n % 30}.{n // 30 % 4}",
            organisation_id="default",
            team_id=f"team{n % 6}",
        )
        for n in range(CALLS_AN_HOUR)
    )


def batches() -> Iterator[list[tuple[Any, ...]]]:
    """The same hour, again and again."""
    hour = one_hour()
    for n in range(DAYS * 24):
        yield [one._replace(hour_ms=ms(BEGIN) + n * HOUR_MS).values for one in hour]


QUESTIONS: dict[str, dict[str, Any]] = {
    "a month by team and day": {"by": ("team",), "per": "day"},
    "a month by key and target": {"by": ("key", "target"), "per": "total"},
    "a month in all, by the day": {"by": (), "per": "day"},
    "a day by the hour and key": {"by": ("key",), "per": "hour", "days": 1},
    "a key's own month": {"by": ("target",), "per": "day", "only": {"key": "key07"}},
    "the end users of a team": {"by": ("end_user",), "per": "total", "only": {"team": "team3"}},
}


async def answers(books: Books, clock: Callable[[], float]) -> dict[str, float]:
    """The best of three each, in seconds of `clock`."""
    took: dict[str, float] = {}
    for name, question in QUESTIONS.items():
        until = BEGIN + timedelta(days=DAYS)
        since = until - timedelta(days=question.get("days", DAYS))
        asked = UsageAsked(
            tuple(periods(since, until, question["per"])), question["by"], question.get("only", {}), most=10_000
        )
        times = []
        for _ in range(3):
            began = clock()
            lines = await books.usage(asked)
            times.append(clock() - began)
        assert lines
        took[name] = min(times)
    (whole,) = await books.usage(UsageAsked((Period(0, 2**60),)))
    assert (whole.sums["calls"], whole.sums["cost_nusd"]) == (CALLS, CALLS * 27_000)
    return took


def tell(home: str, rollups: int, took: dict[str, float]) -> None:
    print(f"\n{home}: {CALLS} calls in {rollups} sums")
    for name, seconds in took.items():
        print(f"  {name}: {seconds * 1000:.0f} ms")
    assert max(took.values()) < WITHIN_S


async def test_usage_of_a_million_calls_is_told_at_once_by_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "tidegate.sqlite"
    store = await SqliteStore.open(path)
    try:
        db = sqlite3.connect(path)
        rollups = 0
        for batch in batches():
            rollups += len(batch)
            marks = ", ".join("?" * COUNT)
            db.executemany(f"INSERT INTO usage_hours ({COLUMNS}) VALUES ({marks})", batch)
            db.commit()
        db.close()
        tell("SQLite", rollups, await answers(store.books, time.process_time))  # it works in this process
    finally:
        await store.aclose()


async def test_usage_of_a_million_calls_is_told_at_once_by_postgres(postgres: str) -> None:
    store = await PostgresStore.open(postgres, lambda name, fields: None)
    try:
        rollups = 0
        with psycopg.connect(postgres) as db:
            with db.cursor().copy(f"COPY tidegate.usage_hours ({COLUMNS}) FROM STDIN".encode()) as copy:
                for batch in batches():
                    rollups += len(batch)
                    for values in batch:
                        copy.write_row(values)
            db.execute("ANALYZE tidegate.usage_hours")
        tell("PostgreSQL", rollups, await answers(store.books, time.perf_counter))
    finally:
        await store.aclose()
