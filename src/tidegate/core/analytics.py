"""Who was there, for how long, and how long did they wait? What can be asked besides what was used."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import msgspec

from tidegate.core.usage import Period

DAY_MS = 86_400_000
SESSION_MS = 30 * 60_000  # of silence, and the next call begins another session
STEP = math.log(1.05)  # buckets of times are so much wider than the one before: a percentile is right to 2.5 %

What = Literal["duration", "first"]  # until the last byte, or until the first content
WHATS: tuple[str, ...] = get_args(What)
OF = ("organisation", "team", "key")  # whose people are counted apart; of times, it is routes and targets


def bucket(time_us: int) -> int:
    return int(math.log(time_us) / STEP) if time_us > 1 else 0


def middle_us(bucket: int) -> float:
    """The time that stands for a bucket: 2.5 % from its furthest."""
    return math.exp((bucket + 0.5) * STEP)


def percentile_us(counts: Mapping[int, int], share: float) -> float | None:
    """By bucket → calls: as many as `share` of the calls took at most so long."""
    left = share * sum(counts.values())
    for one in sorted(counts):
        left -= counts[one]
        if left <= 0:
            return middle_us(one)
    return None


class TimesAsked(msgspec.Struct, frozen=True):
    periods: tuple[Period, ...]
    by: tuple[str, ...] = ()  # of route, target
    only: Mapping[str, str] = {}  # the same


class TimesLine(msgspec.Struct, frozen=True):
    begin_ms: int
    names: tuple[str, ...]
    what: str
    counts: dict[int, int]  # calls, by bucket


class PeopleAsked(msgspec.Struct, frozen=True):
    """`only`: of one organisation, team or key. Periods are days or months of UTC."""

    periods: tuple[Period, ...]
    only: Mapping[str, str] = {}


class PeopleLine(msgspec.Struct, frozen=True):
    """Of one period. A session counts in that in which it began, with all of its calls."""

    begin_ms: int
    end_users: int  # who were there at all, each once
    sessions: int = 0
    session_calls: int = 0
    session_ms: int = 0  # from the first call of each to its last
    asked_again: int = 0  # calls that said nearly what the one before them in their session had said


def merged(lines: Iterable[TimesLine]) -> dict[tuple[int, tuple[str, ...], str], dict[int, int]]:
    """By period, names and what."""
    found: dict[tuple[int, tuple[str, ...], str], dict[int, int]] = {}
    for line in lines:
        counts = found.setdefault((line.begin_ms, line.names, line.what), {})
        for at, calls in line.counts.items():
            counts[at] = counts.get(at, 0) + calls
    return found
