"""A month with a million calls, and no page takes 300 ms. Only with TIDEGATE_MILLION=1: making them takes minutes."""

from __future__ import annotations

import os

import pytest
from bench import views
from bench.views import Waited, worst

pytestmark = [
    pytest.mark.skipif("TIDEGATE_MILLION" not in os.environ, reason="asked for with TIDEGATE_MILLION=1"),
    pytest.mark.timeout(1200),
]

CALLS = 1_000_000
LOOKS = 5
WITHIN_MS = 300


def judge(home: str, found: Waited) -> None:
    for name, times in {**found.explorer, **found.analytics}.items():
        print(f"{home}: {name}: {max(times):.0f} ms")
    assert worst(found.explorer) < WITHIN_MS
    assert worst(found.analytics) < WITHIN_MS
    assert found.rows_per_s >= 500


async def test_sqlite_tells_of_a_million_calls_at_once_while_more_come_in() -> None:
    judge("SQLite", await views.waited(CALLS, LOOKS))


async def test_postgres_tells_of_a_million_calls_at_once_while_more_come_in(postgres: str) -> None:
    judge("PostgreSQL", await views.waited(CALLS, LOOKS, postgres))
