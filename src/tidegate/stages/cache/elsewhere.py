"""Is another process buying this just now? Then one flight here reads along for all who ask here.

Whoever buys holds the question until its answer is kept. When somebody elsewhere wants to read along, a reader of that
flight tells what comes, from its beginning: it stands in the table as anybody who asks here does, so nobody's leaving
ends the flight for it. A question that is held by a process that has died is free within seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from tidegate.core.call import Call, Event, ReplyHead
from tidegate.core.errors import StoreDown, TidegateError
from tidegate.core.flight import Reader
from tidegate.core.ports import Blobs, Codecs, Relay, Vault
from tidegate.core.shared import SharedFlight, Table
from tidegate.core.world import World
from tidegate.stages.cache.live import Begin, End, Live, Part, Refused, Said, sealed, unsealed

LEASE_S = 4.0
RENEW_S = 1.0
LOOK_S = (0.005, 0.05)  # how often to look for what others buy, at first and later
WANTED_S = 0.02  # how often to look whether others want what is bought here; whoever takes a question hears it, too


class Elsewhere:
    """Of one process: what it buys that others may read along."""

    def __init__(self, world: World, relay: Relay, blobs: Blobs, vault: Vault, table: Table) -> None:
        self.world = world
        self.relay = relay
        self.blobs = blobs
        self.vault = vault
        self.table = table
        self._process = world.chance.hex()
        self._leading: dict[bytes, Lease] = {}
        self._watching = False
        self._heard_ns = 0

    def lease(self, key: bytes, call: Call, *, kept: bool) -> Lease:
        """`kept`: the answer is kept under its key when it is complete."""
        return Lease(self, key, f"{self._process}/{call.id}", call, kept=kept)

    def leads(self, lease: Lease) -> None:
        self._leading[lease.key] = lease
        if not self._watching:
            self._watching = True
            self.world.nursery.spawn(self._watch(), "what others want")

    def left(self, lease: Lease) -> None:
        if self._leading.get(lease.key) is lease:
            del self._leading[lease.key]

    async def _watch(self) -> None:
        """One question for all that is bought here, while anything is."""
        try:
            while self._leading:
                with suppress(StoreDown):
                    if self.world.clock.now_ns() >= self._heard_ns + WANTED_S * 1e9:
                        self.heard(await self.relay.wanted(self._process))
                    await self._renew()
                await self.world.clock.sleep(WANTED_S)
        finally:
            self._watching = False

    def heard(self, wanted: Sequence[bytes]) -> None:
        self._heard_ns = self.world.clock.now_ns()
        for key in wanted:
            self._wanted(key)

    async def _renew(self) -> None:
        """What takes longer than most is still held."""
        now_ns = self.world.clock.now_ns()
        old = [lease for lease in self._leading.values() if now_ns >= lease.held_ns + RENEW_S * 1e9]
        for lease in old:
            lease.held_ns = now_ns
        await asyncio.gather(*[self.relay.renew(lease.key, lease.me, LEASE_S) for lease in old])

    def _wanted(self, key: bytes) -> None:
        lease, flight = self._leading.get(key), self.table.get(key)
        if lease is None or lease.telling:
            return
        if flight is not None and flight is lease.flight:
            lease.telling = True
            self.world.nursery.spawn(self._tell(lease, flight, flight.follow(_unheard)), f"tell {lease.me}")
        elif lease.flight is not None and not lease.flight.whole:
            self.world.nursery.spawn(self._refuse(lease), f"refuse {lease.me}")

    async def _tell(self, lease: Lease, flight: SharedFlight, reader: Reader) -> None:
        """What comes, to the others, until it ends or nobody reads it any more."""
        try:
            parts: list[Part] = [Begin.of(await reader.opened(), flight.call.operation, flight.form)]
            async for events in reader:
                last = events[-1] if events[-1].last else None
                parts.append(Said(b"".join([event.raw for event in events])))
                if last is not None:
                    parts.append(End.of(last, flight.call))
                if not await self.relay.tell(lease.key, lease.me, sealed(parts, self.vault)) and last is None:
                    break
                parts = []
        except TidegateError:
            pass  # it failed before its first word, or the server is away: they see for themselves
        finally:
            reader.leave()
            lease.told()

    async def _refuse(self, lease: Lease) -> None:
        """It is too long to be told from its beginning."""
        with suppress(StoreDown):
            await self.relay.tell(lease.key, lease.me, sealed([Refused()], self.vault))


class Lease:
    """On buying the answer to one question. Whoever has asked for it gives it back, whatever has been heard."""

    __slots__ = (
        "_call",
        "_elsewhere",
        "_holder",
        "_kept",
        "_over",
        "flight",
        "held_ns",
        "key",
        "me",
        "ours",
        "telling",
        "unfit",
    )

    def __init__(self, elsewhere: Elsewhere, key: bytes, me: str, call: Call, *, kept: bool) -> None:
        self._elsewhere = elsewhere
        self._call = call
        self._kept = kept
        self._over = False
        self._holder: str | None = None  # as it was answered last; None: that is no longer known
        self.unfit: bytes | None = None  # what is kept, and of no use to who asks
        self.key = key
        self.me = me
        self.flight: SharedFlight | None = None  # that buys
        self.ours = False  # as far as we know
        self.telling = False
        self.held_ns = 0  # when it was taken, or renewed

    async def look(self) -> bytes | None:
        """What is kept. None: nothing, and it is taken in the same breath, if it is free. Raises StoreDown."""
        return await self._ask(look=True)

    async def _ask(self, *, look: bool) -> bytes | None:
        self.held_ns = self._elsewhere.world.clock.now_ns()
        self.ours = True  # it may be from here on, though nobody waits for the answer
        holder, stored, wanted = await self._elsewhere.relay.take(self.key, self.me, LEASE_S, look=look)
        self._holder, self.ours = holder or None, holder == self.me
        self._elsewhere.heard(wanted)
        return stored if self._kept and stored != self.unfit else None

    async def take(self, codecs: Codecs) -> bytes | Live | None:
        """The answer of another process as it was stored, or as it comes; None: buy it, it is ours or nobody's."""
        until_ns, clock = self._call.deadline_ns, self._elsewhere.world.clock
        while clock.now_ns() < until_ns:
            try:
                stored = await self._ask(look=False) if self._holder is None else None
                if stored is not None:
                    return stored
                if self.ours:
                    self._elsewhere.leads(self)
                    return None
                assert self._holder is not None
                holder, self._holder = self._holder, None
                parts = await self._heard(holder)
            except StoreDown:
                return None
            if parts:
                return self._along(holder, parts, codecs)
        return None

    def _along(self, holder: str, parts: Sequence[bytes], codecs: Codecs) -> Live | None:
        one = self._elsewhere
        try:
            if isinstance(unsealed(parts[:1], one.vault)[0], Refused):
                return None
            place = (self.key, holder)
            return Live(one.world, one.relay, one.vault, codecs, parts, place, self._call.deadline_ns)
        except ValueError as wrong:
            one.world.events.notice("cache_entry_corrupt", {"request_id": self._call.id, "error": str(wrong)})
            return None

    async def _heard(self, holder: str) -> Sequence[bytes]:
        """Its first words; none: it holds the question no more, and has said nothing."""
        elsewhere, wait_s = self._elsewhere, LOOK_S[0]
        clock, until_ns = elsewhere.world.clock, self._call.deadline_ns
        while clock.now_ns() < until_ns:
            held, parts = await elsewhere.relay.read(self.key, holder, 0)
            if parts or not held:
                return parts
            await clock.sleep(wait_s)
            wait_s = min(2 * wait_s, LOOK_S[1])
        return ()

    def give_back(self) -> None:
        """The flight has landed, or there is none. Who reads along is told the end first."""
        self._over = True
        if not self.telling:
            self._free()

    def told(self) -> None:
        self.telling = False
        if self._over:
            self._free()

    def _free(self) -> None:
        self._elsewhere.left(self)
        if self.ours:
            self.ours = False
            self._elsewhere.relay.give_back(self.key, self.me)


def _unheard(last: Event) -> None:
    """Those who read along have rows of their own, where they are."""


class Stored:
    """A reply that lies there already, as a source."""

    def __init__(self, head: ReplyHead, events: list[Event]) -> None:
        self.head = head
        self._events = events

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        push(self._events)

    def pause(self) -> None:
        """It is here already."""

    def resume(self) -> None:
        """It is here already."""
