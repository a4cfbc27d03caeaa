"""Which tier answered what question how well? What routes with tiers learn from, kept for all processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from tidegate.core.ports.meaning import Vector
from tidegate.core.ports.sealed import Subject

Source = Literal["said", "judge", "shadow", "cascade"]  # who says so: of `said`, users and agents


class Lesson(msgspec.Struct, frozen=True, array_like=True):
    """One answer of one tier, and what it was worth."""

    call: str
    at_ms: int
    until_ms: int  # it is kept so long
    tenant: str
    user: str | None
    route: str
    tiers: tuple[str, ...]  # that the route had then, cheapest first
    tier: str
    good: float  # 0 to 1
    source: Source
    share: float  # of such answers so many are looked at, by lot; 0: whoever wanted to said so
    served: bool  # to the client, and not in the background
    made_by: str  # the vector and the looks: those of different makers are never compared
    vector: Vector
    look: bytes  # float32, little-endian
    hard: float

    @property
    def id(self) -> str:
        """Who says something of the same answer again says it anew."""
        return f"{self.call} {self.tier} {self.source}"


class Heard(msgspec.Struct, frozen=True):
    """A row of what is kept: a lesson, or, without one, that those of its subject have gone."""

    seq: int
    subject: str  # an alias; "": nobody in particular
    lesson: Lesson | None


class Lessons(Protocol):
    """Sealed, each for as long as its route says. Raises StoreDown."""

    async def add(self, lessons: Sequence[Lesson]) -> Sequence[tuple[int, str]]:
        """One that has the id of another takes its place. Of each its number, and the alias of whose it is."""

    async def after(self, seq: int, most: int) -> Sequence[Heard]:
        """The next rows in the order in which they were written. Of two processes that write at once the later may be
        seen first."""

    async def of(self, subject: str) -> Sequence[Lesson]: ...

    async def forget_of(self, subject: Subject) -> int:
        """Delete all of an end user, and say so to whoever asks for what came after. How many there were."""

    async def forget(self, before_ms: int, most: int) -> int:
        """Delete some whose time was over by then, 0 when none is left."""
