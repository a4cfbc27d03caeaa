"""How does one call get its answer? From what is kept, along with another that is in the air, or with its own money."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from tidegate.core.call import Cached, Call, Event, Layer, Reply, ReplyHead, Source
from tidegate.core.errors import StillBusy, StoreDown, TidegateError
from tidegate.core.flight import Buy, Flight, Hear, Reader
from tidegate.core.shared import SharedFlight, may_lead
from tidegate.stages.cache import idempotent, keys
from tidegate.stages.cache.elsewhere import Lease, Stored
from tidegate.stages.cache.exact import Entry, Kept, entry_of, is_form, may_be_kept, pack, place, told_again, unpack
from tidegate.stages.cache.idempotent import Claim
from tidegate.stages.cache.live import End, Live
from tidegate.stages.cache.policy import ANYTHING, Policy, SemanticConfig, Wish, kept_as, tags_of, wish_of
from tidegate.stages.cache.told import AtOnce, Gathered, Told

if TYPE_CHECKING:
    from tidegate.stages.cache import Cache
    from tidegate.stages.cache.semantic import Look

MOST = 1024 * 1024  # bytes of an answer that is kept for its Idempotency-Key, where the route says nothing


class Passage:
    """One call's way through the cache; what it holds in a flight until it is left."""

    __slots__ = (
        "_again",
        "_buy",
        "_cache",
        "_call",
        "_claim",
        "_key",
        "_lease",
        "_look",
        "_once_key",
        "_policy",
        "_reader",
        "_unfit",
        "_wish",
    )

    def __init__(self, cache: Cache, call: Call, buy: Buy, policy: Policy | None) -> None:
        self._cache = cache
        self._call = call
        self._buy = buy
        self._policy = policy
        self._wish: Wish = ANYTHING
        self._key: bytes | None = None  # of the question; None: it is not looked for
        self._once_key: bytes | None = None
        self._claim: Claim | None = None
        self._reader: Reader | None = None
        self._lease: Lease | None = None  # taken by a look, and then the flight's, or given back
        self._unfit: bytes | None = None  # what was found, and is not good enough
        self._look: Look | None = None  # that found nothing, and is taught by what is bought
        self._again = False

    async def __aenter__(self) -> Reply:
        try:
            return await self._answer()
        except BaseException:
            self._leave()  # what was never entered is never exited
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        reader, claim = self._reader, self._claim
        if claim is not None:
            claim.left = True
            if reader is None or reader.flight.ending is not None:
                claim.give_up()  # nothing is in the air that could settle it
        if reader is not None:
            reader.leave()
        self._give_back()

    async def _answer(self) -> Reply:
        self._ask()
        if self._call.wishes.idempotency_key is not None and idempotent.is_paid(self._call):
            reply = await self._once()
            if reply is not None:
                return reply
        policy, key, table = self._policy, self._key, self._cache.shelf.table
        if key is not None and policy is not None and policy.exact and self._wish.read and key not in table:
            reply = await self._exact(key)
            if reply is not None:
                return reply
        if key is not None and policy is not None and policy.semantic is not None and self._wish.read:
            reply = await self._alike(policy, policy.semantic)
            if reply is not None:
                return reply
        return await self._fly()

    def _ask(self) -> None:
        """What is looked for, and under which key."""
        call, policy = self._call, self._policy
        if policy is None:
            return
        assert call.asked is not None
        self._wish = wish_of(call)
        if not keys.is_one_answer(call.asked) or not (self._wish.read or self._wish.store):
            call.cached = Cached("bypass")
            return
        meanings = self._cache.meanings
        check = meanings.checks.get(call.id) if meanings is not None else None
        if check is not None:
            self._key = check.key  # whoever asked first is to find its answer
            call.cached = Cached("bypass")
            return
        question = self._cache.shelf.questions.question(call.asked)
        self._key = keys.key(call, question, policy.scope, policy.fingerprint)
        layer: Layer = "exact" if policy.exact else "in_flight"
        call.cached = Cached("miss", layer) if self._wish.read else Cached("bypass")

    # --- what is kept

    async def _exact(self, key: bytes) -> Reply | None:
        shelf = self._cache.shelf
        try:
            stored = await self._look_for(key)
        except StoreDown:
            return None  # whoever keeps them has told the operator
        if stored is None:
            return None
        self._unfit = stored
        try:
            entry = unpack(stored, key, shelf.vault, place(key))
            age_s = self._now_ms() // 1000 - entry.bought_ms // 1000
            if self._wish.max_age_s is not None and age_s > self._wish.max_age_s:
                return None
            return self._hit(entry, "exact", age_s)
        except ValueError as wrong:
            self._corrupt(str(wrong))
            return None

    async def _look_for(self, key: bytes) -> bytes | None:
        """What is kept. Where nothing is, the question is taken in the same breath, if it is what comes next."""
        policy, shelf = self._policy, self._cache.shelf
        assert policy is not None
        if shelf.elsewhere is None or not policy.single_flight or policy.semantic is not None:
            return await shelf.blobs.get(key)
        self._lease = lease = shelf.elsewhere.lease(key, self._call, kept=True)
        return await lease.look()

    def _give_back(self) -> None:
        """What was taken by a look, and led to no flight of ours."""
        lease = self._lease
        if lease is not None and lease.flight is None:
            self._lease = None
            lease.give_back()

    def _hit(self, entry: Entry, layer: Layer, age_s: int, similarity: float | None = None) -> Reply:
        """Raises ValueError for an entry that makes no sense."""
        call, cache = self._call, self._cache
        assert call.asked is not None
        changed = bool(call.guarded.withheld)  # the caller's own values come back outside
        events = told_again(entry, call.asked, call.dialect, cache.codecs, changed=changed)
        call.cached = Cached("hit", layer, max(age_s, 0), entry.cost_nusd or 0, similarity)
        call.guarded = call.guarded.adding(*entry.verdicts)
        cache.rows.close(call, "ok", entry.status)
        if self._claim is not None:
            assert self._once_key is not None
            self._claim.settle(_under(self._once_key, entry), now_ms=self._now_ms())
        return Told(entry.head, AtOnce(events), as_asked=entry.is_as_asked(call.asked))

    def _corrupt(self, why: str) -> None:
        call = self._call
        route = call.route.name if call.route else None
        fields = {"request_id": call.id, "route": route, "error": why}
        self._cache.world.events.notice("cache_entry_corrupt", fields)

    # --- what means the same

    async def _alike(self, policy: Policy, semantic: SemanticConfig) -> Reply | None:
        call, cache = self._call, self._cache
        meanings, route = cache.meanings, call.route
        prompt = keys.prompt(call, semantic.messages, policy.scope, policy.fingerprint)
        if meanings is None or prompt is None or route is None:
            return None
        self._look = look = await meanings.look(call, route.name, semantic, prompt)
        if look is None:
            return None
        call.cached = Cached("miss", "semantic")
        if look.serve is None:
            return None
        key = bytes.fromhex(look.serve.id)
        try:
            stored = await meanings.reply(look)
            entry = unpack(stored, key, cache.shelf.vault, place(key)) if stored is not None else None
            age_s = self._now_ms() // 1000 - entry.bought_ms // 1000 if entry is not None else 0
            if entry is None:
                meanings.gone(look)
            elif self._wish.max_age_s is None or age_s <= self._wish.max_age_s:
                reply = self._hit(entry, "semantic", age_s, look.serve.similarity)
                assert self._key is not None
                meanings.served(call, look, entry, self._key)
                return reply
        except ValueError as wrong:
            self._corrupt(str(wrong))
            meanings.gone(look)
        except StoreDown:
            pass  # whoever keeps them has told the operator
        self._look = None  # it would have been served, so the answer that is bought now is no miss of the engine's
        return None

    # --- the very same call

    async def _once(self) -> Reply | None:
        """What came of it before. None: it has not been made, and is ours to make; or it can be joined."""
        cache, call = self._cache, self._call
        assert call.route is not None
        once = idempotent.begun(call, self._now_ms())
        self._once_key = key = idempotent.flight_key(once)
        table = cache.shelf.table
        if key in table:
            return None
        try:
            found = await idempotent.claim(
                cache.world, cache.shelf.outcomes, call, once, call.route.timeout_s, lambda: key in table
            )
            if isinstance(found, Entry):
                return self._hit(found, "idempotent", self._now_ms() // 1000 - found.bought_ms // 1000)
        except ValueError as wrong:
            self._corrupt(str(wrong))
            raise StillBusy("this call was answered, but its record is damaged; it is not bought again") from None
        self._claim = found
        return None

    # --- in flight

    async def _fly(self) -> Reply:
        """Along with another that asks the same, or on its own. Raises what went wrong before the first event."""
        while True:
            flight = self._in_the_air()
            if flight is None:
                return await self._lead()
            self._give_back()
            self._reader = reader = flight.follow(self._told_last)
            try:
                head = await reader.opened()
            except TidegateError as failure:
                reader.leave()
                self._reader = None
                if not may_lead(failure, again=self._again or flight.again):
                    raise
                self._again = self._again or failure.status not in (402, 429)
                if self._waits_for_itself():
                    reply = await self._once()
                    if reply is not None:
                        return reply
                continue
            return self._along(flight, reader, head)

    def _in_the_air(self) -> SharedFlight | None:
        table = self._cache.shelf.table
        if self._waits_for_itself() and self._once_key is not None:
            return table.get(self._once_key)
        policy = self._policy
        if self._key is None or policy is None or not policy.single_flight or not self._wish.read:
            return None
        flight = table.get(self._key)
        if flight is not None and self._claim is not None:
            flight.goes_on = True
            self._attach(flight)
        return flight

    def _waits_for_itself(self) -> bool:
        return self._once_key is not None and self._claim is None

    def _along(self, flight: SharedFlight, reader: Reader, head: ReplyHead) -> Reply:
        call = self._call
        call.cached = Cached("shared", "idempotent" if self._waits_for_itself() else "in_flight")
        return self._told(flight, reader, head)

    def _told(self, flight: SharedFlight, reader: Reader, head: ReplyHead) -> Reply:
        asked = self._call.asked
        assert asked is not None
        whole = flight.form[0] and not asked.stream
        return Told(head, Gathered(reader) if whole else reader, as_asked=is_form(*flight.form, asked))

    def _told_last(self, last: Event) -> None:
        """Before the last event is released: the row, which cost nothing."""
        call, reader = self._call, self._reader
        assert reader is not None and call.cached is not None
        payer = reader.flight.call
        cost_nusd = payer.cached.saved_nusd if payer.cached and payer.cached.found else payer.cost_nusd or 0
        call.cached = msgspec.structs.replace(call.cached, saved_nusd=cost_nusd)
        call.guarded = call.guarded.adding(*payer.guarded.answered)
        call.error = last.error
        self._cache.rows.close(call, "cut_off" if last.error else "ok", 200)

    # --- with its own money

    async def _lead(self) -> Reply:
        cache, call, policy = self._cache, self._call, self._policy
        cache.check_open()
        listed = []
        if self._key is not None and policy is not None and policy.single_flight and self._wish.read:
            listed.append(self._key)
        if self._claim is not None:
            assert self._once_key is not None
            listed.append(self._once_key)
        joins_others = cache.shelf.elsewhere is not None and self._key in listed
        call.flight = flight = SharedFlight(
            cache.world,
            self._buy_here if joins_others else self._buy,
            call,
            self._landed,
            table=cache.shelf.table,
            keys=listed,
            most=policy.max_bytes if policy is not None else MOST,
            again=self._again,
            goes_on=self._claim is not None,
        )
        if joins_others:
            self._lease = self._lease_of(flight)
        self._attach(flight)
        self._reader = reader = flight.board()
        return self._told(flight, reader, await reader.opened())

    def _lease_of(self, flight: SharedFlight) -> Lease:
        elsewhere, key, policy = self._cache.shelf.elsewhere, self._key, self._policy
        assert elsewhere is not None and key is not None and policy is not None
        lease = self._lease or elsewhere.lease(key, self._call, kept=policy.exact)
        lease.flight, lease.unfit = flight, self._unfit
        return lease

    async def _buy_here(self, call: Call, hear: Hear) -> None:
        """What a flight hears: the answer that another process has bought or is buying, or else our own purchase."""
        key, flight, lease = self._key, call.flight, self._lease
        assert key is not None and lease is not None and isinstance(flight, SharedFlight)
        found = await lease.take(self._cache.codecs)
        if isinstance(found, Live):
            await self._hear_along(found, flight, hear)
            return
        source = self._from_elsewhere(found, key, flight) if found is not None else None
        if source is not None:
            await hear(source)
        else:
            await self._buy(call, hear)

    async def _hear_along(self, live: Live, flight: SharedFlight, hear: Hear) -> None:
        call = self._call
        flight.form = live.form
        call.cached = Cached("shared", "in_flight")

        def ended(end: End) -> None:
            call.cached = Cached("shared", "in_flight", 0, end.cost_nusd or 0)

        live.ended = ended
        try:
            await hear(live)
        finally:
            live.stop()

    def _from_elsewhere(self, stored: bytes, key: bytes, flight: SharedFlight) -> Source | None:
        cache, call = self._cache, self._call
        assert call.asked is not None
        try:
            entry = unpack(stored, key, cache.shelf.vault, place(key))
            events = told_again(entry, call.asked, call.dialect, cache.codecs, changed=True)
        except ValueError as wrong:
            self._corrupt(str(wrong))
            return None
        flight.form = (entry.stream, entry.wants_usage)
        call.cached = Cached("shared", "in_flight", 0, entry.cost_nusd or 0)
        call.guarded = call.guarded.adding(*entry.verdicts)
        return Stored(entry.head, events)

    def _attach(self, flight: SharedFlight) -> None:
        if self._claim is not None and self._once_key is not None:
            flight.landings.append(partial(self._settle, self._claim, self._once_key))

    def _settle(self, claim: Claim, once_key: bytes, flight: SharedFlight) -> None:
        """A flight has landed that a claim waited for."""
        if flight.ending == "complete":
            entry = entry_of(flight, once_key, self._now_ms()) if flight.whole else None
            claim.settle(entry, now_ms=self._now_ms())
        elif claim.left:
            claim.give_up()

    def _landed(self, flight: Flight) -> None:
        """What we bought is kept, then accounted for, and only then is its end released."""
        assert isinstance(flight, SharedFlight)
        policy, key, shelf = self._policy, self._key, self._cache.shelf
        elsewhere = self._call.cached is not None and self._call.cached.found
        keeps = policy is not None and policy.keeps and self._wish.store and not elsewhere
        if keeps and policy is not None and key is not None and may_be_kept(flight):
            packed = pack(entry_of(flight, key, self._now_ms()), shelf.vault, place(key))
            tags = self._tags()
            if policy.exact:
                shelf.blobs.put(key, packed, policy.ttl_s, tags)
            if policy.semantic is not None:
                self._teach(flight, key, Kept(packed, self._now_ms() + round(policy.ttl_s * 1000), tuple(tags)))
        if self._lease is not None:
            self._lease.give_back()
        for settle in flight.landings:
            settle(flight)
        self._cache.rows.landed(flight)

    def _tags(self) -> list[str]:
        call, outcomes = self._call, self._cache.shelf.outcomes
        tags = [kept_as(tag, outcomes) for tag in tags_of(call)]
        if outcomes.seals and call.user:  # so that what they were answered goes when they are erased
            tags.append(f"subject:{outcomes.word(call.user)}")
        return tags

    def _teach(self, flight: SharedFlight, key: bytes, kept: Kept) -> None:
        meanings = self._cache.meanings
        if meanings is None:
            return
        check = meanings.checks.get(self._call.id)
        if check is not None:
            check.kept = kept
        elif self._look is not None:
            texts = (said for event in flight.events for said in event.texts())
            text = "".join(text for at, text in texts if at.kind == "text")
            meanings.bought(self._call, self._look, key, text, kept)

    def _now_ms(self) -> int:
        return self._cache.world.clock.wall_ns() // 1_000_000


def _under(key: bytes, entry: Entry) -> Entry:
    return Entry(key, *(getattr(entry, name) for name in Entry.__struct_fields__[1:]))
