"""What is known of all units of an experiment together? All that statistics ask, as little for a million of them.

Lines are counted as they come, all of a unit at once, and none is kept. A `Tally` is what was counted: numbers of
units, means, and how values vary together, also between the stages in which the same unit was seen.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, compress, groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

import msgspec

from tidegate.core.experiments import CONTROL, METRICS, Spec, UnitLine
from tidegate.core.stats.moments import Moments

NEVER, HAD = -1, -2  # a unit was not seen in an earlier stage; it had an arm in one
MOST_SHARES = 4096  # different ones of a group that are kept as they are
GRID = 1024  # parts of 1, between which the others are shared out
END = 2**31  # behind all looks

Before = Mapping[str, Mapping[str, float]]  # by metric, what was so of each unit before anything was tried
Place = tuple[int, str]  # a stage, and an arm of it
Arrival = tuple[int, str, int, str]  # of a line, in the order in which they came: first_ms, unit, stage, arm


class Group(NamedTuple):
    stage: int
    arm: str
    before: int  # the stage in which its units were seen with the control the last time, or NEVER, or HAD


class Values(msgspec.Struct, frozen=True, array_like=True):
    """Of one metric, what the units of a group have; more is worse.

    `plain` is of the values, `logs` of the logarithms of those above 0. With what was so before there are two columns
    more of that which has least spread: what it was, or 0, and whether that is known.
    `none`: units that have 0; `shares`: of a share, how many have which value above 0.
    """

    plain: Moments
    logs: Moments | None
    none: float
    shares: Mapping[float, float] = {}

    def __add__(self, other: Values) -> Values:
        none, shares = self.none + other.none, dict(self.shares)
        for share, count in other.shares.items():
            shares[share] = shares.get(share, 0) + count
        if len(shares) > MOST_SHARES:
            shares = gridded(shares)
            none += shares.pop(0.0, 0)
        return Values(self.plain + other.plain, _sum(self.logs, other.logs), none, shares)


class Both(msgspec.Struct, frozen=True, array_like=True):
    """Of units that have a value in two places, what they have in the one, then in the other."""

    plain: Moments
    logs: Moments | None

    def __add__(self, other: Both) -> Both:
        return Both(self.plain + other.plain, _sum(self.logs, other.logs))


class Tally(msgspec.Struct, frozen=True):
    """Of all units that were counted. Each dictionary has as many entries as there are stages and arms."""

    units: dict[str, int]  # by arm; of one that was there in several stages, one
    spent_nusd: dict[str, int]  # by arm
    lines: dict[Group, int]
    values: dict[str, dict[Group, Values]]  # by metric
    again: dict[str, dict[tuple[Place, Place], Both]]  # by metric, in two places

    @property
    def count(self) -> int:
        """Of units; of one that was there in several stages, as many."""
        return sum(self.lines.values())

    @property
    def spent_on_arms_nusd(self) -> int:
        return sum(nusd for arm, nusd in self.spent_nusd.items() if arm != CONTROL)


class Counting:
    """`before`: what was so of units before anything was tried, by metric, in its unit; it takes spread away (CUPED).

    `looks`: where the lines of each end, in the order in which they came; the last one has all.
    """

    def __init__(self, spec: Spec, before: Before | None = None, looks: Sequence[Arrival] = ()) -> None:
        names = sorted({one.metric for one in (spec.primary, *spec.guards) if one is not None})
        self._measures = {name: _Measure(name, (before or {}).get(name, {})) for name in names}
        self.looks = tuple(looks)
        self._units: Counter[tuple[str, int]] = Counter()  # by arm and first look
        self._spent: Counter[tuple[str, int]] = Counter()
        self._lines: Counter[_Span] = Counter()
        self._values: dict[str, dict[_Span, Values]] = {name: {} for name in names}
        self._again: dict[str, dict[tuple[tuple[Place, Place], int], Both]] = {name: {} for name in names}

    def add(self, lines: Iterable[UnitLine]) -> None:
        """All lines of some units, in whatever order. What is called a unit here never comes again."""
        groups: dict[_Span, list[UnitLine]] = {}
        pairs: dict[tuple[tuple[Place, Place], int], tuple[list[UnitLine], list[UnitLine]]] = {}
        for way, units in self._ways(lines).items():
            columns = [*zip(*units, strict=True)]
            for span, at in _spans(way):
                groups.setdefault(span, []).extend(columns[at])
            for at, across in combinations(range(len(way)), 2):
                if way[at][:2] > way[across][:2]:  # two arms in one stage
                    at, across = across, at
                key = (way[at][:2], way[across][:2]), max(way[at][2], way[across][2])
                for side, column in zip(pairs.setdefault(key, ([], [])), (at, across), strict=True):
                    side.extend(columns[column])
            for arm in {arm for _, arm, _ in way}:
                self._units[arm, min(look for _, one, look in way if one == arm)] += len(units)
            for (_, arm, look), own in zip(way, columns, strict=True):
                self._spent[arm, look] += sum(line.cost_nusd for line in own)
        self._lines.update({span: len(of) for span, of in groups.items()})
        for name, measure in self._measures.items():
            _add(self._values[name], {span: measure.values(of) for span, of in groups.items()})
            _add(self._again[name], {key: measure.both(*of) for key, of in pairs.items()})

    def _ways(self, lines: Iterable[UnitLine]) -> dict[_Way, list[tuple[UnitLine, ...]]]:
        """Each unit's lines, by the way that it went: thousands go the same."""
        found: dict[_Way, list[tuple[UnitLine, ...]]] = {}
        for _, of_unit in groupby(sorted(lines, key=itemgetter(2, 0, 3)), itemgetter(2)):
            own = tuple(of_unit)
            way = tuple([(line[0], line[1], self._look(line)) for line in own])
            if way in found:
                found[way].append(own)
            else:
                found[way] = [own]
        return found

    def _look(self, line: UnitLine) -> int:
        if not self.looks:
            return 0
        return bisect_left(self.looks, (line[3], line[2], line[0], line[1]))

    def tally(self, look: int = END - 1) -> Tally:
        """Of the lines that had come by then."""
        lines: Counter[Group] = Counter()
        for (group, since, until), count in self._lines.items():
            if since <= look < until:
                lines[group] += count
        values: dict[str, dict[Group, Values]] = {}
        for name, spans in self._values.items():
            for (group, since, until), of in spans.items():
                if since <= look < until:
                    _add(values.setdefault(name, {}), {group: of})
        again: dict[str, dict[tuple[Place, Place], Both]] = {}
        for name, keys in self._again.items():
            for (places, since), both in keys.items():
                if since <= look:
                    _add(again.setdefault(name, {}), {places: both})
        return Tally(_by_arm(self._units, look), _by_arm(self._spent, look), dict(lines), values, again)


def counted(spec: Spec, lines: Iterable[UnitLine], before: Before | None = None) -> Tally:
    """Of lines that are all there."""
    counting = Counting(spec, before)
    counting.add(lines)
    return counting.tally()


# --- which group a unit is in

_Way = tuple[tuple[int, str, int], ...]  # of one unit, its stages, with the arm there and the first look that has it
_Span = tuple[Group, int, int]  # from which look on, and until which


def _spans(way: _Way) -> Iterator[tuple[_Span, int]]:
    """Of the unit's lines, by number: where one of an earlier stage came later, what chance had to decide changes."""
    looks = [look for _, _, look in way]
    if all(one <= other for one, other in pairwise(looks)):
        for at, group in enumerate(_groups(way)):
            yield (group, looks[at], END), at
        return
    for since, until in pairwise([*sorted(set(looks)), END]):
        there = [at for at, look in enumerate(looks) if look <= since]
        for at, group in zip(there, _groups(way[at] for at in there), strict=True):
            yield (group, since, until), at


def _groups(way: Iterable[tuple[int, str, int]]) -> Iterator[Group]:
    """By what chance had to decide of the unit: it is asked anew in each stage, but whoever has an arm keeps it."""
    last = NEVER
    for stage, arm, _ in way:
        before = HAD if last == stage else last  # with two arms in one stage: that is a fault, and says nothing
        last = stage if arm == CONTROL and before != HAD else HAD
        yield Group(stage, arm, before)


# --- what they have


class _Sums(NamedTuple):
    of: str  # what the sum is of
    sum: str
    per: float = 1.0


SUMS = {
    "error_rate": _Sums("calls", "failed"),
    "first_token": _Sums("begun", "first_us"),
    "latency": _Sums("answered", "took_us"),
    "cost": _Sums("priced", "cost_nusd"),
    "guard_rate": _Sums("calls", "guarded"),
    "retry_rate": _Sums("calls", "asked_again"),
    "satisfaction": _Sums("scored", "score_milli", 1000),
    "judge_score": _Sums("judged", "judged_milli", 1000),
    "task_completion": _Sums("tasks", "completed"),
}


def values(metric: str, lines: Iterable[UnitLine]) -> list[float | None]:
    """Of each unit the mean, if it has one, turned so that more is worse."""
    sums = SUMS[metric]
    fields = map(itemgetter(UnitLine._fields.index(sums.sum), UnitLine._fields.index(sums.of)), lines)
    if METRICS[metric].better == "higher":
        return [1 - total / (of * sums.per) if of else None for total, of in fields]
    return [total / of if of else None for total, of in fields]


class _Measure:
    """One metric. Long tails are looked at as logarithms too, as long as nobody has 0."""

    def __init__(self, metric: str, before: Mapping[str, float]) -> None:
        self._metric = metric
        self._kind = METRICS[metric].kind
        if self._kind == "ratio":
            self._before = {unit: math.log(value) for unit, value in before.items() if value > 0}
        else:
            turns = METRICS[metric].better == "higher"
            self._before = {unit: 1 - value if turns else value for unit, value in before.items()}

    def values(self, lines: Sequence[UnitLine]) -> Values | None:
        column: list[Any] = values(self._metric, lines)
        plain, logs = self._forms(lines, column)
        if plain is None:
            return None
        above = Counter(compress(column, column)) if self._kind == "share" else {}
        return Values(plain, logs, column.count(0.0), above)

    def both(self, lines: Sequence[UnitLine], others: Sequence[UnitLine]) -> Both | None:
        """Two lines of each unit."""
        plain, logs = self._forms(lines, values(self._metric, lines), values(self._metric, others))
        return None if plain is None else Both(plain, logs)

    def _forms(self, lines: Sequence[UnitLine], *columns: list[Any]) -> tuple[Moments | None, Moments | None]:
        """As they are, and as logarithms. Of units that have a value in each column."""
        there = [None not in row for row in zip(*columns, strict=True)]
        if self._kind != "ratio":
            return self._moments(lines, there, self._before, [[*compress(column, there)] for column in columns]), None
        above = [all(row) for row in zip(*columns, strict=True)]
        logs = [[*map(math.log, compress(column, above))] for column in columns]
        plain = self._moments(lines, there, {}, [[*compress(column, there)] for column in columns])
        return plain, self._moments(lines, above, self._before, logs)

    def _moments(
        self, lines: Sequence[UnitLine], there: Sequence[bool], before: Mapping[str, float], columns: list[list[Any]]
    ) -> Moments | None:
        """Of each column, with what was so before."""
        if not columns[0]:
            return None
        if not before:
            return Moments.of(*columns)
        units = [line.unit for line in compress(lines, there)]
        was, known = [before.get(unit, 0.0) for unit in units], [float(unit in before) for unit in units]
        return Moments.of(*(one for column in columns for one in (column, was, known)))


def gridded(shares: Mapping[float, float]) -> dict[float, float]:
    """Of so many different ones: each as the two points of a grid that it lies between, and the mean stays.

    What a bet makes of a share bends down, so that this says less than was seen, and never more.
    """
    found: dict[float, float] = {}
    for share, count in shares.items():
        point = math.floor(share * GRID)
        part = share * GRID - point
        for at, some in ((point, count * (1 - part)), (point + 1, count * part)):
            if some:
                found[at / GRID] = found.get(at / GRID, 0) + some
    return found


def _by_arm(counts: Mapping[tuple[str, int], int], look: int) -> dict[str, int]:
    """The control first."""
    found: Counter[str] = Counter()
    for (arm, since), count in counts.items():
        if since <= look:
            found[arm] += count
    return dict(sorted(found.items(), key=lambda one: (one[0] != CONTROL, one[0])))


K = TypeVar("K")
V = TypeVar("V", Values, Both)


def _add(to: dict[K, V], found: Mapping[K, V | None]) -> None:
    for key, more in found.items():
        if more is not None:
            there = to.get(key)
            to[key] = more if there is None else there + more


def _sum(one: Moments | None, other: Moments | None) -> Moments | None:
    return one + other if one is not None and other is not None else one or other
