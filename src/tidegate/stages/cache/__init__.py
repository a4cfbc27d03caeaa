"""Was it asked before? Then it is not bought again: the very same call, the same question, or one that is in the air.

through: idempotent · exact · in flight ─► a flight of its own
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tidegate.core.call import Call, Reply
from tidegate.core.errors import NotFound, ShuttingDown, StoreDown
from tidegate.core.flight import Buy, Flight
from tidegate.core.ports import Blobs, Closed, Codecs, Vault
from tidegate.core.shared import Table
from tidegate.core.world import World
from tidegate.stages.cache import idempotent
from tidegate.stages.cache.elsewhere import Elsewhere
from tidegate.stages.cache.keys import Questions
from tidegate.stages.cache.passage import Passage
from tidegate.stages.cache.policy import Config as Config
from tidegate.stages.cache.policy import House as House
from tidegate.stages.cache.policy import Policy, kept_as, plain
from tidegate.stages.cache.policy import house_trouble as house_trouble
from tidegate.stages.cache.policy import policies as policies
from tidegate.stages.cache.policy import trouble as trouble

if TYPE_CHECKING:
    from tidegate.stages.cache.meaning import Hit, Meanings

DOUBTFUL = (0.25, 0.75)  # between these a score says neither


class Rows(Protocol):
    """Who writes the row of a call."""

    def landed(self, flight: Flight) -> None: ...

    def close(self, call: Call, outcome: str, status: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Shelf:
    """What stays when the configuration changes."""

    blobs: Blobs
    vault: Vault  # of blobs: in this process alone there is nothing to seal
    outcomes: Vault  # of calls that are made once
    elsewhere: Elsewhere | None = None  # None: there are no other processes
    meanings: Meanings | None = None  # None: no route compares by meaning
    table: Table = field(default_factory=dict)  # flights that can be joined
    questions: Questions = field(default_factory=Questions)


class Cache:
    def __init__(self, world: World, shelf: Shelf, codecs: Codecs, rows: Rows, policies: Mapping[str, Policy]) -> None:
        self.world = world
        self.shelf = shelf
        self.codecs = codecs
        self.rows = rows
        self._policies = policies

    @property
    def meanings(self) -> Meanings | None:
        return self.shelf.meanings

    def through(self, call: Call, buy: Buy) -> AbstractAsyncContextManager[Reply]:
        """`async with cache.through(call, buy) as reply`: what was bought before, or is being bought, or a purchase."""
        policy = self._policy(call) if self._policies or call.wishes.use_cache else None
        if call.is_bought:
            policy = None  # by nobody else
        if policy is None and (call.wishes.idempotency_key is None or not idempotent.is_paid(call)):
            self.check_open()
            call.flight = flight = Flight(self.world, buy, call, self.rows.landed)
            return flight.board()
        return Passage(self, call, buy, policy)

    def _policy(self, call: Call) -> Policy | None:
        assert call.route is not None
        policy = self._policies.get(call.route.policy)
        if policy is None and not call.wishes.use_cache:
            return None
        if call.asked is None or call.asked.codec.metering != "tokens":
            return None
        if call.wishes.use_cache and (policy is None or not policy.exact):
            return plain(call.route)
        return policy

    def check_open(self) -> None:
        """Before anything is bought. Raises ShuttingDown."""
        if self.world.closing.is_set():
            raise ShuttingDown("Tidegate is shutting down; try again in a moment", retry_after_s=1)

    async def hit(self, id: str) -> Hit | None:
        """What is remembered of a call that was answered by meaning. Raises StoreDown."""
        return await self.meanings.hit(id) if self.meanings is not None else None

    async def wrong(self, hit: str) -> None:
        """What the call `hit` was given, by meaning, is wrong: not given again, and learned from. Raises NotFound."""
        if self.meanings is None:
            raise NotFound("no route has a semantic cache")
        self.shelf.blobs.put(await self.meanings.wrong(hit), b"", 0.001)

    async def judged(self, row: Closed, score: float, source: str) -> None:
        """Somebody says what an answer was worth: of a semantic hit, that is a label, where it is said clearly."""
        if self.meanings is None or row.cache_layer != "semantic" or DOUBTFUL[0] < score < DOUBTFUL[1]:
            return
        with suppress(StoreDown):  # what was said is kept in any case
            entry = await self.meanings.judged(row.id, right=score >= DOUBTFUL[1], source=source)
            if entry is not None and score <= DOUBTFUL[0]:
                self.shelf.blobs.put(entry, b"", 0.001)

    async def purge(self, tag: str | None) -> tuple[int, int]:
        """Drop what has `tag` (route:…, tag:…, prompt:…, team:…), or all: answers, and questions that are compared by
        meaning, each with its own. Raises StoreDown."""
        meanings = self.shelf.meanings
        tag = kept_as(tag, self.shelf.outcomes) if tag is not None else None
        return await self.shelf.blobs.purge(tag), await meanings.purge(tag) if meanings is not None else 0
