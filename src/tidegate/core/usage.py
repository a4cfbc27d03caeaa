"""Who used how much, and when? What can be asked of the ledger's sums, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from math import ceil, floor
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from tidegate.core.money import KINDS

HOUR_MS = 3_600_000
Per = Literal["hour", "day", "month", "total"]
PER: tuple[str, ...] = get_args(Per)

# By what calls are told apart. `user` is whom the key belongs to, `end_user` whom the client named.
DIMENSIONS = (
    *("organisation", "team", "user", "key", "end_user", "route", "target"),
    *("operation", "outcome", "kind", "prompt", "cache"),
)
SUMS = (
    *("calls", "errors", "unpriced", "cost_nusd"),
    *KINDS,
    *("duration_us", "overhead_us", "first_us", "firsts"),  # `firsts`: the calls that `first_us` sums over
    "saved_nusd",  # what hits of a cache cost when they were bought
)


class Period(msgspec.Struct, frozen=True):
    """Milliseconds since 1970, from `begin_ms` until before `until_ms`."""

    begin_ms: int
    until_ms: int


class UsageAsked(msgspec.Struct, frozen=True):
    """Sums of each period, by what calls are told apart, of those where `only` holds.

    Lines come in the order of their period and names (of end users: aliases, where these are sealed); `after` is
    where the last page ended: begin_ms, then names. `sums`: only these, which is quicker.
    """

    periods: tuple[Period, ...]
    by: tuple[str, ...] = ()
    only: Mapping[str, str] = {}
    after: tuple[Any, ...] | None = None
    most: int = 1000
    sums: tuple[str, ...] = ()


class UsageLine(msgspec.Struct, frozen=True):
    begin_ms: int
    names: tuple[str, ...]  # of UsageAsked.by; "" for calls that have none
    sums: dict[str, int]  # by SUMS, or those that were asked for


def periods(since: datetime, until: datetime, per: Per) -> Iterator[Period]:
    """The hours, days or months of `since`'s zone between the two, the first and the last cut to them.

    An hour that is said twice when clocks go back is two; days have the hours that they have.
    """
    begin, end = ms(since), ms(until)
    while begin < end:
        following = end if per == "total" else min(_next(begin, per, since.tzinfo), end)
        yield Period(begin, following)
        begin = following


def _next(at_ms: int, per: Per, zone: Any) -> int:
    """The first moment of the period after the one in which `at_ms` lies."""
    if per == "hour":
        return (at_ms // HOUR_MS + 1) * HOUR_MS
    here = datetime.fromtimestamp(at_ms / 1000, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    there = here + timedelta(days=1) if per == "day" else (here.replace(day=1) + timedelta(days=32)).replace(day=1)
    return ms(there.replace(fold=0))


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def whole_hours(since: datetime, until: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """The hours that the two touch, as they are said in `zone`: sums are kept by the hour."""
    begin, end = floor(since.timestamp() / 3600), ceil(until.timestamp() / 3600)
    return datetime.fromtimestamp(begin * 3600, zone), datetime.fromtimestamp(end * 3600, zone)


def zone_named(name: str) -> tzinfo:
    """Reads a file, but for UTC. Raises ValueError."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, LookupError, ValueError):
        raise ValueError(f"no time zone {name[:60]!r}; use a name such as UTC or Europe/Berlin") from None
