"""Who takes lines to a provider's own batch, and brings back what came of them? One courier beside each worker.

Lines that are handed over are gathered by batch and model, put into a parcel, sent, and looked after until the provider
has done with them. What it has answered is given to the worker, line by line; what it has not is asked by us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import cast

import msgspec
from msgspec.structs import replace

from tidegate.core.call import Target
from tidegate.core.errors import StoreDown
from tidegate.core.money import Price
from tidegate.core.parcels import HOME, HandedOver, Parcel, Parceled, Terms
from tidegate.core.ports import Batches, Provider, TakesBatches
from tidegate.core.ports.batches import Batch, Fate, Line
from tidegate.core.world import World
from tidegate.jobs.batches.vendors import Entry, Result, Seen, Trouble, Vendor, Vendors

LEASE_MS = 900_000  # no parcel is sent, or unpacked, for longer
LEAST_LOOK_S, LONGEST_LOOK_S = 1.0, 300.0  # between two looks, unless the first is to be later
TRIES = 4  # to send one that was refused for now
TOGETHER = 50  # lines that are brought at once

Bring = Callable[[Line, str, Target, bytes], Awaitable[Fate]]  # line, id of the call, who answered, what came


class Gathering(msgspec.Struct):
    """What goes with the next parcel for one model."""

    batch: Batch
    provider: TakesBatches
    model: str
    price: Price
    entries: list[tuple[Line, str, HandedOver]] = []
    size: int = 0


class Courier:
    def __init__(self, world: World, store: Batches, holder: str, bring: Bring) -> None:
        self._world = world
        self._store = store
        self._holder = holder
        self._bring = bring
        self._vendors = Vendors(world.transport)
        self._gathered: dict[tuple[str, str, str, str], Gathering] = {}
        self._held: dict[str, dict[int, Callable[[], None]]] = {}  # by parcel: what is set aside for its lines
        self._not_ours: dict[str, set[str]] = {}  # by parcel: what was taken for it, and is another's
        self._busy: set[str] = set()  # parcels that somebody here is at
        self._known: dict[str, TakesBatches] = {}  # providers with parcels, also when they are configured no more
        self.lines: Counter[str] = Counter()
        self.away = 0

    def _now_ms(self) -> int:
        return self._world.clock.wall_ns() // 1_000_000

    # --- out

    def may_go(self, line: Line) -> Parceled | None:
        if line.parcel == HOME:
            return None
        return Parceled(left_s=(line.batch.until_ms - self._now_ms()) / 1000)

    def gather(self, line: Line, call: str, handed: HandedOver) -> None:
        key = (line.batch.id, handed.provider.name, handed.model, handed.path)
        terms, size = handed.provider.terms, len(handed.body) + 300
        there = self._gathered.get(key)
        full = there is not None and terms is not None and there.size + size > terms.max_bytes
        full = full or (there is not None and there.price != handed.price)  # what is sent together costs the same
        if there is None or full or (terms is not None and len(there.entries) >= terms.max_lines):
            if there is not None:
                self._send(there)
            there = self._gathered[key] = Gathering(line.batch, handed.provider, handed.model, handed.price)
        there.entries.append((line, call, handed))
        there.size += size

    @property
    def gathered(self) -> set[str]:
        """Batches of which lines are waiting for the others."""
        return {batch for batch, *_ in self._gathered}

    def send(self, batch: str) -> None:
        """All that was gathered of it: no more is coming."""
        for key in [one for one in self._gathered if one[0] == batch]:
            self._send(self._gathered.pop(key))

    def drop(self, batch: str) -> list[Fate]:
        """Of one that nothing is asked of any more."""
        fates = []
        for key in [one for one in self._gathered if one[0] == batch]:
            for line, _, handed in self._gathered.pop(key).entries:
                handed.release()
                fates.append(Fate(line, counted=False))
        return fates

    def _send(self, gathering: Gathering) -> None:
        self._world.nursery.spawn(self._sent(gathering), "send a parcel")

    async def _sent(self, gathering: Gathering) -> None:
        """Written down before anything is sent, and its id there before anything else."""
        now_ms, provider = self._now_ms(), gathering.provider
        parcel = Parcel(
            f"p{now_ms:011x}{self._world.chance.hex()[:8]}", gathering.batch.id, provider.name, gathering.model,
            len(gathering.entries), now_ms, price=msgspec.json.encode(gathering.price).decode(),
        )  # fmt: skip
        self._busy.add(parcel.id)
        self._held[parcel.id] = {line.number: handed.release for line, _, handed in gathering.entries}
        try:
            numbers = [line.number for line, _, _ in gathering.entries]
            if not await self._store.hand_over(parcel, numbers, self._holder, now_ms + LEASE_MS):
                self._release(parcel.id)
                return
            entries = [
                Entry(f"{parcel.id}-{line.number}-{call}", handed.path, handed.body)
                for line, call, handed in gathering.entries
            ]
            await self._submit(parcel, provider, entries)
        except StoreDown:
            return  # what was sent is found again when its lease is over
        finally:
            self._busy.discard(parcel.id)

    async def _submit(self, parcel: Parcel, provider: TakesBatches, entries: Sequence[Entry]) -> None:
        vendor = self._vendors.of(provider)
        for at in range(TRIES):
            try:
                remote = await vendor.begin(parcel, entries)
            except Trouble as wrong:
                if wrong.unsure:  # it is looked for before anything is sent again
                    self._notice("parcel_unsure", parcel, error=str(wrong))
                    await self._store.note_parcel(replace(parcel, look_ms=self._later(1, provider)))
                    return
                if wrong.refused or at == TRIES - 1:
                    self._notice("parcel_refused", parcel, error=str(wrong))
                    await self._end(parcel)
                    return
                await self._world.clock.sleep(max(wrong.retry_after_s, 2.0**at))
            else:
                self._known[provider.name] = provider
                away = replace(parcel, state="away", remote=remote, look_ms=self._later(0, provider))
                await self._store.note_parcel(away)
                self.lines["handed_over"] += parcel.lines
                self._notice("parcel_sent", away)
                return

    # --- and back

    async def step(self, batches: Mapping[str, Batch], providers: Mapping[str, Provider]) -> None:
        """Look after what is with providers, if it is time."""
        now_ms = self._now_ms()
        parcels = await self._store.parcels()
        self.give_back([one.id for one in parcels])
        self.away = await self._store.away() if parcels else 0
        known = frozenset(one.remote for one in parcels if one.remote)
        self._know({one.provider for one in parcels}, providers)
        for parcel in parcels:
            batch, provider = batches.get(parcel.batch), self._known.get(parcel.provider)
            due = parcel.look_ms <= now_ms or (batch is not None and _wanted_back(batch, provider, parcel, now_ms))
            if parcel.id in self._busy or batch is None or not due:
                continue
            if await self._store.take_parcel(parcel.id, self._holder, now_ms, now_ms + LEASE_MS):
                self._busy.add(parcel.id)
                self._world.nursery.spawn(self._looked(parcel, batch, provider, known), "look after a parcel")

    def _know(self, names: Collection[str], providers: Mapping[str, Provider]) -> None:
        now = {name: one for name, one in providers.items() if name in names and isinstance(one, TakesBatches)}
        self._known = {name: one for name, one in self._known.items() if name in names} | now

    def give_back(self, under_way: Collection[str]) -> None:
        """What was set aside here for parcels that another process has brought."""
        for id in self._held.keys() - self._busy - set(under_way):
            self._release(id)

    async def _looked(self, parcel: Parcel, batch: Batch, provider: TakesBatches | None, known: frozenset[str]) -> None:
        try:
            if provider is None:
                await self._nobody(parcel, batch)
                return
            vendor = self._vendors.of(provider)
            try:
                await self._follow(parcel, batch, provider, vendor, known)
            except Trouble as wrong:
                await self._in_vain(parcel, batch, provider, wrong)
        except StoreDown:
            return  # its lease ends, and somebody looks again
        finally:
            self._busy.discard(parcel.id)

    async def _follow(
        self, parcel: Parcel, batch: Batch, provider: TakesBatches, vendor: Vendor, known: frozenset[str]
    ) -> None:
        if parcel.state == "sending":
            remote = await vendor.find(parcel, known | self._not_ours.get(parcel.id, set()))
            if remote is None:  # it never got there: nothing is paid twice
                self._notice("parcel_lost", parcel)
                await self._end(parcel, home=False)
                return
            parcel = replace(parcel, state="away", remote=remote)
        now_ms = self._now_ms()
        if not parcel.cancelled and _wanted_back(batch, provider, parcel, now_ms):
            await vendor.cancel(parcel.remote)
            parcel = replace(parcel, cancelled=True)
            self._notice("parcel_taken_back", parcel)
        seen = await vendor.look(parcel.remote)
        if not seen.over and now_ms < batch.until_ms:
            tries = parcel.tries + 1 if parcel.tries >= 0 else 1
            wait_ms = self._later(0, provider) if parcel.cancelled else self._later(tries, provider)
            await self._store.note_parcel(replace(parcel, look_ms=wait_ms, tries=tries))
            return
        whole = await self._unpack(parcel, batch, vendor, seen)
        if whole is None:  # it was found by its size, and is another's
            self._not_ours.setdefault(parcel.id, set()).add(parcel.remote)
            await self._store.note_parcel(replace(parcel, state="sending", remote="", look_ms=now_ms))
        elif whole:
            await self._end(parcel)
        else:
            await self._store.note_parcel(replace(parcel, look_ms=self._later(0, provider)))

    async def _unpack(self, parcel: Parcel, batch: Batch, vendor: Vendor, seen: Seen) -> bool | None:
        """Whether each result has found its line. Whatever comes twice, or is not ours, finds none; None: none is."""
        some: dict[int, tuple[str, bytes]] = {}
        whole, marks = True, set[str]()

        async def take(result: Result) -> None:
            nonlocal some, whole
            mark, _, rest = result.name.partition("-")
            marks.add(mark)
            number, _, call = rest.partition("-")
            if mark == parcel.id and number.isascii() and number.isdigit() and result.body is not None:
                some.setdefault(int(number), (call, result.body))
            if len(some) >= TOGETHER:
                whole = await self._deliver(parcel, batch, some) and whole
                some = {}

        await vendor.results(seen, take)
        if marks and parcel.id not in marks:
            return None
        return await self._deliver(parcel, batch, some) and whole

    async def _deliver(self, parcel: Parcel, batch: Batch, some: Mapping[int, tuple[str, bytes]]) -> bool:
        now_ms, target = self._now_ms(), self._target(parcel)
        lines = await self._store.bring(batch, parcel.id, list(some), self._holder, now_ms + LEASE_MS)
        fates = []
        for line in lines:
            call, body = some[line.number]
            release = self._held.get(parcel.id, {}).pop(line.number, None)
            if release is not None:
                release()
            fates.append(await self._bring(line, call, target, body))
        await self._store.settle(self._holder, fates)
        self.lines["brought_back"] += sum(fate.said is not None for fate in fates)
        return all(fate.said is not None or fate.home for fate in fates)

    def _target(self, parcel: Parcel) -> Target:
        provider = self._known[parcel.provider]
        if not parcel.price:  # an older Tidegate has handed it over
            return Target(cast(Provider, provider), parcel.model, price=provider.batch_price(parcel.model))
        return Target(cast(Provider, provider), parcel.model, price=msgspec.json.decode(parcel.price, type=Price))

    async def _nobody(self, parcel: Parcel, batch: Batch) -> None:
        """It went to a provider that is not configured any more: what it has bought is there when that one is back."""
        terms, now_ms = Terms(), self._now_ms()
        error = f"no provider {parcel.provider!r} with batches is configured; put it back, or what it is paid is lost"
        if now_ms >= batch.until_ms - round(terms.back * 1000) or batch.cancelled_ms is not None:
            self._notice("parcel_given_up", parcel, error=error)
            await self._end(parcel)
            return
        if parcel.tries == 0:
            self._notice("parcel_waits", parcel, error=error)
        look_ms = min(now_ms + round(LONGEST_LOOK_S * 1000), batch.until_ms - round(terms.back * 1000))
        await self._store.note_parcel(replace(parcel, tries=parcel.tries + 1, look_ms=look_ms))

    async def _in_vain(self, parcel: Parcel, batch: Batch, provider: TakesBatches, wrong: Trouble) -> None:
        now_ms = self._now_ms()
        if now_ms >= batch.until_ms or (wrong.status == 404 and parcel.remote):
            self._notice("parcel_given_up", parcel, error=str(wrong))
            await self._end(parcel)
            return
        if parcel.tries == 0:
            self._notice("parcel_waits", parcel, error=str(wrong))
        wait_ms = max(self._later(parcel.tries + 1, provider), now_ms + round(wrong.retry_after_s * 1000))
        await self._store.note_parcel(replace(parcel, tries=parcel.tries + 1, look_ms=min(wait_ms, batch.until_ms)))

    async def _end(self, parcel: Parcel, *, home: bool = True) -> None:
        self._release(parcel.id)
        self._not_ours.pop(parcel.id, None)
        count = await self._store.end_parcel(parcel, self._now_ms(), home=home)
        self.lines["came_home"] += count
        self._notice("parcel_ended", parcel, without_result=count)
        self._store.news.set()

    def _release(self, parcel: str) -> None:
        for release in self._held.pop(parcel, {}).values():
            release()

    def _later(self, tries: int, provider: TakesBatches) -> int:
        look_s = max((provider.terms or Terms()).look, LEAST_LOOK_S)
        wait_s = max(min(look_s * 1.5 ** min(tries, 20), LONGEST_LOOK_S), look_s)
        return self._now_ms() + round(wait_s * 1000)

    def _notice(self, name: str, parcel: Parcel, **more: str | int) -> None:
        fields = {"batch": parcel.batch, "parcel": parcel.id, "provider": parcel.provider, "lines": parcel.lines}
        self._world.events.notice(name, {**fields, "remote": parcel.remote or None, **more})


def _wanted_back(batch: Batch, provider: Provider | TakesBatches | None, parcel: Parcel, now_ms: int) -> bool:
    """Somebody has cancelled the batch, or there is just the time to ask ourselves."""
    if parcel.cancelled or not isinstance(provider, TakesBatches) or provider.terms is None:
        return False
    return batch.cancelled_ms is not None or now_ms >= batch.until_ms - round(provider.terms.back * 1000)
