"""What does a database owe the ledger? Rows taken once each, their sums, and how far each spool has been read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tidegate.core.analytics import PeopleAsked, PeopleLine, TimesAsked, TimesLine
from tidegate.core.experiments import UnitLine
from tidegate.core.ports import Acted, Closed, Store, Totals
from tidegate.core.search import CallsAsked, Place
from tidegate.core.tally import Arrival
from tidegate.core.usage import UsageAsked, UsageLine
from tidegate.storage.audit.log import Log
from tidegate.storage.opinions import Said
from tidegate.storage.tables import Tables

Notice = Callable[[str, Mapping[str, Any]], None]


class Position(NamedTuple):
    """How far a spool has been read: behind this byte of this segment."""

    segment: int
    byte: int


class Row(NamedTuple):
    closed: Closed  # with aliases for names, where the vault seals
    sealed: bytes  # the same, as it is stored


class Books(Protocol):
    """The half of the ledger that is a database. Raises StoreDown.

    `account` and `take` are called from a thread and may block; the others are called from the event loop.
    """

    patience_s: float  # that a row waits for others, so that they are taken together

    def account(self, spool: str) -> tuple[Position, Totals]:
        """How far this spool has been read, and what came from it sums to; from its beginning if it is new."""

    def take(self, spool: str, rows: Sequence[Row], position: Position, said: Sequence[Closed | Acted] = ()) -> Totals:
        """Store those whose id is new, the sums and the position, all or nothing. Returns what the new ones sum to.

        `said`: these and what administrators did, for the audit log; what is new of it is chained there.
        """

    async def totals(self, besides: str) -> Totals:
        """The sums over all spools but this one."""

    async def find(self, call_id: str) -> bytes | None:
        """The row as it was sealed."""

    async def after(self, seq: int, most: int, user: str | None = None) -> list[tuple[int, str, bytes]]:
        """The next rows, or an end user's, in the order in which they were taken, each with its number and id."""

    async def times(self, asked: TimesAsked) -> list[TimesLine]: ...

    async def people(self, asked: PeopleAsked) -> list[PeopleLine]: ...

    async def opine(self, said: Said) -> None: ...

    async def opinions(self, call_id: str) -> list[bytes]:
        """As they were sealed, oldest first."""

    async def opined(self, asked: UsageAsked) -> list[UsageLine]: ...

    async def units(self, experiment: str, behind: str = "") -> list[UnitLine]: ...

    async def arrivals(self, experiment: str, parts: int) -> list[Arrival]: ...

    async def rename_units(self, units: Sequence[tuple[str, str, str]]) -> None: ...

    async def last(self) -> int:
        """The number of the row that was taken last; 0 when there is none."""

    async def usage(self, asked: UsageAsked) -> list[UsageLine]:
        """Answered from sums that `take` brings up to date in its transaction."""

    async def calls(self, asked: CallsAsked) -> tuple[list[tuple[str, bytes]], Place | None]:
        """The rows of a page as they were sealed, and behind which the next one begins."""

    async def forget_trials(self, before_ms: int, most: int) -> int:
        """Delete what calls that began before then were to experiments that are archived: some of them."""

    async def fold(self, before_ms: int) -> bool:
        """Add up one whole day that ended before then and is not yet; False: there is none left."""

    async def forget(self, before_ms: int, most: int) -> int:
        """Delete rows of calls that began before then, and no sums: some of them, 0 when there is nothing left to do.

        Meant to be called again and again, so that no step is long.
        """


class Home(Store, Protocol):
    """A store that keeps the books too, in the same database. Close the ledger before it."""

    @property
    def books(self) -> Books: ...

    @property
    def log(self) -> Log:
        """The audit log."""

    @property
    def tables(self) -> Tables: ...
