"""Which calls? What can be asked of the ledger's rows, one page after the other, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from tidegate.core.ports.books import Closed

EQUAL = (
    *("organisation", "team", "key", "end_user", "session", "route", "target"),
    *("operation", "outcome", "error", "kind", "cache", "trace_id"),
)
FIELDS = {"organisation": "organisation_id", "team": "team_id", "key": "key_id", "end_user": "user"}  # of a row


class Place(NamedTuple):
    """Of a row in that order: those behind it began earlier, or at the same time and were taken earlier."""

    at_ms: int
    seq: int  # the order in which rows were taken


class CallsAsked(msgspec.Struct, frozen=True):
    """Calls that began in [since_ms, until_ms), behind `after`."""

    since_ms: int
    until_ms: int
    only: Mapping[str, str] = {}  # by EQUAL
    guard: str | None = None  # pii: it had something to say; pii:mask: it ruled so
    status: int | None = None
    least_cost_nusd: int | None = None
    least_duration_us: int | None = None
    after: Place | None = None
    most: int = 50


def rulings(row: Closed) -> str | None:
    """What guards had to say, so that it can be searched: ` pii:mask:input secrets:block:output `."""
    said = " ".join(f"{one.guard}:{one.verdict}:{one.direction}" for one in row.guards if one.verdict != "pass")
    return f" {said} " if said else None


def wanted(guard: str | None) -> str | None:
    """The part of `rulings` that a guard's name, or its name and verdict, is."""
    return f" {guard}:" if guard is not None else None


def fits(asked: CallsAsked, row: Closed) -> bool:
    """Whether this row is asked for, whenever it began."""
    guard = wanted(asked.guard)
    return (
        all(getattr(row, FIELDS.get(name, name)) == value for name, value in asked.only.items())
        and (guard is None or guard in (rulings(row) or ""))
        and (asked.status is None or row.status == asked.status)
        and (asked.least_cost_nusd is None or (row.cost_nusd is not None and row.cost_nusd >= asked.least_cost_nusd))
        and (asked.least_duration_us is None or row.duration_us >= asked.least_duration_us)
    )
