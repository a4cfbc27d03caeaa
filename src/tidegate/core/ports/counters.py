"""What do all processes count together, and who sets aside what a call may cost?"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from tidegate.core.limits import Claim, Full, Meter, Taken

if TYPE_CHECKING:
    from tidegate.core.call import Target


class Bill(Protocol):
    """What was set aside for a call, of tokens and money."""

    async def extend(self, target: Target) -> None:
        """Make sure that what was set aside is enough for one more attempt, at `target`, beside what those so far have
        cost or can still cost. Raises BudgetSpent or LimitReached, and then nothing more may be bought."""


class Counters(Protocol):
    """What all processes of one Tidegate count together. Raises StoreDown when nobody answers in time."""

    async def claim(self, claim: Claim, *, unasked: bool = False) -> Taken | Full:
        """One step that looks at all meters, and charges all or none; `unasked`: charges them in any case.

        Whoever leaves while waiting, or hears StoreDown, has claimed nothing.
        """

    def settle(self, claim: Claim, truth: Sequence[int]) -> None:
        """Each charge becomes what it was in truth. Once, by whoever claimed, at once or as soon as it can be told."""

    def knows(self, meter: Meter, begins_ms: int) -> bool:
        """Whether this count, of a period that began then, is whole; False when the ledger may know of more: then
        `raise_to` says it."""

    async def raise_to(self, house: str, meter: Meter, amount: int) -> int:
        """Charge what of `amount` was not charged yet, whatever room there is; what is used of `meter` then."""

    @property
    def standing_in(self) -> str | None:
        """What is done while those who count together cannot: local_share | deny | allow; None when all is well."""

    async def holds(self, house: str) -> int:
        """How many claims are neither settled nor lost; those whose holder died are swept first."""

    async def lease(self, name: str, holder: str, ttl_s: float) -> bool:
        """Whether `name` is `holder`'s for the next `ttl_s` seconds: nobody had it, it ran out, or it was theirs."""

    async def give_back(self, name: str, holder: str) -> None:
        """Of a lease that is another's by now, nothing happens."""

    async def note(self, board: str, name: str, value: bytes | None, ttl_s: float) -> None:
        """Leave `value` under `name` for the other processes, for so long; None takes it away."""

    async def notes(self, board: str) -> Mapping[str, bytes]:
        """All that stands on `board` now."""

    @property
    def together(self) -> bool:
        """Whether other processes count here too."""

    def recall(self, house: str, place: str) -> Awaitable[Sequence[bytes]]:
        """What was left in `place`, oldest first. Asked at once and awaited later, or never: a claim that is made
        meanwhile goes the same way. Raises StoreDown at either time."""

    def remember(self, house: str, place: str, item: bytes, most: int, ttl_s: float) -> None:
        """Leave `item` in `place`, where the last `most` are, for so long after the last of them. Nobody waits."""

    def rewrite(self, house: str, place: str, item: bytes, by: bytes) -> None:
        """What was left there as `item` is `by` now, and counts as left just now. Nobody waits."""

    async def aclose(self) -> None: ...
