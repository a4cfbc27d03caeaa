"""What is told to whoever listens, and what can be seen of a target?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tidegate.core.ports.books import Closed

if TYPE_CHECKING:
    from tidegate.core.call import Call


class TargetSeen(msgspec.Struct, frozen=True):
    """How a target is doing, for people and metrics. Times are milliseconds since 1970."""

    target: str
    state: str  # closed: it is asked | open: it is set aside | half_open: one call tries it
    forced: bool  # by an admin
    why: str | None
    since_ms: int
    next_probe_ms: int | None
    busy: int  # calls under way
    waiting: int  # for one of them to end
    shed: int  # sent on at once, since the start
    first_token_ms: float | None  # lately
    waits: int = 0  # calls that have waited, since the start
    waited_s: float = 0.0  # all of them together


class Events(Protocol):
    """What happened, for whoever listens (logs, metrics). Must not raise, block, or take long."""

    def call_began(self, call: Call) -> None: ...

    def call_ended(self, call: Call, row: Closed | None) -> None:
        """Once per call. `row` is None when no key was known, so that nobody could be charged."""

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        """Something that an operator should know of, once: name is a few words, snake_case."""
