"""Who counts while Valkey is away? This process alone, against its share; or nobody; or nothing is sold meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from tidegate.core.errors import StoreDown
from tidegate.core.limits import Charge, Claim, Full, Meter, OnStoreDown, Taken
from tidegate.core.ports import Counters

Notice = Callable[[str, Mapping[str, Any]], None]
LOOK_S = 1.0  # how often to try whether what was used meanwhile can be added
MANY = 10_000  # meters that are remembered until then; beyond it what is used is not


class StandIn:
    """Counters of which the first may be away. Claims that were taken here are settled here; what they came to is added
    to the meters of the first as soon as it answers, whether there is room or not."""

    def __init__(self, together: Counters, alone: Counters, policy: OnStoreDown, share: float, notice: Notice) -> None:
        self._together = together
        self._alone = alone
        self._policy = policy
        self._share = share
        self._notice = notice
        self._ours: dict[str, Claim] = {}  # taken alone, by the id of the claim that was asked for
        self._owed: dict[tuple[str, Meter], int] = {}  # by house
        self._ids = itertools.count()
        self._away = False
        self._adding = asyncio.get_running_loop().create_task(self._add(), name="counters: what is owed")

    def knows(self, meter: Meter) -> bool:
        return self._together.knows(meter)

    @property
    def standing_in(self) -> str | None:
        return self._policy if self._away else None

    async def claim(self, claim: Claim, *, unasked: bool = False) -> Taken | Full:
        try:
            answer = await self._together.claim(claim, unasked=unasked)
        except StoreDown:
            self._tell(away=True)
            if self._policy == "deny":
                raise
            return await self._claim_alone(claim, unasked=unasked or self._policy == "allow")
        if self._away:
            self._tell(away=False)
        return answer

    async def _claim_alone(self, claim: Claim, *, unasked: bool) -> Taken | Full:
        share = self._share
        charges = [
            Charge(msgspec.structs.replace(meter, most=int(meter.most * share)), amount, kept)
            for meter, amount, kept in claim.charges
        ]
        own = Claim(claim.id, claim.house, charges)
        answer = await self._alone.claim(own, unasked=unasked)
        if isinstance(answer, Taken):
            if claim.held:
                self._ours[claim.id] = own
            else:  # nobody need settle it: it is what it is
                self._owe(claim, [charge.amount for charge in claim.charges])
        return answer

    def settle(self, claim: Claim, truth: Sequence[int]) -> None:
        own = self._ours.pop(claim.id, None)
        if own is None:
            self._together.settle(claim, truth)
            return
        self._alone.settle(own, truth)
        self._owe(claim, truth)

    def _owe(self, claim: Claim, amounts: Sequence[int]) -> None:
        for charge, amount in zip(claim.charges, amounts, strict=True):
            place = (claim.house, charge.meter)
            if amount and (place in self._owed or len(self._owed) < MANY):
                self._owed[place] = self._owed.get(place, 0) + amount

    async def _add(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            with suppress(StoreDown):
                while self._owed:
                    (house, meter), amount = next(iter(self._owed.items()))
                    if amount > 0:
                        late = Claim(f"owed:{next(self._ids)}", house, [Charge(meter, amount, amount)])
                        await self._together.claim(late, unasked=True)
                        self._tell(away=False)
                    left = self._owed[(house, meter)] - amount  # more may have come meanwhile
                    if left:
                        self._owed[(house, meter)] = left
                    else:
                        del self._owed[(house, meter)]

    def _tell(self, *, away: bool) -> None:
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
        self._adding.cancel()
        await asyncio.wait([self._adding])
        await self._together.aclose()
        await self._alone.aclose()
