"""What do whole days sum to, and of which days is it known?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.core.analytics import DAY_MS
from tidegate.core.errors import StoreDown
from tidegate.core.ports import Closed
from tidegate.core.usage import HOUR_MS, Period, UsageAsked
from tidegate.storage.books import Position, Row
from tidegate.storage.days import AFTER_MS, EVERY_S, keep_folded, pieces, table_of
from tidegate.storage.sqlite import SqliteStore


def spans(periods: list[tuple[int, int]], folded: set[int]) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """In days."""
    found = pieces([Period(begin * DAY_MS // 4, until * DAY_MS // 4) for begin, until in periods],
                   {day * DAY_MS for day in folded})  # fmt: skip
    days, hours = ([tuple(4 * at // DAY_MS for at in piece) for piece in some] for some in found)
    return days, hours


@pytest.mark.parametrize(
    ("periods", "folded", "days", "hours"),
    [
        ([(0, 12)], set(), [], [(0, 0, 12)]),
        ([(0, 12)], {0, 1, 2}, [(0, 0, 12)], []),
        ([(1, 11)], {0, 1, 2}, [(1, 4, 8)], [(1, 1, 4), (1, 8, 11)]),
        ([(0, 16)], {0, 2}, [(0, 0, 4), (0, 8, 12)], [(0, 4, 8), (0, 12, 16)]),
        ([(0, 4), (4, 8)], {0, 1}, [(0, 0, 4), (4, 4, 8)], []),
        ([(5, 7)], {1}, [], [(5, 5, 7)]),
        ([], {1}, [], []),
    ],
)
def test_a_period_is_days_where_they_are_folded_and_hours_elsewhere(periods, folded, days, hours) -> None:
    assert spans(periods, folded) == (days, hours)


def test_years_without_a_fold_are_one_piece() -> None:
    assert len(pieces([Period(0, 2**60)], {DAY_MS}).hours) == 2


def test_what_tells_calls_apart_says_which_days_can_be_asked() -> None:
    assert table_of(UsageAsked((), ("route",), {"team": "red"})) == "usage_days"
    assert table_of(UsageAsked((), ("end_user",), {"team": "red"})) == "end_user_days"
    assert table_of(UsageAsked((), ("end_user", "route"))) is None


async def test_days_are_folded_two_hours_after_their_end_and_a_database_that_is_away_is_asked_again() -> None:
    asked: list[int] = []
    slept: list[float] = []

    class Enough(Exception):
        """Of an endless task."""

    async def fold(before_ms: int) -> bool:
        asked.append(before_ms)
        if len(asked) == 2:
            raise StoreDown("away")
        return len(asked) == 1

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if slept.count(EVERY_S) == 2:
            raise Enough

    with pytest.raises(Enough):
        await keep_folded(fold, lambda: 10 * DAY_MS * 1_000_000, sleep)
    assert asked == [10 * DAY_MS - AFTER_MS] * 3


async def test_each_day_is_folded_once_and_again_when_something_came(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "tidegate.sqlite")
    try:
        take(store, 3 * HOUR_MS)
        assert [await store.books.fold(until * DAY_MS) for until in (1, 1, 5)] == [True, False, False]
        take(store, 4 * HOUR_MS)
        assert [await store.books.fold(until * DAY_MS) for until in (0, 1, 1)] == [False, True, False]
    finally:
        await store.aclose()


def take(store: SqliteStore, at_ms: int) -> None:
    row = Closed(f"r{at_ms}", at_ms, "k", "openai", "chat", "ok", 200, 1, 1)
    store.books.take("spool", [Row(row, b"")], Position(0, at_ms))
