"""What did every call cost? Rows that are only added, and what they sum to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import msgspec

from tidegate.core.analytics import PeopleAsked, PeopleLine, TimesAsked, TimesLine
from tidegate.core.experiments import Assigned, UnitLine
from tidegate.core.guard import Verdict
from tidegate.core.opinions import Opinion
from tidegate.core.search import CallsAsked, Place
from tidegate.core.tally import Arrival
from tidegate.core.tiers import Chosen
from tidegate.core.usage import UsageAsked, UsageLine


class ShrunkRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A prompt that was to be made cheaper, and what became of it."""

    level: str | None = None  # of making it shorter: lossless | relevant
    before: int = 0  # tokens, by estimate
    after: int = 0
    trimmed: bool = False  # its oldest turns went out as a summary
    marked: int = 0  # parts that its provider was told to keep
    kept_saved_nusd: int = 0  # by what it had kept; below 0, where that is only written so far


class AttemptRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One attempt, as the ledger keeps it. Times are microseconds since the call came in."""

    provider: str
    model: str
    outcome: str  # ok | refused | limited | failed | timeout | cut_off | abandoned
    sent_us: int
    ended_us: int
    first_us: int | None = None
    status: int | None = None
    said: str | None = None  # why it failed, cleaned of keys
    why: str = "first"  # it was made: first | again | key | next | fallback | longer | content_policy | hedge
    usage: dict[str, int] = {}
    usage_estimated: bool = False
    price: dict[str, Any] | None = None  # the price it was computed with: rates used and their source
    cost_nusd: int | None = 0  # None: the price is not known


class Opened(msgspec.Struct, frozen=True, tag="opened", tag_field="record", omit_defaults=True, gc=False):
    """Spooled before the first byte of a call goes upstream."""

    id: str
    at_ms: int
    key_id: str
    dialect: str
    operation: str
    route: str
    model: str
    stream: bool = False
    user: str | None = None
    session: str | None = None
    tags: tuple[str, ...] = ()
    kind: str = "live"
    organisation_id: str | None = None
    team_id: str | None = None
    user_id: str | None = None  # whom the key belongs to; `user` is whom the client named
    reserved_nusd: int = 0  # of a budget, for the most that it could cost
    arms: tuple[Assigned, ...] = ()  # what it got of experiments


class Closed(msgspec.Struct, frozen=True, tag="closed", tag_field="record", omit_defaults=True, gc=False):
    """The end of a call, and its row. Spooled before the last event is released."""

    id: str
    at_ms: int
    key_id: str
    dialect: str
    operation: str
    outcome: str  # ok | refused | failed | cut_off | client_left | interrupted
    status: int  # as the client saw it; 499 when it had left before a status was sent
    duration_us: int
    overhead_us: int
    route: str | None = None
    model: str | None = None  # as the client asked
    target: str | None = None  # provider/model that answered
    stream: bool = False
    first_us: int | None = None
    error: str | None = None  # code
    attempts: tuple[AttemptRow, ...] = ()
    passed_over: tuple[str, ...] = ()  # targets that were not asked, and why
    usage: dict[str, int] = {}
    usage_estimated: bool = False
    cost_nusd: int | None = 0  # the sum over attempts; None when a price is not known
    at_most_nusd: int | None = None  # of one that was interrupted: what had been reserved for it
    user: str | None = None
    session: str | None = None
    tags: tuple[str, ...] = ()
    kind: str = "live"
    organisation_id: str | None = None
    team_id: str | None = None
    user_id: str | None = None
    prompt: str | None = None  # name and version
    cache: str | None = None  # what the cache did: hit | miss | shared | bypass; None: it was not asked
    cache_layer: str | None = None  # exact | in_flight | idempotent | semantic
    saved_nusd: int = 0  # what a hit, or what was shared, cost when it was bought
    deduplicated: bool = False  # somebody else asked the same at the same time, and paid
    guards: tuple[Verdict, ...] = ()  # of those that have looked
    trace_id: str | None = None  # that the client sent; otherwise the call's own id is its name
    parent_id: str | None = None
    purpose: str | None = None  # of a call of our own: what it was for, and for which call
    parent: str | None = None
    asked_again: bool = False  # in its session, nearly what the call before it had asked
    arms: tuple[Assigned, ...] = ()  # what it got of experiments
    rendered: str | None = None  # the hash of the prompt's version, and a digest of its variables: 1f2e3d4c/9a8b7c6d…
    shrunk: ShrunkRow | None = None  # where its route wants prompts cheaper
    chosen: Chosen | None = None  # which tier of the route was asked first, and why
    personal: bytes | None = None  # as it is kept: what of it is about a person, sealed; `user` is an alias then


class Acted(msgspec.Struct, frozen=True, tag="acted", tag_field="record", omit_defaults=True, gc=False):
    """Something that somebody did who runs Tidegate: for the audit log."""

    id: str
    at_ms: int
    did: str  # key_created, subject_erased, …
    of: str  # the id of what it was done to
    by: str  # a key's id, or cli:NAME of who is on the machine
    name: str = ""  # of the key
    before: Any = None  # what it was: JSON values
    after: Any = None
    sealed: bytes | None = None  # as it is kept: the last three, where names are not to be read


Record = Opened | Closed | Acted


class Ledger(Protocol):
    """What every call cost, append-only.

    What was done by who runs Tidegate goes the same way, into the audit log where there is one.

    `append` returns when the record outlives this process (kill -9), and is cheap enough for the event loop. Rows come
    to `find` and `totals` at once, to the store a moment later, each exactly once.
    """

    def append(self, record: Record) -> None:
        """Raises StorageFull; then nothing was written."""

    async def find(self, call_id: str) -> Closed | None: ...

    async def totals(self) -> Totals: ...

    def rows(self, user: str | None = None) -> AsyncIterator[Closed]:
        """All rows, oldest first, or all of an end user, by the alias that the vault gives: for exports and tests."""

    async def usage(self, asked: UsageAsked) -> list[UsageLine]:
        """Sums by hour, day or month. What was appended before is in them."""

    async def calls(self, asked: CallsAsked) -> CallsFound:
        """A page of rows, newest first. What was appended before is in it."""

    async def taken(self, behind: int | None, most: int = 1000) -> CallsTaken:
        """Rows in the order in which they came to the store, behind that place; None: none but the newest's place.

        Of two processes that write at once the later place may be seen first.
        """

    async def times(self, asked: TimesAsked) -> list[TimesLine]:
        """How long answers took, by buckets. What was appended before is in it; so with `people`."""

    async def people(self, asked: PeopleAsked) -> list[PeopleLine]: ...

    async def opine(self, opinion: Opinion, of: Closed) -> None:
        """Keep what is said of a call; of the same id, the last."""

    async def opinions(self, call_id: str) -> list[Opinion]:
        """What was said of a call, oldest first."""

    async def opined(self, asked: UsageAsked) -> list[UsageLine]:
        """Sums of opinions by OPINION_DIMENSIONS, as `usage` has them of calls: OPINION_SUMS."""

    async def units(self, experiment: str, behind: str = "") -> list[UnitLine]:
        """What was seen of an experiment, by its id: stage by stage a line for each unit that counts, of some thousand
        units, in the order of what they are called. The next ones are `behind` the last; none when all were there.

        What was appended before the first were asked for is in it, and what was said of calls since.
        """

    async def arrivals(self, experiment: str, parts: int) -> list[Arrival]:
        """In the order in which those lines came, where each of so many parts ends, each with as many; but the last."""

    async def rename_units(self, units: Sequence[tuple[str, str, str]]) -> None:
        """(experiment, unit, instead): what a unit is called from now on, as if it had never been called otherwise."""

    def backlog(self) -> Backlog: ...

    async def flush(self) -> None:
        """Return when everything appended so far is in the store."""

    async def aclose(self) -> None: ...


class Backlog(msgspec.Struct, frozen=True):
    """What the store has not got yet."""

    rows: int = 0
    bytes: int = 0  # of the spool
    lost: int = 0  # rows that could not be read again, since the start


class CallsFound(msgspec.Struct, frozen=True):
    rows: list[Closed]
    reached: Place | None  # the next page begins behind it, and may be the first that has any; None: nothing more


class CallsTaken(msgspec.Struct, frozen=True):
    rows: list[Closed]
    seq: int  # the place of the last


class Totals(msgspec.Struct, frozen=True):
    """Sums over all closed rows."""

    calls: int = 0
    errors: int = 0  # outcomes other than ok and client_left
    cost_nusd: int = 0
    unpriced: int = 0  # calls whose cost is not known
    tokens: int = 0
