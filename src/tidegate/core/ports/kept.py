"""What was said, where a route keeps it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call's question and answer, as they went out to a provider and came back: masked, where guards mask."""

    id: str  # of the call
    at_ms: int
    until_ms: int  # it is kept so long
    tenant: str
    user: str | None
    team: str | None
    key_id: str
    dialect: str
    request: bytes | None = None
    reply_dialect: str | None = None
    reply: bytes | None = None
    whole: bool = True  # neither cut off, nor longer than is kept


class Bodies(Protocol):
    """Questions and answers, sealed, each for as long as its route says."""

    def put(self, body: Body) -> None:
        """Soon kept, by a task of its own. What is too much to wait is dropped, and that is told."""

    async def find(self, id: str) -> Body | None:
        """Raises Erased, ValueError, StoreDown."""

    async def of(self, subject: str) -> Sequence[Body]: ...

    async def forget_of(self, subject: str) -> int:
        """Delete all of an end user. How many there were."""

    async def forget(self, before_ms: int, most: int) -> int:
        """Delete some whose time was over by then, 0 when none is left."""

    async def flush(self) -> None:
        """Return when what was put so far is kept."""
