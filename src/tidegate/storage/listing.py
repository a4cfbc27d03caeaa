"""Which rows are on the next page? The question as SQL, and the same where there is none.

A page looks at LOOKED_AT rows at most and says how far it came, so that any question is answered in its time, and
there is no index for each that could be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tidegate.core.ports import CallsFound, Closed
from tidegate.core.search import FIELDS, CallsAsked, Place, fits, wanted

LOOKED_AT = 20_000
BEHIND_ALL = 2**63 - 1

_INDEXED = ("key", "session", "end_user", "trace_id")  # rows of others are not even looked at


class Listing(NamedTuple):
    """Two questions, of places and how many are looked at, and their values."""

    some: str
    last: str  # where those that were looked at end; nothing when they are all there are
    values: list[Any]
    looked: list[Any]


def listing(asked: CallsAsked, *, table: str, mark: str, within: str) -> Listing:
    """`mark` is where a value goes: ? or %s; `within` is the function that finds a text in another: instr."""
    behind = asked.after or Place(asked.until_ms, BEHIND_ALL)
    inner = [f"at_ms >= {mark}", f"at_ms < {mark}", f"(at_ms, seq) < ({mark}, {mark})"]
    looked: list[Any] = [asked.since_ms, asked.until_ms, *behind]
    outer: list[str] = []
    values: list[Any] = []
    for name, value in asked.only.items():
        column = f'"{FIELDS.get(name, name)}" = {mark}'
        if name in _INDEXED:
            inner.append(column)
            looked.append(value)
        else:
            outer.append(column)
            values.append(value)
    for column, least in (
        (f"{within}(guards, {mark}) > 0", wanted(asked.guard)),
        (f"status = {mark}", asked.status),
        (f"cost_nusd >= {mark}", asked.least_cost_nusd),
        (f"duration_us >= {mark}", asked.least_duration_us),
    ):
        if least is not None:
            outer.append(column)
            values.append(least)
    behind_these = f"FROM {table} WHERE {' AND '.join(inner)} ORDER BY at_ms DESC, seq DESC"
    some = f"SELECT at_ms, seq {behind_these}"  # an index has them in this order, and nothing behind them is read
    if outer:
        looked_at = f"SELECT * {behind_these} LIMIT {LOOKED_AT}"
        some = f"SELECT at_ms, seq FROM ({looked_at}) looked WHERE {' AND '.join(outer)} ORDER BY at_ms DESC, seq DESC"
    return Listing(
        f"{some} LIMIT {mark}",
        f"SELECT at_ms, seq {behind_these} LIMIT 1 OFFSET {LOOKED_AT - 1}",
        [*looked, *values, min(asked.most, LOOKED_AT)],
        looked,
    )


def reached(asked: CallsAsked, some: Sequence[Sequence[int]], last: Sequence[int] | None) -> Place | None:
    """Behind which row the next page begins; None: there is nothing more."""
    if len(some) == asked.most:
        return Place(*some[-1])
    return Place(*last) if last else None


def page(asked: CallsAsked, rows: Iterable[tuple[int, Closed]]) -> CallsFound:
    """The answer, where there is no SQL. Rows come with their seq."""
    behind = asked.after or Place(asked.until_ms, BEHIND_ALL)
    looked = sorted(
        ((Place(row.at_ms, seq), row) for seq, row in rows
         if asked.since_ms <= row.at_ms < asked.until_ms and (row.at_ms, seq) < behind),
        reverse=True, key=lambda one: one[0],
    )  # fmt: skip
    found = [(place, row) for place, row in looked if fits(asked, row)][: asked.most]
    return CallsFound([row for _, row in found], reached(asked, [place for place, _ in found], None))
