"""Who was there, and how long did they wait? Kept beside the sums, in the transaction that stores the rows.

End users and sessions are kept as digests: they are counted, and nobody is named. The same for every database.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple, Protocol

import msgspec

from tidegate.core.analytics import DAY_MS, SESSION_MS, PeopleAsked, PeopleLine, TimesAsked, TimesLine, bucket
from tidegate.core.ports import Closed
from tidegate.core.usage import HOUR_MS, Period
from tidegate.storage.days import Days, pieces
from tidegate.storage.rollups import MAX_WORD, Rollups, clean, within

Counts = defaultdict[tuple[int, tuple[str, ...], str], defaultdict[int, int]]

_COUNTS = msgspec.json.Decoder(dict[int, int])  # calls, by bucket
TOGETHER = 100  # sessions that are looked for at once

Times = dict[tuple[int, str, str, str, int], int]  # hour, route, target, what, bucket → calls


class Active(NamedTuple):
    day_ms: int
    key: str
    who: bytes
    organisation: str
    team: str


class Episode(NamedTuple):
    """Some calls of one session, without a pause."""

    id: bytes
    begin_ms: int
    last_ms: int
    calls: int
    asked_again: int
    organisation: str
    team: str
    key: str

    def and_then(self, later: Episode) -> Episode:
        """Both as one, when the pause between them is no longer than SESSION_MS."""
        return self._replace(
            begin_ms=min(self.begin_ms, later.begin_ms),
            last_ms=max(self.last_ms, later.last_ms),
            calls=self.calls + later.calls,
            asked_again=self.asked_again + later.asked_again,
        )

    def touches(self, other: Episode) -> bool:
        return other.begin_ms - self.last_ms <= SESSION_MS and self.begin_ms - other.last_ms <= SESSION_MS


class Facts(NamedTuple):
    """What some rows say, in one order: two who write at once then wait, and never for each other."""

    times: list[tuple[tuple[int, str, str, str, int], int]]
    active: list[Active]
    episodes: list[Episode]


def facts(rows: Iterable[Closed], rollups: Rollups) -> Facts:
    """`rollups` bounds the names that clients choose."""
    answered: defaultdict[tuple[int, str | None, str | None], list[Closed]] = defaultdict(list)
    active: set[Active] = set()
    calls: list[Episode] = []
    for row in rows:
        at_ms = within(row.at_ms)
        if row.outcome == "ok":  # how long a failure took says nothing of how long answers take
            answered[at_ms // HOUR_MS * HOUR_MS, row.route, row.target].append(row)
        if not (row.user or row.session):
            continue
        whose = (row.organisation_id or "", row.team_id or "")
        if row.user:
            who = _digest(whose[0], row.user)
            active.add(Active(_day(at_ms), row.key_id, who, *whose))
        if row.session:
            id = _digest(row.key_id, row.session)
            calls.append(Episode(id, at_ms, at_ms, 1, int(row.asked_again), *whose, row.key_id))
    return Facts(sorted(_times(answered, rollups).items()), sorted(active), _episodes(calls))


def _times(answered: Mapping[tuple[int, str | None, str | None], Sequence[Closed]], rollups: Rollups) -> Times:
    times: Times = defaultdict(int)
    for (hour, route, target), rows in answered.items():
        names = (
            hour, rollups.bounded(hour, "route", _word(route)), rollups.bounded(hour, "target", _word(target))
        )  # fmt: skip
        for what, took in (
            ("duration", Counter([bucket(row.duration_us) for row in rows])),
            ("first", Counter([bucket(row.first_us) for row in rows if row.first_us is not None])),
        ):
            for at, calls in took.items():
                times[(*names, what, at)] += calls
    return times


def days_of(rows: Iterable[Closed]) -> set[int]:
    """When these calls began."""
    return {_day(within(row.at_ms)) for row in rows}


def _day(at_ms: int) -> int:
    return at_ms // DAY_MS * DAY_MS


def _episodes(calls: list[Episode]) -> list[Episode]:
    found: list[Episode] = []
    for call in sorted(calls):
        if found and found[-1].id == call.id and found[-1].touches(call):
            found[-1] = found[-1].and_then(call)
        else:
            found.append(call)
    return found


def _word(text: str | None) -> str:
    return clean(text)[:MAX_WORD] if text else ""


def _digest(*words: str) -> bytes:
    return hashlib.blake2b(b"\0".join(word.encode("utf-8", "surrogatepass") for word in words), digest_size=16).digest()


# --- in a database --------------------------------------------------------------------------------------------------


class Database(Protocol):
    def execute(self, query: Any, params: Sequence[Any] = ..., /) -> Any: ...
    def cursor(self) -> Any: ...


def each(db: Database, sql: Any, rows: Sequence[Sequence[Any]]) -> None:
    """Take a statement for row after row."""
    db.cursor().executemany(sql, rows)


class FactTables:
    """`schema` with its dot; `mark` is where a value goes; `as_bytes`: the driver wants its SQL so.

    `many`: who takes a statement for many rows.
    """

    def __init__(
        self, schema: str, mark: str, *, as_bytes: bool = False, many: Callable[[Any, Any, Any], None] = each
    ) -> None:
        def sql(text: str) -> Any:
            text = text.replace("@", schema).replace("?", mark)
            return text.encode() if as_bytes else text

        self._sql = sql
        self._many = many
        self._take = sql(
            "INSERT INTO @times AS t (hour, route, target, what, bucket, calls) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (hour, route, target, what, bucket) DO UPDATE SET calls = t.calls + excluded.calls"
        )
        self._see = sql(
            "INSERT INTO @active (day, key, who, organisation, team) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        )
        self._near = sql(
            "SELECT id, begin_ms, last_ms, calls, asked_again, organisation, team, key FROM @sessions "
            "WHERE id = ? AND begin_ms <= ? AND last_ms >= ? ORDER BY begin_ms"
        )
        self._around = sql(
            f"SELECT id, begin_ms, last_ms FROM @sessions WHERE id IN ({', '.join('?' * TOGETHER)}) "
            "AND begin_ms <= ? AND last_ms >= ?"
        )
        self._drop = sql("DELETE FROM @sessions WHERE id = ? AND begin_ms = ?")
        grown = (
            "calls = s.calls + {0}calls, asked_again = s.asked_again + {0}asked_again, "
            "last_ms = CASE WHEN s.last_ms > {0}last_ms THEN s.last_ms ELSE {0}last_ms END"
        )
        columns = "id, begin_ms, last_ms, calls, asked_again, organisation, team, key"
        self._begin = sql(
            f"INSERT INTO @sessions AS s ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            f"ON CONFLICT (id, begin_ms) DO UPDATE SET {grown.format('excluded.')}"
        )
        # In one statement, so that of two processes at once none takes away what the other added.
        self._grow = sql(
            "UPDATE @sessions SET begin_ms = ?, last_ms = CASE WHEN last_ms > ? THEN last_ms ELSE ? END, "
            "calls = calls + ?, asked_again = asked_again + ? WHERE id = ? AND begin_ms = ?"
        )

    def add(self, db: Database, found: Facts, days: Days) -> None:
        """In the transaction of the rows, which are of days that were unfolded."""
        if found.times:
            self._many(db, self._take, [(*names, calls) for names, calls in found.times])
        if found.active:
            self._many(db, self._see, found.active)
        for at in range(0, len(found.episodes), TOGETHER):
            self._extend_all(db, found.episodes[at : at + TOGETHER], days)

    def _extend_all(self, db: Database, episodes: Sequence[Episode], days: Days) -> None:
        """In their order. Almost all begin a session, or go on with one, and are said together."""
        there, times = self._there(db, episodes), Counter(episode.id for episode in episodes)
        plain: list[Episode] = []
        for episode in episodes:
            near = [other.begin_ms for other in there[episode.id] if other.touches(episode)]
            if times[episode.id] > 1 or len(near) > 1 or (near and near[0] > episode.begin_ms):
                self._many(db, self._begin, plain)
                plain = []
                self._extend(db, episode, days)
                continue
            for begin_ms in near:
                if _day(begin_ms) != _day(episode.begin_ms):
                    days.unfold(db, [_day(begin_ms)])  # a session that began yesterday
            plain.append(episode._replace(begin_ms=min([*near, episode.begin_ms])))
        self._many(db, self._begin, plain)

    def _there(self, db: Database, episodes: Sequence[Episode]) -> defaultdict[bytes, list[Episode]]:
        """What there is of the sessions of these, about their time."""
        found: defaultdict[bytes, list[Episode]] = defaultdict(list)
        ids = [episode.id for episode in episodes]
        last_ms, first_ms = max(one.last_ms for one in episodes), min(one.begin_ms for one in episodes)
        asked = (*ids, *ids[:1] * (TOGETHER - len(ids)), last_ms + SESSION_MS, first_ms - SESSION_MS)
        for id, begin_ms, last_ms in db.execute(self._around, asked).fetchall():
            found[bytes(id)].append(Episode(bytes(id), begin_ms, last_ms, 0, 0, "", "", ""))
        return found

    def _extend(self, db: Database, episode: Episode, days: Days) -> None:
        """The one that it goes on with, if there is one; a call that was long under way may join two."""
        near = (episode.id, episode.last_ms + SESSION_MS, episode.begin_ms - SESSION_MS)
        there = [Episode(bytes(row[0]), *row[1:]) for row in db.execute(self._near, near).fetchall()]
        before = {_day(other.begin_ms) for other in there} - {_day(episode.begin_ms)}
        if before:  # a session that began yesterday
            days.unfold(db, before)
        for other in there[1:]:
            db.execute(self._drop, (other.id, other.begin_ms))
            episode = episode.and_then(other)
        for first in there[:1]:
            begin_ms, last_ms = min(first.begin_ms, episode.begin_ms), episode.last_ms
            adds = (begin_ms, last_ms, last_ms, episode.calls, episode.asked_again)
            if db.execute(self._grow, (*adds, first.id, first.begin_ms)).rowcount:
                return
        db.execute(self._begin, episode)

    def times(self, db: Database, asked: TimesAsked, days: Days) -> list[TimesLine]:
        names = "".join(f", {name}" for name in asked.by)
        only = "".join(f" AND {name} = ?" for name in asked.only)
        by_day = self._sql(f"SELECT what, counts{names} FROM @times_days WHERE day >= ? AND day < ?{only}")
        by_hour = self._sql(
            f"SELECT what, bucket, sum(calls){names} FROM @times WHERE hour >= ? AND hour < ?{only} "
            f"GROUP BY what, bucket{names}"
        )
        found: Counts = defaultdict(lambda: defaultdict(int))
        whole, rest = pieces(asked.periods, days.folded(db, asked.periods))
        for one in whole:
            span = (one.begin_ms, one.until_ms, *_words(asked.only))
            for what, sealed, *said in db.execute(by_day, span).fetchall():
                counts = found[one.of_ms, tuple(said), what]
                for at, calls in _COUNTS.decode(sealed).items():
                    counts[at] += calls
        for one in rest:
            span = (one.begin_ms, one.until_ms, *_words(asked.only))
            for what, at, calls, *said in db.execute(by_hour, span).fetchall():
                found[one.of_ms, tuple(said), what][int(at)] += int(calls)
        return [TimesLine(*key, counts) for key, counts in sorted(found.items())]

    def people(self, db: Database, asked: PeopleAsked, days: Days) -> list[PeopleLine]:
        only = "".join(f" AND {name} = ?" for name in asked.only)
        who = self._sql(f"SELECT count(DISTINCT who) FROM @active WHERE day >= ? AND day < ?{only}")
        folded = days.folded(db, asked.periods)
        lines = []
        for one in asked.periods:
            (end_users,) = db.execute(who, (one.begin_ms, one.until_ms, *_words(asked.only))).fetchone()
            lines.append(PeopleLine(one.begin_ms, int(end_users), *self._sessions(db, one, folded, asked.only)))
        return lines

    def _sessions(self, db: Database, period: Period, folded: Set[int], only: Mapping[str, str]) -> list[int]:
        """How many began in it, their calls, how long they were, and what was asked again."""
        where = "".join(f" AND {name} = ?" for name in only)
        columns = "coalesce(sum(calls), 0), coalesce(sum({}), 0), coalesce(sum(asked_again), 0)"
        whole, rest = pieces([period], folded)
        found = [0, 0, 0, 0]
        for some, table, at, count, lasted in (
            (whole, "session_days", "day", "coalesce(sum(sessions), 0)", "lasted_ms"),
            (rest, "sessions", "begin_ms", "count(*)", "last_ms - begin_ms"),
        ):
            sql = f"SELECT {count}, {columns.format(lasted)} FROM @{table} WHERE {at} >= ? AND {at} < ?{where}"
            for one in some:
                sums = db.execute(self._sql(sql), (one.begin_ms, one.until_ms, *_words(only))).fetchone()
                found = [a + int(b) for a, b in zip(found, sums, strict=True)]
        return found


def _words(only: Mapping[str, str]) -> list[str]:
    return [_word(value) for value in only.values()]


# --- in memory ------------------------------------------------------------------------------------------------------


class FactSums:
    """The same, where there is no SQL."""

    def __init__(self) -> None:
        self._times: Times = defaultdict(int)
        self._active: set[Active] = set()
        self._sessions: dict[bytes, list[Episode]] = {}

    def add(self, found: Facts) -> None:
        for names, calls in found.times:
            self._times[names] += calls
        self._active.update(found.active)
        for episode in found.episodes:
            self._sessions[episode.id] = _episodes([*self._sessions.get(episode.id, ()), episode])

    def times(self, asked: TimesAsked) -> list[TimesLine]:
        found: dict[tuple[int, tuple[str, ...], str], dict[int, int]] = {}
        for (hour, route, target, what, at), calls in self._times.items():
            names = {"route": route, "target": target}
            if any(names[name] != value for name, value in asked.only.items()):
                continue
            for one in asked.periods:
                if one.begin_ms <= hour < one.until_ms:
                    counts = found.setdefault((one.begin_ms, tuple(names[name] for name in asked.by), what), {})
                    counts[at] = counts.get(at, 0) + calls
        return [TimesLine(*key, counts) for key, counts in sorted(found.items())]

    def people(self, asked: PeopleAsked) -> list[PeopleLine]:
        def ours(one: Active | Episode) -> bool:
            return all(getattr(one, name) == value for name, value in asked.only.items())

        lines = []
        for one in asked.periods:
            who = {seen.who for seen in self._active if ours(seen) and one.begin_ms <= seen.day_ms < one.until_ms}
            line = PeopleLine(one.begin_ms, len(who))
            for episode in (episode for some in self._sessions.values() for episode in some if ours(episode)):
                if one.begin_ms <= episode.begin_ms < one.until_ms:
                    line = msgspec.structs.replace(
                        line,
                        sessions=line.sessions + 1,
                        session_calls=line.session_calls + episode.calls,
                        session_ms=line.session_ms + episode.last_ms - episode.begin_ms,
                        asked_again=line.asked_again + episode.asked_again,
                    )
            lines.append(line)
        return lines
