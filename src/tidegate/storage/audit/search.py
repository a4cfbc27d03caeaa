"""Who did what, and when? Entries that fit, the newest first, over as many as one answer may look at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tidegate.core.audit import Link
from tidegate.storage.audit.log import PAGE, Log

MOST_LOOKED = 10_000  # of one answer: some 100 ms, beside the event loop
_FIELDS = msgspec.json.Decoder(dict[str, Any])


class Wanted(NamedTuple):
    """Empty ones ask for nothing.

    who: a key's id, the name of who did it, or the end user of a call, as the entry has it: of sealed ones the alias.
    what: a part of what was done, such as prompt_ or rolled_back; `call` and `act` are all of these.
    of: a part of what it was done to: an act's object, a call's id, route or target.
    """

    who: str = ""
    what: str = ""
    of: str = ""
    since_ms: int = 0

    @property
    def is_everything(self) -> bool:
        return not (self.who or self.what or self.of)


class Found(NamedTuple):
    links: Sequence[Link]
    last: Link | None  # that was looked at; None: there are no more
    looked: int


async def search(log: Log, wanted: Wanted, before_ms: int, before_id: str, limit: int) -> Found:
    """Raises StoreDown."""
    found: list[Link] = []
    looked, most = 0, limit if wanted.is_everything else PAGE
    while looked < MOST_LOOKED:
        page = await log.latest(before_ms, before_id, most)
        inside = [link for link in page if link.at_ms >= wanted.since_ms]
        fitting = inside if wanted.is_everything else await asyncio.to_thread(_fitting, inside, wanted)
        room = limit - len(found)
        found += fitting[:room]
        if len(fitting) >= room:  # there may be more right behind the last one
            return Found(found, found[-1], looked + len(inside))
        looked += len(inside)
        if len(inside) < most:
            return Found(found, None, looked)
        before_ms, before_id = page[-1].at_ms, page[-1].id
    return Found(found, page[-1], looked)


def _fitting(links: Sequence[Link], wanted: Wanted) -> list[Link]:
    return [link for link in links if link.entry and fits(_FIELDS.decode(link.entry), wanted)]


def fits(entry: dict[str, Any], wanted: Wanted) -> bool:
    return _is_by(entry, wanted.who) and _is_what(entry, wanted.what) and _is_of(entry, wanted.of)


def _is_by(entry: dict[str, Any], who: str) -> bool:
    exact = (entry.get(name) for name in ("by", "key", "user", "user_id", "team_id"))
    return not who or who in exact or who.lower() in str(entry.get("name", "")).lower()


def _is_what(entry: dict[str, Any], what: str) -> bool:
    if not what or entry.get("kind") == what:
        return True
    return any(what in str(entry.get(name, "")) for name in ("did", "operation", "outcome", "error"))


def _is_of(entry: dict[str, Any], of: str) -> bool:
    return not of or any(of in str(entry.get(name, "")) for name in ("of", "id", "route", "target"))
