"""What do whole days sum to? Folded once when they are over, so that a month is not added up hour by hour.

Nothing is in a fold that is not in its hours. A row that comes late takes the fold of its day back, in the transaction
that stores it, and the hours are asked until the day has been folded again.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from tidegate.core.analytics import DAY_MS, OF
from tidegate.core.errors import StoreDown
from tidegate.core.usage import DIMENSIONS, SUMS, Period, UsageAsked
from tidegate.storage.rollups import Part, waiting

FIRST_S = 5.0  # after the start
EVERY_S = 600.0
PAUSE_S = 0.2  # between two days, so that rows that are to be written have their turn
AFTER_MS = 2 * 3_600_000  # the end of a day: what comes later is rare, and costs a fold
BACK_DAYS = 400

OF_A_DAY = tuple(name for name in DIMENSIONS if name != "end_user")
OF_PEOPLE = ("organisation", "team", "user", "key", "end_user")


class Piece(NamedTuple):
    """A part of a period, which begins at `of_ms`, to be asked of days or of hours."""

    of_ms: int
    begin_ms: int
    until_ms: int


class Pieces(NamedTuple):
    days: list[Piece]
    hours: list[Piece]


def pieces(periods: Iterable[Period], folded: Iterable[int]) -> Pieces:
    """Days that are folded, as long as they follow each other, and hours where they are not."""
    found, known = Pieces([], []), sorted(folded)
    for one in periods:
        at = one.begin_ms
        for day in known[bisect_left(known, at) : bisect_right(known, one.until_ms - DAY_MS)]:
            if day > at:
                found.hours.append(Piece(one.begin_ms, at, day))
            before = found.days.pop() if found.days and found.days[-1][::2] == (one.begin_ms, day) else None
            at = day + DAY_MS
            found.days.append(Piece(one.begin_ms, before.begin_ms if before else day, at))
        if at < one.until_ms:
            found.hours.append(Piece(one.begin_ms, at, one.until_ms))
    return found


def table_of(asked: UsageAsked) -> str | None:
    """Which table of days can tell apart what is asked for, if one can."""
    wanted = {*asked.by, *asked.only}
    if wanted <= set(OF_A_DAY):
        return "usage_days"
    return "end_user_days" if wanted <= set(OF_PEOPLE) else None


class Database(Protocol):
    def execute(self, query: Any, params: Sequence[Any] = ..., /) -> Any: ...


class Days:
    """`schema` with its dot; `mark` is where a value goes; `as_bytes`: the driver wants its SQL so.

    Where a database has several writers, `alone` waits until nobody stores rows of a day, given by its number, and
    keeps others away from it until the transaction ends; `among` is what these say first. `counts` makes JSON of
    calls by bucket.
    """

    def __init__(
        self, schema: str, mark: str, *, counts: str, as_bytes: bool = False, alone: str = "", among: str = ""
    ) -> None:
        def sql(text: str) -> Any:
            text = text.replace("COUNTS", counts).replace("@", schema).replace("?", mark)
            return text.encode() if as_bytes else text

        self._schema = schema
        self._alone = sql(alone) if alone else None
        self._among = sql(among) if among else None
        self._folded = sql("SELECT day FROM @folded_days WHERE day >= ? AND day < ?")
        self._unfold = sql("DELETE FROM @folded_days WHERE day = ?")
        self._any = sql("SELECT max(hour) FROM @usage_hours WHERE hour >= ? AND hour < ?")
        self._begin = sql("INSERT INTO @folded_days (day) VALUES (?)")
        self._clear = [sql(f"DELETE FROM @{name} WHERE day = ?") for name in _SOURCES]
        self._sum = [sql(text) for text in _SOURCES.values()]

    def folded(self, db: Database, periods: Sequence[Period]) -> set[int]:
        """The days of these periods that are."""
        if not periods:
            return set()
        span = min(one.begin_ms for one in periods), max(one.until_ms for one in periods)
        return {day for (day,) in db.execute(self._folded, span).fetchall()}

    def usage(self, db: Database, asked: UsageAsked, part: Callable[[str, str, list[Piece]], Part]) -> list[Part]:
        """What to add up for this question."""
        periods, table = waiting(asked), table_of(asked)
        days, hours = pieces(periods, self.folded(db, periods) if table is not None else set())
        found = [part(f"{self._schema}{table}", "day", days)] if days else []
        if hours or not days:
            found.append(part(f"{self._schema}usage_hours", "hour", hours))
        return found

    def unfold(self, db: Database, days: Iterable[int]) -> None:
        """In the transaction that stores something of these days, and before it does."""
        for day in sorted(days):
            if self._among is not None:
                db.execute(self._among, (day // DAY_MS,))
            db.execute(self._unfold, (day,))

    def fold(self, db: Database, before_ms: int) -> bool:
        """One day, the last that ended before then and is not folded; in a transaction. False: there is none."""
        end = before_ms // DAY_MS * DAY_MS
        least = end - BACK_DAYS * DAY_MS
        folded = self.folded(db, [Period(least, end)])
        while True:
            (hour,) = db.execute(self._any, (least, end)).fetchone()
            if hour is None:
                return False
            day = hour // DAY_MS * DAY_MS
            if day not in folded:
                break
            end = day
        if self._alone is not None:
            db.execute(self._alone, (day // DAY_MS,))
            self.unfold(db, [day])  # somebody else may have folded it meanwhile
        for clear, sums in zip(self._clear, self._sum, strict=True):
            db.execute(clear, (day,))
            db.execute(sums, (day, day, day + DAY_MS))
        db.execute(self._begin, (day,))
        return True


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _summed(table: str, names: Sequence[str], source: str, sums: Sequence[str]) -> str:
    said = ", ".join(f'sum("{name}")' for name in sums)
    return (
        f"INSERT INTO @{table} (day, {_quoted(names)}, {_quoted(sums)}) SELECT ?, {_quoted(names)}, {said} "
        f"FROM @{source} WHERE hour >= ? AND hour < ? GROUP BY {_quoted(names)}"
    )


_SOURCES = {  # a table of days, and how it is made
    "usage_days": _summed("usage_days", OF_A_DAY, "usage_hours", SUMS),
    "end_user_days": _summed("end_user_days", OF_PEOPLE, "usage_hours", SUMS),
    "times_days": (
        "INSERT INTO @times_days (day, route, target, what, counts) SELECT ?, route, target, what, COUNTS FROM ("
        "SELECT route, target, what, bucket, sum(calls) AS calls FROM @times WHERE hour >= ? AND hour < ? "
        "GROUP BY route, target, what, bucket) found GROUP BY route, target, what"
    ),
    "session_days": (
        f"INSERT INTO @session_days (day, {_quoted(OF)}, sessions, calls, lasted_ms, asked_again) "
        f"SELECT ?, {_quoted(OF)}, count(*), sum(calls), sum(last_ms - begin_ms), sum(asked_again) "
        f"FROM @sessions WHERE begin_ms >= ? AND begin_ms < ? GROUP BY {_quoted(OF)}"
    ),
}


async def keep_folded(
    fold: Callable[[int], Awaitable[bool]],
    wall_ns: Callable[[], int],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """For ever. A database that is away is asked again later: without folds, answers only take longer."""
    await sleep(FIRST_S)
    while True:
        with suppress(StoreDown):
            while await fold(wall_ns() // 1_000_000 - AFTER_MS):
                await sleep(PAUSE_S)
        await sleep(EVERY_S)
