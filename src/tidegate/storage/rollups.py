"""Which sums does a call count in? Rows become hourly sums, in the transaction that stores them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from tidegate.core.money import KINDS
from tidegate.core.ports import Closed
from tidegate.core.usage import DIMENSIONS, HOUR_MS, SUMS, Period, UsageAsked, UsageLine

K = TypeVar("K")

MAX_NAMES = 1000  # that clients choose freely, of each dimension in an hour; the rest count together
MAX_WORD = 256
OTHERS = "(others)"
MOST = 2**53  # that one call adds to a sum: a provider may report any usage, and no column may run over
LAST_MS = 253_402_300_799_999  # the end of the year 9999

_FREE = ("end_user", "route", "target")
_ENCODE = msgspec.json.Encoder().encode
# A store's table of sums has these columns, and (hour, digest) as its key.
_COLUMNS = ("hour", "digest", *DIMENSIONS, *SUMS)
COLUMNS = ", ".join(f'"{name}"' for name in _COLUMNS)
COUNT = len(_COLUMNS)


class Rollup(NamedTuple):
    hour_ms: int
    names: tuple[str, ...]  # by DIMENSIONS
    sums: tuple[int, ...]  # by SUMS

    @property
    def digest(self) -> bytes:
        """Of the names: they are too long, together, for an index."""
        return hashlib.blake2b(_ENCODE(self.names), digest_size=16).digest()

    @property
    def values(self) -> tuple[Any, ...]:
        """By COLUMNS."""
        return (self.hour_ms, self.digest, *self.names, *self.sums)


class Rollups:
    """Makes the sums of rows. Belongs to one thread; remembers which free names it has seen, hour by hour."""

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        self._max_names = max_names
        self._seen: dict[tuple[int, str], set[str]] = {}

    def of(self, rows: Iterable[Closed]) -> list[Rollup]:
        """In one order, whoever asks: two who add to the same sums at once then wait, and never for each other."""
        said: defaultdict[tuple[int, tuple[str | None, ...]], list[Closed]] = defaultdict(list)
        for row in rows:  # most of a batch say the same
            said[within(row.at_ms) // HOUR_MS * HOUR_MS, _said(row)].append(row)
        found: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for (hour, words), alike in said.items():
            names = zip(DIMENSIONS, words, strict=True)
            named = tuple([self.bounded(hour, at, clean(name)[:MAX_WORD] if name else "") for at, name in names])
            _add(found, (hour, named), _sums(alike))
        return [Rollup(hour, names, tuple(sums)) for (hour, names), sums in sorted(found.items())]

    def bounded(self, hour: int, dimension: str, name: str) -> str:
        """`name`, or what stands for those beyond MAX_NAMES in this hour."""
        if not name or dimension not in _FREE:
            return name
        seen = self._seen.get((hour, dimension))
        if seen is None:
            if len(self._seen) > 2 * len(_FREE):
                del self._seen[next(iter(self._seen))]
            seen = self._seen[hour, dimension] = set()
        if name not in seen:
            if len(seen) >= self._max_names:
                return OTHERS
            seen.add(name)
        return name


def _add(found: dict[K, list[int]], key: K, adds: list[int]) -> None:
    sums = found.get(key)
    found[key] = adds if sums is None else [a + b for a, b in zip(sums, adds, strict=True)]


def _said(row: Closed) -> tuple[str | None, ...]:
    """By DIMENSIONS, as the row has them."""
    return (
        *(row.organisation_id, row.team_id, row.user_id, row.key_id, row.user, row.route, row.target),
        *(row.operation, row.outcome, row.kind, row.prompt, row.cache),
    )


def _sums(rows: Sequence[Closed]) -> list[int]:
    """By SUMS, of rows that end alike. Column by column: a hundred rows so take a third of what one by one they do."""
    calls, usages = len(rows), [row.usage for row in rows]
    used = set().union(*usages)
    answered = [row.first_us for row in rows if row.first_us is not None]
    return [
        calls,
        0 if rows[0].outcome in ("ok", "client_left") else calls,
        sum([row.cost_nusd is None for row in rows]),
        _sum([row.cost_nusd or 0 for row in rows]),
        *[_sum([usage.get(kind, 0) for usage in usages]) if kind in used else 0 for kind in KINDS],
        _sum([row.duration_us for row in rows]),
        _sum([row.overhead_us for row in rows]),
        _sum(answered),
        len(answered),
        _sum([row.saved_nusd for row in rows]),
    ]


def _sum(column: list[int]) -> int:
    if not column or (min(column) >= 0 and max(column) <= MOST):
        return sum(column)
    return sum(min(max(number, 0), MOST) for number in column)


def within(at_ms: int) -> int:
    """`at_ms`, if it is a time that a calendar has; else the nearest one."""
    return at_ms if 0 <= at_ms <= LAST_MS else min(max(at_ms, 0), LAST_MS)


def clean(text: str) -> str:
    """`text` as any database takes it: without NUL and halves of characters."""
    if text.isascii():
        return text.replace("\0", "�")
    return text.encode("utf-8", "replace").decode().replace("\0", "�")


class Part(NamedTuple):
    """Where a part of the answer is: sums of a table, by the hour or the day in `column`.

    `pieces` is a SELECT of when they are, as columns of_ms, begin_ms and until_ms, and `values` what it is given.
    """

    table: str
    column: str
    pieces: str
    values: Sequence[Any]


def crossed(table: str, where: str) -> str:
    """For SQLite: first the pieces, few, then the sums of each by their index."""
    return f"CROSS JOIN {table} u WHERE {where}"


def query(
    asked: UsageAsked,
    parts: Sequence[Part],
    *,
    mark: str,
    of: Sequence[str] = SUMS,
    joined: Callable[[str, str], str] = crossed,
) -> tuple[str, list[Any]]:
    """The question as SQL, and its values; `mark` is where a value goes: ? or %s.

    `joined`: a table, as u, and what is wanted of it, after a piece, p.
    """
    of = asked.sums or of
    columns = "".join(f', "{name}"' for name in asked.by)
    names = "".join(f', u."{name}"' for name in asked.by)
    sums = "".join(f', sum(u."{name}") AS "{name}"' for name in of)
    only = "".join(f' AND u."{name}" = {mark}' for name in asked.only)
    told = [clean(value)[:MAX_WORD] for value in asked.only.values()]
    within = (joined(one.table, f"u.{one.column} >= p.begin_ms AND u.{one.column} < p.until_ms{only}") for one in parts)
    each = [
        f"SELECT p.of_ms{names}{sums} FROM ({part.pieces}) p {table} GROUP BY p.of_ms{names}"
        for part, table in zip(parts, within, strict=True)
    ]
    values = [value for part in parts for value in (*part.values, *told)]
    keys, all_sums = f"of_ms{columns}", "".join(f', sum("{name}")' for name in of)
    where = ""
    if asked.after is not None:
        where = f"WHERE ({keys}) > ({', '.join([mark] * len(asked.after))}) "
        values += asked.after
    return (
        f"SELECT {keys}{all_sums} FROM ({' UNION ALL '.join(each)}) found {where}"
        f"GROUP BY {keys} ORDER BY {keys} LIMIT {mark}",
        [*values, asked.most],
    )


def line(asked: UsageAsked, row: Sequence[Any], of: Sequence[str] = SUMS) -> UsageLine:
    """What `query` found."""
    of = asked.sums or of
    begin, names, sums = row[0], row[1 : 1 + len(asked.by)], row[1 + len(asked.by) :]
    return UsageLine(begin, tuple(names), {name: int(value) for name, value in zip(of, sums, strict=True)})


def waiting(asked: UsageAsked) -> list[Period]:
    """The periods of which the next page can tell."""
    after = asked.after
    return [one for one in asked.periods if after is None or one.begin_ms >= after[0]]


def answer(
    asked: UsageAsked, rollups: Iterable[Rollup], by: Sequence[str] = DIMENSIONS, of: Sequence[str] = SUMS
) -> list[UsageLine]:
    """The same, where there is no SQL."""
    at = {name: place for place, name in enumerate(by)}
    found: dict[tuple[Any, ...], list[int]] = {}
    for one in rollups:
        if all(one.names[at[name]] == value for name, value in asked.only.items()):
            for period in waiting(asked):
                if period.begin_ms <= one.hour_ms < period.until_ms:
                    key = (period.begin_ms, *(one.names[at[name]] for name in asked.by))
                    sums = found.setdefault(key, [0] * len(of))
                    sums[:] = (a + b for a, b in zip(sums, one.sums, strict=True))
    keys = sorted(key for key in found if asked.after is None or key > asked.after)
    places = [of.index(name) for name in asked.sums or of]
    return [line(asked, (*key, *(found[key][place] for place in places)), of) for key in keys[: asked.most]]
