"""How are most claims answered without asking? A part of each meter is charged in advance, and they are taken from it.

Only what is asked for often is charged in advance, and only while much is left: of what is left a small share at a
time, and nothing of a meter that is small or nearly full. There each claim is asked for, and exact. What was
charged in a slice of a window is used before this slice is over and never later, so no window is ever exceeded; what
is not used goes back then, when nobody has asked for a while, and at the end. A process that is killed gives nothing
back: what it had charged counts as used until it has left its window, or the budget begins anew; of calls at once,
until its holds run out.

Of a count the server is told all that this process has of it, so nothing is counted twice when an answer is lost,
and a server that knows less than it did (its successor, say) learns it again. Of a window it is told differences,
once: what does not arrive counts as used until it has left the window. What is left is void as soon as the
connection is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from secrets import token_hex
from typing import Any, Literal, cast

from tidegate.core.errors import StoreDown
from tidegate.core.limits import Claim, Meter, Taken
from tidegate.storage.valkey.claims import LEND
from tidegate.storage.valkey.connection import Asks

PERIOD_US = 1_000_000  # a lease is good for so long, and then what others have used is heard
EARLY_US = 300_000  # before that it is renewed, if somebody asks
HOT = 4  # claims within a tick that cannot be answered here, before anything is charged in advance
SMALL = 100  # a meter of less is never
SHORT_S = 10  # nor is a window of less: what is charged in advance would not be good for long
BEGIN = 8  # claims that a new lease is for
ANSWERS = 5  # of the script, for each meter

What = Literal["more", "back", "close"]


class Lease:
    """What this process has of one meter. `used + left` is what it has charged, of a window in the present slice."""

    __slots__ = (
        "amount", "asked", "asking", "closing", "id", "left", "life", "lowest", "meter", "most_left", "n", "open",
        "owed", "renew_us", "size", "slice", "tight_us", "told_us", "until_us", "used", "wanted",
    )  # fmt: skip

    def __init__(self, process: str, meter: Meter) -> None:
        self.id = f"lease:{process}:{meter.name}"
        self.meter = meter
        self.life = 0  # the connection that it was charged on
        self.slice = -1
        self.n = 0  # what all have charged, as far as it is known here
        self.used = 0  # of a count: what was taken and has not come back
        self.left = 0
        self.open = 0  # claims that are not settled
        self.owed: dict[int, int] = {}  # corrections of slices, not told yet
        self.until_us = self.renew_us = self.told_us = 0
        self.tight_us = 0  # there is too little to charge in advance, as far as is known until then
        self.amount = 0  # of the last claim that asked for more
        self.size = self.wanted = 0  # how much it is to be, and how much of that was asked for
        self.most_left = self.lowest = 0  # since it was last told: how much of it was needed
        self.asked = 0  # how often; an answer to an older question grants nothing
        self.asking = self.closing = False

    def answers(self, amount: int, now_us: int, life: int) -> bool:
        return amount <= self.left and now_us < self.until_us and life == self.life

    def take(self, amount: int) -> int:
        """What is used by all, then."""
        self.left -= amount
        self.used += amount
        self.open += 1
        self.lowest = min(self.lowest, self.left)
        return self.n - self.left

    def put_back(self, slice: int, amount: int) -> None:
        """What was taken in this slice was so much less, or more."""
        if self.meter.per_s and (slice != self.slice or amount < 0):
            self.owe(slice, -amount)
        else:
            self.left += amount
            self.used -= amount

    def owe(self, slice: int, difference: int) -> None:
        if difference:
            self.owed[slice] = self.owed.get(slice, 0) + difference
            self.n += difference

    def runs_low(self, now_us: int) -> bool:
        return now_us >= self.renew_us or 4 * self.left < self.size

    def ask(self, what: What, now_us: int, life: int) -> list[str | int]:
        """What the server is told, and asked for. What is left is kept while it is good and more is wanted."""
        self.asked += 1
        self.told_us = now_us
        self.asking, self.closing = what == "more", what == "close"
        if life != self.life:
            self._begin_anew(life)
        kept, wanted = 0, -1 if what == "close" else 0
        self.wanted = 0
        if what == "more":
            self.size = self._needed()
            if now_us < self.until_us or not self.meter.per_s:
                kept = min(max(self.left, 0), self.size)
            wanted = self.wanted = self.size - kept
        if self.meter.per_s:
            self.owe(self.slice, kept - self.left)
        self.left = self.most_left = self.lowest = kept
        corrections = [number for one in self.owed.items() for number in one]
        self.owed = {}
        meter, has = self.meter, self.used + kept
        return [
            self.id, meter.most, meter.per_s, meter.forget_s, int(meter.at_once), has, kept, wanted, self.amount,
            len(corrections) // 2, *corrections,
        ]  # fmt: skip

    def _needed(self) -> int:
        """Twice what was, and twice as much again of what did not suffice; less is learned slowly."""
        if not self.amount:
            return 0
        before = 2 * self.size if self.left < self.amount else self.size * 7 // 8
        return max(2 * (self.most_left - self.lowest), before, BEGIN * self.amount)

    def _begin_anew(self, life: int) -> None:
        """On another connection, maybe to another server, which need not know what was charged."""
        self.life = life
        self.left = 0
        self.owed = {slice: owed for slice, owed in self.owed.items() if owed > 0}

    def hear(self, asked: int, sent_us: int, said: Sequence[int]) -> bool:
        """The answer to the question `asked`. Whether what is left must go back: there is too little for all."""
        n, slice, granted, rest_us, tight = said
        per_s = self.meter.per_s
        if asked != self.asked:
            if per_s:
                self.owe(slice, -granted)
            return False
        self.asking = False
        if self.closing:
            self.closing, self.used = False, 0
        if slice != self.slice:
            self.owe(self.slice, -self.left)
            self.slice, self.left = slice, 0
            self.most_left = self.lowest = 0
        self.n = n + sum(self.owed.values())
        self.size -= max(self.wanted - granted, 0)  # no more than that can be had
        self.left += granted
        self.most_left += granted
        self.lowest += granted
        good_us = min(rest_us, PERIOD_US) if per_s else PERIOD_US
        self.until_us = sent_us + good_us
        self.renew_us = self.until_us - min(EARLY_US, good_us // 3)
        self.tight_us = sent_us + PERIOD_US if tight else 0
        return bool(tight) and (self.left > 0 or bool(self.owed))

    def at_rest(self, now_us: int, life: int, renew_us: int) -> What | None:
        """What is to be said of one that nobody has asked for lately; None: nothing."""
        if life == self.life and (self.asking or now_us < self.until_us + PERIOD_US):
            return None
        if self.open:
            overdue = not self.meter.per_s and now_us >= self.told_us + renew_us
            return "back" if self.left or self.owed or overdue or life != self.life else None
        return "close" if self.left or self.owed or self.used else None

    def is_nothing(self, now_us: int) -> bool:
        has = self.open or self.left or self.owed or self.used or self.asking or self.closing
        return not has and now_us >= max(self.until_us + PERIOD_US, self.tight_us)


class Leases:
    """Of one process, on the connection that its claims go. `now_us`: in the time of windows, and never back."""

    def __init__(self, connection: Asks, now_us: Callable[[], int], asked_at: Callable[[], int], lease_us: int) -> None:
        self._connection = connection
        self._now_us = now_us
        self._asked_at = asked_at  # the time that the server is told
        self._lease_us = lease_us
        self._process = token_hex(8)
        self._houses: dict[str, dict[str, Lease]] = {}
        self._asked_for: dict[str, int] = {}  # claims that were not answered here since the last tick, by first meter

    def take(self, claim: Claim) -> Taken | None:
        """Taken, or nothing is; then it must be asked for. What is wanted often is charged in advance from then on."""
        life, charges = self._connection.life, claim.charges
        house = self._houses.get(claim.house)
        if house is None or not charges:
            self._note(claim)
            return None
        now_us, found, good = self._now_us(), [], life > 0
        for meter, amount, _ in charges:
            lease = house.get(meter.name)
            if lease is None:
                self._note(claim)
                return None
            if lease.meter is not meter:
                good = self._measure(lease, meter) and good
            good = good and lease.answers(amount, now_us, life)
            found.append(lease)
        if good:
            claim.slices = [lease.slice for lease in found]
            claim.lent = (life, found)
            used = tuple([lease.take(charge.amount) for lease, charge in zip(found, charges, strict=True)])
        for lease in found:
            if not good or (not lease.asking and lease.runs_low(now_us)):
                self._top_up(claim, found, now_us, life)
                break
        return Taken(used) if good else None

    def _measure(self, lease: Lease, meter: Meter) -> bool:
        """Whether it is still the same meter: somebody may have changed how much of it there is."""
        same, lease.meter = lease.meter == meter, meter
        if not same:
            lease.until_us = 0
        return same

    def _note(self, claim: Claim) -> None:
        """One that could not be answered here. The fourth in a second is why the fifth can."""
        if not claim.charges or not all(_may_be_leased(charge.meter) for charge in claim.charges):
            return
        name = claim.charges[0].meter.name
        times = self._asked_for[name] = self._asked_for.get(name, 0) + 1
        if times < HOT or not self._connection.life:
            return
        house = self._houses.setdefault(claim.house, {})
        for meter, _, _ in claim.charges:
            if meter.name not in house:
                house[meter.name] = Lease(self._process, meter)
        found = [house[meter.name] for meter, _, _ in claim.charges]
        self._top_up(claim, found, self._now_us(), self._connection.life)

    def _top_up(self, claim: Claim, found: Sequence[Lease], now_us: int, life: int) -> None:
        """It leaves with the claim itself, if that must be asked for: one write."""
        if not life or any(lease.closing or now_us < lease.tight_us for lease in found):
            return
        due = []
        for lease, charge in zip(found, claim.charges, strict=True):
            if not lease.asking and (lease.runs_low(now_us) or not lease.answers(charge.amount, now_us, life)):
                lease.amount = charge.amount
                due.append(lease)
        if due:
            self._ask(claim.house, due, "more")

    def settle(self, claim: Claim, truth: Sequence[int]) -> None:
        """What was not used is taken again here, or told: at once where little is left, for others wait for it."""
        life, found = cast(tuple[int, Sequence[Lease]], claim.lent)
        now, now_us = self._connection.life, self._now_us()
        hasty = []
        for lease, at, charge, true in zip(found, claim.slices, claim.charges, truth, strict=True):
            lease.open -= 1
            back = charge.amount - true
            if not back or (lease.meter.per_s and life != lease.life and back > 0):
                continue  # the server of now need not have heard of it: it counts until it has left the window
            lease.put_back(at, back)
            cold = now_us >= lease.until_us + PERIOD_US
            if (cold or now_us < lease.tight_us or now != lease.life) and not lease.asking:
                hasty.append(lease)
        if hasty and now:
            self._ask(claim.house, hasty, "back")

    def heard(self, claim: Claim, charged: Sequence[int]) -> Sequence[int]:
        """A claim that was asked for says what all have charged; what is used is less by what is left here."""
        house = self._houses.get(claim.house)
        if not house:
            return charged
        used = list(charged)
        for place, (charge, n) in enumerate(zip(claim.charges, charged, strict=True)):
            lease = house.get(charge.meter.name)
            if lease is not None:
                lease.n = n + sum(lease.owed.values())
                used[place] = lease.n - lease.left
        return used

    def corrected(self, claim: Claim, truth: Sequence[int]) -> None:
        """So was what it was in truth."""
        house = self._houses.get(claim.house)
        if house:
            for charge, true in zip(claim.charges, truth, strict=True):
                lease = house.get(charge.meter.name)
                if lease is not None:
                    lease.n += true - charge.amount

    def release(self, claim: Claim) -> bool:
        """Before somebody is refused: whether anything of these meters was left here, and is given back now."""
        house = self._houses.get(claim.house, {})
        found = [house[meter.name] for meter, _, _ in claim.charges if meter.name in house]
        left = [lease for lease in found if (lease.left > 0 or lease.owed) and lease.life == self._connection.life]
        if left:
            self._ask(claim.house, left, "back")
        return bool(left)

    def tick(self) -> None:
        """Give back what nobody has asked for lately, keep alive what is used, and forget what is nothing."""
        self._asked_for.clear()
        now_us, life = self._now_us(), self._connection.life
        for name, house in list(self._houses.items()):
            for what in ("back", "close"):
                some = [one for one in house.values() if one.at_rest(now_us, life, self._lease_us // 4) == what]
                if some and life:
                    self._ask(name, some, what)
            for id, lease in list(house.items()):
                if lease.is_nothing(now_us):
                    del house[id]
            if not house:
                del self._houses[name]

    def give_back(self) -> bool:
        """All of it, at the end; whether there was any."""
        had = False
        for name, house in self._houses.items():
            for what in ("back", "close"):
                some = [one for one in house.values() if bool(one.open) == (what == "back")]
                if some:
                    had = True
                    self._ask(name, some, what)
        return had

    def _ask(self, house: str, leases: Iterable[Lease], what: What) -> None:
        life, sent_us = self._connection.life, self._now_us()
        keys = [f"tidegate:{{{house}}}:{place}" for place in ("holds", "leases", "lost")]
        args: list[str | int] = [self._asked_at(), self._lease_us]
        asked = []
        for lease in leases:
            keys.append(f"tidegate:{{{house}}}:{lease.meter.name}")
            args += lease.ask(what, sent_us, life)
            asked.append((lease, lease.asked))
        with suppress(StoreDown):
            answer = self._connection.send(b"EVALSHA", LEND.sha, len(keys), *keys, *args)
            answer.add_done_callback(partial(self._answered, house, asked, sent_us))
            return
        for lease, _ in asked:
            lease.asking = False

    def _answered(
        self, house: str, asked: Sequence[tuple[Lease, int]], sent_us: int, answer: asyncio.Future[Any]
    ) -> None:
        if answer.cancelled() or answer.exception() is not None:
            for lease, number in asked:
                if number == lease.asked:  # what was granted, if anything, is told as nothing at the next time
                    lease.asking = False
                    lease.until_us = lease.renew_us = 0
            return
        said, tight = answer.result(), []
        for place, (lease, number) in enumerate(asked):
            if lease.hear(number, sent_us, said[place * ANSWERS : (place + 1) * ANSWERS]):
                tight.append(lease)
        if tight and self._connection.life:
            self._ask(house, tight, "back")


def _may_be_leased(meter: Meter) -> bool:
    return meter.most >= SMALL and (not meter.per_s or meter.per_s >= SHORT_S)
