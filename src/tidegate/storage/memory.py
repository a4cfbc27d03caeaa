"""What is kept, where nothing can be? Everything in memory, gone with the process: for tests and for serverless."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from tidegate.core.analytics import PeopleAsked, PeopleLine, TimesAsked, TimesLine
from tidegate.core.experiments import UnitLine
from tidegate.core.limits import SLICES, Charge, Claim, Full, Meter, Taken
from tidegate.core.opinions import OPINION_DIMENSIONS, OPINION_SUMS, Opinion
from tidegate.core.ports import (
    DEFAULT_ORGANISATION,
    Anything,
    Backlog,
    Bearer,
    CallsFound,
    CallsTaken,
    Clock,
    Closed,
    Kept,
    Key,
    Once,
    Organisation,
    Record,
    Team,
    Totals,
    User,
)
from tidegate.core.search import CallsAsked
from tidegate.core.tally import Arrival
from tidegate.core.usage import UsageAsked, UsageLine
from tidegate.storage.facts import FactSums, facts
from tidegate.storage.listing import page
from tidegate.storage.opinions import Said
from tidegate.storage.rollups import Rollup, Rollups, answer
from tidegate.storage.rows import AGE, AGES, TABLES
from tidegate.storage.tallies import add, tally
from tidegate.storage.trials import TrialSums

MAX_ROWS = 100_000
MANY = 10_000  # counts, before those that no longer matter are looked for
HALF_SLICE = 1_000_000 * 2 // SLICES  # of a window of one second, in halves of a microsecond: a whole number


class MemoryStore:
    def __init__(self) -> None:
        self._once: dict[str, Once] = {}
        self._kept: dict[type[Any], dict[str | None, Any]] = {kind: {} for kind in TABLES}
        self._kept[Organisation][DEFAULT_ORGANISATION] = Organisation(DEFAULT_ORGANISATION, DEFAULT_ORGANISATION, 0)

    async def bearer(self, key_id: str) -> Bearer | None:
        key = self._kept[Key].get(key_id)
        if key is None:
            return None
        user = self._kept[User].get(key.user_id)
        team = self._kept[Team].get(key.team_id or (user.team_id if user else None))
        organisation = self._kept[Organisation].get(team.organisation_id if team else DEFAULT_ORGANISATION)
        return Bearer(key, user, team, organisation)

    async def find(self, kind: type[Kept], id: str) -> Kept | None:
        return self._kept[kind].get(id)

    async def every(self, kind: type[Kept]) -> list[Kept]:
        return sorted(self._kept[kind].values(), key=lambda one: getattr(one, AGES.get(kind, AGE)))

    async def newest(self, kind: type[Kept], after: str | None, most: int) -> list[Kept]:
        found = (await self.every(kind))[::-1]
        if after is not None:
            ids = [one.id for one in found]
            found = found[ids.index(after) + 1 :] if after in ids else []
        return found[:most]

    async def key_names(self, ids: Collection[str]) -> dict[str, str]:
        keys = self._kept[Key]
        return {id: keys[id].name for id in ids if id in keys}

    async def add(self, one: Anything) -> None:
        if one.id in self._kept[type(one)]:
            raise ValueError(f"there is a {type(one).__name__.lower()} {one.id!r} already")
        self._kept[type(one)][one.id] = one

    async def change(self, one: Kept, **fields: Any) -> Kept | None:
        now = self._kept[type(one)].get(one.id)
        if now is None or any(getattr(now, field) != getattr(one, field) for field in fields):
            return None
        changed: Kept = msgspec.structs.replace(now, **fields)
        self._kept[type(one)][one.id] = changed
        return changed

    async def note_used(self, at_ms: Mapping[str, int]) -> None:
        for id, at in at_ms.items():
            key = self._kept[Key].get(id)
            if key is not None and (key.last_used_ms or 0) < at:
                self._kept[Key][id] = msgspec.structs.replace(key, last_used_ms=at)

    async def begin_once(self, once: Once, now_ms: int) -> Once | None:
        there = self._once.get(once.id)
        if there is not None and there.until_ms > now_ms:
            return there
        self._once[once.id] = once
        return None

    async def end_once(self, once: Once) -> None:
        there = self._once.get(once.id)
        if there is None or there.holder != once.holder or there.done is not None:
            return
        if once.done is None:
            del self._once[once.id]
        else:
            self._once[once.id] = once

    async def forget_begun(self) -> int:
        begun = [id for id, once in self._once.items() if once.done is None]
        for id in begun:
            del self._once[id]
        return len(begun)

    async def aclose(self) -> None:
        pass


class MemoryLedger:
    """The sums are kept for ever, rows as many as `max_rows`, the newest. Nothing outlives the process."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._rows: dict[str, Closed] = {}
        self._forgotten = 0
        self._facts = FactSums()
        self._trials = TrialSums()
        self._said: dict[str, Said] = {}
        self._totals = Totals()
        self._rollups = Rollups()
        self._sums: dict[tuple[int, tuple[str, ...]], Rollup] = {}

    def append(self, record: Record) -> None:
        if not isinstance(record, Closed) or record.id in self._rows:
            return
        self._rows[record.id] = record
        self._totals = add(self._totals, tally(record))
        self._facts.add(facts([record], self._rollups))
        self._trials.add([record])
        for new in self._rollups.of([record]):
            old = self._sums.get((new.hour_ms, new.names))
            sums = tuple(map(int.__add__, old.sums, new.sums)) if old else new.sums
            self._sums[new.hour_ms, new.names] = new._replace(sums=sums)
        if len(self._rows) > self._max_rows:
            del self._rows[next(iter(self._rows))]
            self._forgotten += 1

    async def find(self, call_id: str) -> Closed | None:
        return self._rows.get(call_id)

    async def totals(self) -> Totals:
        return self._totals

    async def rows(self, user: str | None = None) -> AsyncIterator[Closed]:
        for row in list(self._rows.values()):
            if user in (None, row.user):
                yield row

    async def usage(self, asked: UsageAsked) -> list[UsageLine]:
        return answer(asked, self._sums.values())

    async def calls(self, asked: CallsAsked) -> CallsFound:
        return page(asked, enumerate(self._rows.values(), self._forgotten))

    async def taken(self, behind: int | None, most: int = 1000) -> CallsTaken:
        last = self._forgotten + len(self._rows)
        begin = last if behind is None else max(behind, self._forgotten)
        rows = list(islice(self._rows.values(), begin - self._forgotten, begin - self._forgotten + most))
        return CallsTaken(rows, begin + len(rows))

    async def times(self, asked: TimesAsked) -> list[TimesLine]:
        return self._facts.times(asked)

    async def people(self, asked: PeopleAsked) -> list[PeopleLine]:
        return self._facts.people(asked)

    async def opine(self, opinion: Opinion, of: Closed) -> None:
        self._said[opinion.id] = Said(opinion, of, b"")

    async def opinions(self, call_id: str) -> list[Opinion]:
        found = [said.opinion for said in self._said.values() if said.opinion.request_id == call_id]
        return sorted(found, key=lambda one: (one.at_ms, one.id))

    async def opined(self, asked: UsageAsked) -> list[UsageLine]:
        rollups = [said.rollup for said in self._said.values()]
        return answer(asked, rollups, OPINION_DIMENSIONS, OPINION_SUMS)

    async def units(self, experiment: str, behind: str = "") -> list[UnitLine]:
        said: dict[str, list[Said]] = {}
        for one in self._said.values():
            said.setdefault(one.opinion.request_id, []).append(one)
        return self._trials.units(experiment, behind, said)

    async def arrivals(self, experiment: str, parts: int) -> list[Arrival]:
        return self._trials.arrivals(experiment, parts)

    async def rename_units(self, units: Sequence[tuple[str, str, str]]) -> None:
        self._trials.rename(units)

    def backlog(self) -> Backlog:
        return Backlog()

    async def flush(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class Count:
    """What one meter has. Of a window: by slices, of which those that have left it go at the next look."""

    __slots__ = ("forget_us", "n", "slices")

    def __init__(self, *, sliced: bool) -> None:
        self.n = 0
        self.slices: dict[int, int] | None = {} if sliced else None  # in their order
        self.forget_us = 0  # 0: never, but for a count of nothing

    def move_on(self, slices: dict[int, int], first: int) -> None:
        while slices:
            oldest = next(iter(slices))
            if oldest >= first:
                return
            self.n -= slices.pop(oldest)

    def correct(self, at: int, difference: int) -> None:
        """What was charged in slice `at` was more or less; if that has left the window, it no longer matters."""
        if self.slices is not None:
            if at not in self.slices:
                return
            self.slices[at] += difference
        self.n += difference


class MemoryCounters:
    """One process counts alone; what it holds dies with it.

    What has run out is dropped when its name or its board is looked at, or when there are many.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, tuple[str, int]] = {}  # holder, until
        self._boards: dict[str, dict[str, tuple[bytes, int]]] = {}  # value, until
        self._places: dict[tuple[str, str], tuple[deque[bytes], int]] = {}  # what was left, until
        self._counts: dict[str, Count] = {}
        self._many = MANY
        self._holds: dict[str, int] = {}  # claims by house

    async def claim(self, claim: Claim, *, unasked: bool = False) -> Taken | Full:
        now_us = self._clock.now_ns() // 1000
        if len(self._counts) >= self._many:
            self._forget(now_us)
        counts: list[Count] = []
        used: list[int] = []
        slices: list[int] = []
        refused, longest = -1, 0.0
        for place, (meter, amount, _) in enumerate(claim.charges):
            count = self._counts.get(meter.name)
            if count is None:
                count = self._counts[meter.name] = Count(sliced=meter.per_s > 0)
            at = -1
            if count.slices is not None:
                at = 2 * now_us // (meter.per_s * HALF_SLICE)
                count.move_on(count.slices, at - SLICES)
            counts.append(count)
            used.append(count.n)
            slices.append(at)
            if count.n + amount > meter.most and not unasked:
                wait_s = _wait_s(count, meter, amount, now_us)
                if refused < 0 or wait_s > longest:
                    refused, longest = place, wait_s
        if refused >= 0:
            return Full(refused, tuple(used), None if longest == math.inf else longest)
        for place, (meter, amount, _) in enumerate(claim.charges):
            count, at = counts[place], slices[place]
            if count.slices is not None:
                count.slices[at] = count.slices.get(at, 0) + amount
                count.forget_us = now_us + (meter.per_s + meter.per_s // SLICES + 1) * 1_000_000
            elif meter.forget_s:
                count.forget_us = now_us + meter.forget_s * 1_000_000
            count.n += amount
            used[place] = count.n
        claim.slices = slices
        if claim.held:
            self._holds[claim.house] = self._holds.get(claim.house, 0) + 1
        return Taken(tuple(used))

    def settle(self, claim: Claim, truth: Sequence[int]) -> None:
        if claim.settled or not claim.slices:
            return
        claim.settled = True
        for charge, at, true in zip(claim.charges, claim.slices, truth, strict=True):
            count = self._counts.get(charge.meter.name)
            if count is not None and true != charge.amount:
                count.correct(at, true - charge.amount)
        if claim.held:
            self._holds[claim.house] -= 1

    def knows(self, meter: Meter, begins_ms: int) -> bool:
        return meter.name in self._counts

    async def raise_to(self, house: str, meter: Meter, amount: int) -> int:
        (used,) = (await self.claim(Claim("", house, [Charge(meter, 0, 0)]), unasked=True)).used
        missing = max(amount - used, 0)
        return (await self.claim(Claim("", house, [Charge(meter, missing, missing)]), unasked=True)).used[0]

    def drop(self, name: str) -> None:
        """Begin that count anew."""
        self._counts.pop(name, None)

    @property
    def standing_in(self) -> str | None:
        return None

    async def holds(self, house: str) -> int:
        return self._holds.get(house, 0)

    def _forget(self, now_us: int) -> None:
        """Drop what no longer matters; the next time is when there are twice as many as are left."""
        old = [name for name, count in self._counts.items() if not count.n or 0 < count.forget_us < now_us]
        for name in old:
            del self._counts[name]
        self._many = max(2 * len(self._counts), MANY)

    async def lease(self, name: str, holder: str, ttl_s: float) -> bool:
        now = self._clock.now_ns()
        has = self._leases.get(name)
        if has is not None and has[0] != holder and now < has[1]:
            return False
        self._leases[name] = (holder, now + round(ttl_s * 1e9))
        return True

    async def give_back(self, name: str, holder: str) -> None:
        if self._leases.get(name, ("", 0))[0] == holder:
            del self._leases[name]

    async def note(self, board: str, name: str, value: bytes | None, ttl_s: float) -> None:
        notes = self._boards.setdefault(board, {})
        if value is None:
            notes.pop(name, None)
        else:
            notes[name] = (value, self._clock.now_ns() + round(ttl_s * 1e9))

    async def notes(self, board: str) -> Mapping[str, bytes]:
        now = self._clock.now_ns()
        live = {name: note for name, note in self._boards.get(board, {}).items() if now < note[1]}
        self._boards[board] = live
        return {name: value for name, (value, _) in live.items()}

    @property
    def together(self) -> bool:
        return False

    async def recall(self, house: str, place: str) -> Sequence[bytes]:
        items, until = self._places.get((house, place), ((), 0))
        return list(items) if self._clock.now_ns() < until else []

    def remember(self, house: str, place: str, item: bytes, most: int, ttl_s: float) -> None:
        now, (items, until) = self._clock.now_ns(), self._places.pop((house, place), (deque[bytes](), 0))
        items = deque(items if now < until else (), most)
        items.append(item)
        self._places[house, place] = (items, now + round(ttl_s * 1e9))
        while len(self._places) > MANY:
            del self._places[next(iter(self._places))]

    def rewrite(self, house: str, place: str, item: bytes, by: bytes) -> None:
        items, _ = self._places.get((house, place), (deque[bytes](), 0))
        if item in items:
            items.remove(item)
            items.append(by)

    async def aclose(self) -> None:
        """Nothing to give back."""


def _wait_s(count: Count, meter: Meter, amount: int, now_us: int) -> float:
    """Until the window has room for `amount`; infinite where that is not known, or never."""
    if count.slices is None or amount > meter.most:
        return math.inf
    needed = count.n + amount - meter.most
    for at, charged in count.slices.items():
        needed -= charged
        if needed <= 0:
            return (-(-(at + SLICES + 1) * meter.per_s * HALF_SLICE // 2) - now_us) / 1e6
    return math.inf
