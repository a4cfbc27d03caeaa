"""Who counts while Valkey is away? This process alone, against its share; or nobody; or nothing is sold meanwhile.

A limit fills up again, so a share of it is a share of the whole. A budget does not: what is shared is what was left, by
what Valkey said last or by what the ledger says now, whichever leaves less. Who has heard nothing of Valkey since it
came counts all that the ledger has against its own share. When Valkey is back, each asks both for a few looks:
until then another may not have told what it has spent.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from tidegate.core.errors import StoreDown
from tidegate.core.limits import DAY_S, Charge, Claim, Full, Meter, OnStoreDown, Taken
from tidegate.core.ports import Clock, Counters
from tidegate.storage.memory import MemoryCounters

Notice = Callable[[str, Mapping[str, Any]], None]
LOOK_S = 1.0  # how often to try whether what was used meanwhile can be added
QUIET = 4  # looks that found it there: others look for it every 2 s at most, and tell within another
ASTRAY_S = 60.0  # that clocks of machines may differ: another may have been in the next period before
MANY = 10_000  # meters that are remembered; beyond it what is used meanwhile is not


class StandIn:
    """Counters of which the first may be away. Claims that were taken here are settled here; what they came to is added
    to the meters of the first when it answers, whether there is room or not."""

    def __init__(
        self,
        together: Counters,
        alone: MemoryCounters,
        clock: Clock,
        policy: OnStoreDown,
        share: float,
        notice: Notice,
    ) -> None:
        self._together = together
        self._alone = alone
        self._clock = clock
        self._policy = policy
        self._share = share
        self._notice = notice
        self._ours: dict[str, Claim] = {}  # taken alone, by the id of the claim that was asked for
        self._moved: dict[str, Claim] = {}  # of these, what was claimed of all when they were back
        self._both: dict[str, Claim] = {}  # taken alone, when all had taken it too
        self._owed: dict[tuple[str, Meter], int] = {}  # by house
        self._heard: dict[str, int] = {}  # what the first said last, of meters that do not fill up again
        self._answered: dict[str, int] = {}  # what it said when it was told what is owed
        self._spent: dict[str, int] = {}  # by the ledger, asked since the first was lost, or found again
        self._ids = itertools.count()
        self._away = False
        self._since_ns = clock.now_ns()  # the start, or when the first was lost or found last
        self._seen = 0  # looks that found the first there, since it was not
        self._looking = asyncio.get_running_loop().create_task(self._look_often(), name="counters: what is owed")

    def knows(self, meter: Meter, begins_ms: int) -> bool:
        if meter.name not in self._spent and self._was_there(begins_ms):
            self._remember(meter, 0)
        return meter.name in self._spent and self._together.knows(meter, begins_ms)

    def _remember(self, meter: Meter, spent: int) -> None:
        if len(self._spent) >= MANY:
            self._spent.clear()
        self._spent[meter.name] = spent

    def _was_there(self, begins_ms: int) -> bool:
        """Whether all that was ever charged since then was charged while this process saw that nothing was lost: the
        ledger had nothing of it before. By a clock that does not jump, for as long as a wall clock says it has been."""
        age_ns = self._clock.wall_ns() - begins_ms * 1_000_000
        return not self._away and age_ns + ASTRAY_S * 1e9 < self._clock.now_ns() - self._since_ns

    @property
    def standing_in(self) -> str | None:
        return self._policy if self._away else None

    @property
    def _alone_now(self) -> bool:
        return self._away and self._policy == "local_share"

    async def claim(self, claim: Claim, *, unasked: bool = False) -> Taken | Full:
        if not self._alone_now:
            try:
                answer = await self._together.claim(claim, unasked=unasked)
            except StoreDown:
                self._turn(away=True)
                if self._policy == "deny":
                    raise
            else:
                if self._away:
                    self._turn(away=False)
                self._hear(claim, answer.used)
                return answer
        return await self._claim_alone(claim, unasked=unasked or self._policy == "allow")

    async def raise_to(self, house: str, meter: Meter, amount: int) -> int:
        used = amount
        if not self._alone_now:
            try:
                used = self._heard[meter.name] = await self._together.raise_to(house, meter, amount)
            except StoreDown:
                self._turn(away=True)
                if self._policy == "deny":
                    raise
        self._remember(meter, amount)
        return used

    async def _claim_alone(self, claim: Claim, *, unasked: bool) -> Taken | Full:
        charges = [
            Charge(replace(meter, most=self._share_of(meter)), amount, kept) for meter, amount, kept in claim.charges
        ]
        own = Claim(claim.id, claim.house, charges)
        answer = await self._alone.claim(own, unasked=unasked)
        if isinstance(answer, Full):
            return answer
        if self._seen and (found := await self._claim_too(claim, own, unasked)) is not None:
            return found
        if claim.held:
            self._ours[claim.id] = own
        else:  # nobody need settle it: it is what it is
            self._owe(claim, [charge.amount for charge in claim.charges])
        return answer

    async def _claim_too(self, claim: Claim, own: Claim, unasked: bool) -> Taken | Full | None:
        """What all together say, who were there a moment ago; None: they are not."""
        try:
            answer = await self._together.claim(claim, unasked=unasked)
        except StoreDown:
            self._turn(away=True)
            return None
        self._hear(claim, answer.used)
        if isinstance(answer, Full):
            self._alone.settle(own, [0] * len(own.charges))
        elif claim.held:
            self._both[claim.id] = own
        return answer

    def _share_of(self, meter: Meter) -> int:
        """What may be used of it alone, until all count together again."""
        if meter.at_once or _fills_up(meter):
            return int(meter.most * self._share)
        heard, spent = self._heard.get(meter.name), self._spent.get(meter.name, 0)
        if heard is None:
            return max(int(meter.most * self._share) - spent, 0)
        return int(max(meter.most - max(heard, spent), 0) * self._share)

    def settle(self, claim: Claim, truth: Sequence[int]) -> None:
        own = self._ours.pop(claim.id, None)
        if own is not None:
            self._alone.settle(own, truth)
            self._owe(claim, truth)
            return
        if self._both and claim.id in self._both:
            self._alone.settle(self._both.pop(claim.id), truth)
        if self._moved:
            claim = self._moved.pop(claim.id, claim)
        if not claim.settled:
            heard = self._heard
            for (meter, amount, _), true in zip(claim.charges, truth, strict=True):
                if true != amount and meter.name in heard:
                    heard[meter.name] += true - amount
        self._together.settle(claim, truth)

    def _hear(self, claim: Claim, used: Sequence[int]) -> None:
        heard = self._heard
        for (meter, _, _), n in zip(claim.charges, used, strict=True):
            if not _fills_up(meter):
                heard[meter.name] = n
        while len(heard) > MANY:
            del heard[next(iter(heard))]

    # --- what was used meanwhile

    def _owe(self, claim: Claim, amounts: Sequence[int]) -> None:
        for charge, amount in zip(claim.charges, amounts, strict=True):
            place = (claim.house, charge.meter)
            if amount and (place in self._owed or len(self._owed) < MANY):
                self._owed[place] = self._owed.get(place, 0) + amount

    async def _look_often(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Tell what is owed; and count together again where that has been possible for a while."""
        try:
            await self._together.notes("counters")  # whoever asks nothing must know, too: others may owe something then
            await self._tell_owed()
            self._seen += self._away
            if self._seen >= QUIET or not self._alone_now:
                self._turn(away=False)
                await self._hand_over()
        except StoreDown:
            self._turn(away=True)

    async def _tell_owed(self) -> None:
        while self._owed:
            (house, meter), amount = next(iter(self._owed.items()))
            if amount > 0:
                late = Claim(f"owed:{next(self._ids)}", house, [Charge(meter, amount, amount)])
                (used,) = (await self._together.claim(late, unasked=True)).used
                if not _fills_up(meter):
                    self._answered[meter.name] = used
            left = self._owed[(house, meter)] - amount  # more may have come meanwhile
            if left:
                self._owed[(house, meter)] = left
            else:
                del self._owed[(house, meter)]

    async def _hand_over(self) -> None:
        """Calls that were let in alone and go on are claimed of all; then nothing that was counted alone matters."""
        for id, own in list(self._ours.items()):
            again = Claim(f"{id}:again", own.house, own.charges)
            await self._together.claim(again, unasked=True)
            if self._ours.pop(id, None) is None:  # it has ended meanwhile, and is owed
                self._together.settle(again, [0] * len(again.charges))
            else:
                self._moved[id] = again
                self._alone.settle(own, [0] * len(own.charges))
        if self._away or self._ours or self._both or self._owed:
            return
        for name, used in self._answered.items():
            if name in self._heard:
                self._heard[name] = max(used, self._heard[name])
            self._alone.drop(name)
        self._answered.clear()

    def _turn(self, *, away: bool) -> None:
        if away != self._away or self._seen:
            self._spent.clear()  # what others have spent meanwhile is in the ledger
            self._since_ns = self._clock.now_ns()
        self._seen = 0
        if away != self._away:
            self._away = away
            self._notice("counting_alone" if away else "counting_together", {"on_store_down": self._policy})

    async def holds(self, house: str) -> int:
        return await self._together.holds(house)

    async def lease(self, name: str, holder: str, ttl_s: float) -> bool:
        return await self._together.lease(name, holder, ttl_s)

    async def give_back(self, name: str, holder: str) -> None:
        await self._together.give_back(name, holder)

    async def note(self, board: str, name: str, value: bytes | None, ttl_s: float) -> None:
        await self._together.note(board, name, value, ttl_s)

    async def notes(self, board: str) -> Mapping[str, bytes]:
        return await self._together.notes(board)

    @property
    def together(self) -> bool:
        return self._together.together

    def recall(self, house: str, place: str) -> Awaitable[Sequence[bytes]]:
        return self._together.recall(house, place)

    def remember(self, house: str, place: str, item: bytes, most: int, ttl_s: float) -> None:
        self._together.remember(house, place, item, most, ttl_s)

    def rewrite(self, house: str, place: str, item: bytes, by: bytes) -> None:
        self._together.rewrite(house, place, item, by)

    async def aclose(self) -> None:
        self._looking.cancel()
        await asyncio.wait([self._looking])
        with suppress(StoreDown):
            await self._tell_owed()
        await self._together.aclose()
        await self._alone.aclose()


def _fills_up(meter: Meter) -> bool:
    """By itself, and soon."""
    return 0 < meter.per_s < DAY_S
