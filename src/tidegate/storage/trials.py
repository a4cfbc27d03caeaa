"""What was each call to the experiments that it was part of? One line each, stored in the transaction of its row.

What is said of a call later is joined when somebody asks. The same for every database.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tidegate.core.experiments import UnitLine
from tidegate.core.ports import Closed
from tidegate.core.tally import Arrival
from tidegate.storage.facts import Database, each
from tidegate.storage.opinions import Said
from tidegate.storage.rollups import clean

FAILED = ("failed", "cut_off")
REFUSED_BY_PROVIDER = "upstream_refused"  # perhaps for a parameter that the arm has put in
LARGEST = 2**63 - 1
SOME = 2000  # lines that are read at once: 1.5 MB while they are counted, and one step in some thousand is not felt
MOST = 2**47  # of the time or the cost of one call, so that 65,000 of them can be summed


class Trial(NamedTuple):
    experiment: str
    stage: int
    arm: str
    unit: str
    call: str
    at_ms: int
    failed: int
    answered: int
    took_us: int
    begun: int
    first_us: int
    priced: int
    cost_nusd: int
    guarded: int
    asked_again: int


SUMMED = Trial._fields[6:]


def trials(rows: Iterable[Closed]) -> list[Trial]:
    """Of live calls that count. What our own limits, budgets and guards refuse was neither answered nor has it failed:
    the arm has no part in it; but its unit has been exposed."""
    return [
        Trial(one.experiment, one.stage, one.arm, one.unit, clean(row.id), row.at_ms, *_outcome(row))
        for row in rows
        if row.arms and row.kind == "live"
        for one in row.arms
        if one.counted
    ]


def _outcome(row: Closed) -> tuple[int, ...]:
    answered = row.outcome == "ok"
    failed = row.outcome in FAILED or (row.outcome == "refused" and row.error == REFUSED_BY_PROVIDER)
    begun = answered and row.first_us is not None
    # What is free because it failed must not make an arm look cheap; what a failure has cost counts.
    priced = row.cost_nusd is not None and (answered or row.cost_nusd > 0)
    return (
        int(failed),
        int(answered),
        _bounded(row.duration_us) if answered else 0,
        int(begun),
        _bounded(row.first_us or 0) if begun else 0,
        int(priced),
        _bounded(row.cost_nusd or 0) if priced else 0,
        int(any(one.verdict in ("block", "mask") for one in row.guards)),
        int(row.asked_again),
    )


def _bounded(number: int) -> int:
    return min(max(number, 0), MOST)


class Opined(NamedTuple):
    """What is said of one unit's calls, summed."""

    scored: int = 0
    score_milli: int = 0
    judged: int = 0
    judged_milli: int = 0
    tasks: int = 0
    completed: int = 0


# Who speaks for whom: people are asked whether they are content, judges what an answer is worth, and whether it did
# what was wanted may be said by anybody.
_OPINED = ", ".join(
    f"CAST(sum(CASE WHEN o.source = '{source}' THEN o.{name} ELSE 0 END) AS BIGINT)"
    for source in ("user", "judge")
    for name in ("scored", "score_milli")
)


class TrialTable:
    """`schema` with its dot; `mark` is where a value goes; `as_bytes`: the driver wants its SQL so.

    `many`: who takes a statement for many rows; `some`: lines that are read at once.
    """

    def __init__(
        self,
        schema: str,
        mark: str,
        *,
        as_bytes: bool = False,
        many: Callable[[Any, Any, Any], None] = each,
        some: int = SOME,
    ) -> None:
        def sql(text: str) -> Any:
            text = text.replace("@", schema).replace("?", mark)
            return text.encode() if as_bytes else text

        self._many = many
        self._some = some
        self._put = sql(
            f"INSERT INTO @trials ({', '.join(Trial._fields)}) VALUES ({', '.join('?' * len(Trial._fields))}) "
            "ON CONFLICT DO NOTHING"
        )
        sums = ", ".join(f"CAST(sum({name}) AS BIGINT)" for name in SUMMED)
        self._units = sql(
            f"SELECT stage, arm, unit, min(at_ms), count(*), {sums} FROM @trials WHERE experiment = ? AND unit > ? "
            f"GROUP BY unit, stage, arm ORDER BY unit, stage, arm LIMIT {some}"
        )
        self._opined = sql(
            f"SELECT t.stage, t.arm, t.unit, {_OPINED}, CAST(sum(o.tasks) AS BIGINT), "
            "CAST(sum(o.completed) AS BIGINT) FROM @trials t JOIN @opinions o ON o.request_id = t.call "
            "WHERE t.experiment = ? AND t.unit > ? AND t.unit <= ? GROUP BY t.stage, t.arm, t.unit"
        )
        each_line = "FROM @trials WHERE experiment = ? GROUP BY unit, stage, arm"
        self._count = sql(f"SELECT count(*) FROM (SELECT 1 {each_line}) AS one")
        self._arrivals = sql(
            "SELECT first_ms, unit, stage, arm FROM (SELECT min(at_ms) AS first_ms, unit, stage, arm, "
            f"row_number() OVER (ORDER BY min(at_ms), unit, stage, arm) AS place {each_line}) AS one "
            "WHERE ((place + 1) * ? - 1) / ? > (place * ? - 1) / ? AND place < ? ORDER BY place"
        )
        self._rename = sql("UPDATE @trials SET unit = ? WHERE experiment = ? AND unit = ?")
        self._old = sql(
            "DELETE FROM @trials WHERE (experiment, stage, arm, unit, call) IN ("
            "SELECT experiment, stage, arm, unit, call FROM @trials WHERE experiment IN "
            "(SELECT id FROM @experiments WHERE archived_ms > 0) AND at_ms < ? LIMIT ?)"
        )

    def add(self, db: Database, rows: Iterable[Closed]) -> None:
        """In the transaction of the rows."""
        found = trials(rows)
        if found:
            self._many(db, self._put, sorted(found))

    def units(self, db: Database, experiment: str, behind: str) -> list[UnitLine]:
        """All of some units that are called something behind that. They lie beside each other."""
        found = db.execute(self._units, (experiment, behind)).fetchall()
        if len(found) == self._some:  # of the last one there may be more
            last = found[-1][2]
            found = [row for row in found if row[2] != last]
        if not found:
            return []
        opined = {
            (stage, arm, unit): Opined._make(sums)
            for stage, arm, unit, *sums in db.execute(self._opined, (experiment, behind, found[-1][2])).fetchall()
        }
        return lines(found, opined)

    def arrivals(self, db: Database, experiment: str, parts: int) -> list[Arrival]:
        """Sorted by the database, which has room for it."""
        (count,) = db.execute(self._count, (experiment,)).fetchone()
        parts = min(parts, count)
        if parts < 2:
            return []
        return [*map(tuple, db.execute(self._arrivals, (experiment, parts, count, parts, count, count)).fetchall())]

    def rename(self, db: Database, units: Iterable[tuple[str, str, str]]) -> None:
        """Of an experiment, what a unit is called, and what from now on."""
        for experiment, unit, instead in units:
            db.execute(self._rename, (instead, experiment, unit))

    def forget(self, db: Database, before_ms: int, most: int) -> int:
        """Some of those that began before then, of experiments that are archived: what is decided by stays."""
        return int(db.execute(self._old, (before_ms, most)).rowcount)


def lines(found: Iterable[tuple[Any, ...]], opined: dict[tuple[int, str, str], Opined]) -> list[UnitLine]:
    """In their order. Each is made in one step: of some experiments there are hundreds of thousands."""
    nobody, make = Opined(), tuple.__new__
    return [make(UnitLine, row + opined.get(row[:3], nobody)) for row in found]


class TrialSums:
    """The same, where there is no SQL."""

    def __init__(self, some: int = SOME) -> None:
        self._some = some
        self._trials: dict[str, dict[str, list[Trial]]] = {}  # by experiment and unit
        self._names: dict[str, list[str]] = {}  # of an experiment's units, in their order

    def add(self, rows: Iterable[Closed]) -> None:
        for trial in trials(rows):
            self._of(trial.experiment, trial.unit).append(trial)

    def units(self, experiment: str, behind: str, said: Mapping[str, Iterable[Said]]) -> list[UnitLine]:
        """`said`: of calls, by their ids."""
        names = self._names.get(experiment, [])
        begin = bisect_right(names, behind)
        return [line for unit in names[begin : begin + self._some] for line in self._lines(experiment, unit, said)]

    def arrivals(self, experiment: str, parts: int) -> list[Arrival]:
        found = sorted(
            (line.first_ms, unit, line.stage, line.arm)
            for unit in self._names.get(experiment, ())
            for line in self._lines(experiment, unit, {})
        )
        parts = min(parts, len(found))
        return [found[len(found) * number // parts - 1] for number in range(1, parts)]

    def _lines(self, experiment: str, unit: str, said: Mapping[str, Iterable[Said]]) -> list[UnitLine]:
        found: dict[tuple[int, str, str], list[int]] = {}
        opined: dict[tuple[int, str, str], Opined] = {}
        for trial in self._trials[experiment][unit]:
            key = (trial.stage, trial.arm, unit)
            sums = found.setdefault(key, [trial.at_ms, 0, *[0] * len(SUMMED)])
            sums[0] = min(sums[0], trial.at_ms)
            sums[1:] = [a + b for a, b in zip(sums[1:], (1, *trial[6:]), strict=True)]
            for one in said.get(trial.call, ()):
                opined[key] = Opined(*map(int.__add__, opined.get(key, Opined()), _said(one)))
        return lines((key + tuple(sums) for key, sums in sorted(found.items())), opined)

    def rename(self, units: Iterable[tuple[str, str, str]]) -> None:
        for experiment, unit, instead in units:
            found = self._trials.get(experiment, {}).pop(unit, [])
            if found:
                self._names[experiment].remove(unit)
                self._of(experiment, instead).extend(one._replace(unit=instead) for one in found)

    def _of(self, experiment: str, unit: str) -> list[Trial]:
        there = self._trials.setdefault(experiment, {})
        if unit not in there:
            there[unit] = []
            insort(self._names.setdefault(experiment, []), unit)
        return there[unit]


def _said(one: Said) -> Opined:
    _, scored, score_milli, _, _, tasks, completed = one.rollup.sums
    by_user, by_judge = one.opinion.source == "user", one.opinion.source == "judge"
    return Opined(scored * by_user, score_milli * by_user, scored * by_judge, score_milli * by_judge, tasks, completed)
