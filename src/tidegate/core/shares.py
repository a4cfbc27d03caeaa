"""How much of what may be used is used? Of organisations, teams and routes, as their last call saw it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

SEEN = ("organisation", "team", "route")  # of users and keys there is no bound, and they are people
MOST = 200


class What(NamedTuple):
    """A limit or a budget."""

    whose: str  # organisation | team | route
    id: str
    name: str
    of: str  # requests, tokens, …; of money, the period: day, week, month, total


class Share:
    """Whoever counts a call writes here what it has heard."""

    __slots__ = ("ends_ms", "most", "until_ms", "used")

    def __init__(self) -> None:
        self.used = self.most = 0
        self.until_ms = 0  # since 1970: nothing is used any more after that, if nobody comes
        self.ends_ms: int | None = None  # of money: when its period is over


class Shares:
    def __init__(self) -> None:
        self._shares: dict[What, Share] = {}

    def of(self, what: What) -> Share | None:
        """None for one that is not seen."""
        if what.whose not in SEEN:
            return None
        if what not in self._shares and len(self._shares) >= MOST:
            return None
        return self._shares.setdefault(what, Share())

    def now(self, now_ms: int) -> Iterator[tuple[What, Share, int]]:
        """Each that was asked for, and how much of it is used."""
        for what, share in self._shares.items():
            if share.most:
                yield what, share, share.used if now_ms < share.until_ms else 0
