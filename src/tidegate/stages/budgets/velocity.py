"""Is money spent much faster than before? Five minutes and an hour of a key, beside its last week and its budget.

Both windows must burn fast: the short one ends the alarm soon after the spending has ended, the long one keeps a single
dear call from raising it. In memory, bounded. Where processes count together, each purchase also charges three meters
of its key, and hears what they have: so a process knows what all of them spent, as of its own last purchase.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidegate.core.call import Call
from tidegate.core.errors import BudgetSpent
from tidegate.core.limits import MOST, Meter
from tidegate.core.money import NUSD_PER_USD, usd_text
from tidegate.core.world import World

SLICE_S = 60
SHORT_S = 300
LONG_S = 3_600
WEEK_S = 7 * 86_400
WINDOWS = (SHORT_S, LONG_S, WEEK_S)
KEYS = 10_000


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spending of a key in the last five minutes and the last hour, against its pace of seven days and its budgets.

    policy: `off` looks at nothing, `warn` tells the operator, `throttle` makes each call wait as well, `stop` refuses.
    times: how much faster than its own pace, or than a budget that is to last, both windows must be.
    above_usd: what an hour may cost at any pace: below it nothing is told.
    wait_s: how long each call waits where it is throttled.
    """

    policy: Literal["off", "warn", "throttle", "stop"] = "warn"
    times: Annotated[float, Meta(gt=1)] = 10.0
    above_usd: Annotated[float, Meta(ge=0)] = 1.0
    wait_s: Annotated[float, Meta(ge=0, le=60)] = 1.0


class Pace:
    """What one key spent: by minutes of the last hour, and its pace over a week, which forgets slowly."""

    __slots__ = ("first_s", "heard", "heard_s", "minutes", "recent_nusd", "told_s", "updated_s", "week_nusd")

    def __init__(self, now_s: float) -> None:
        self.minutes: dict[int, int] = {}
        self.first_s = self.updated_s = now_s
        self.recent_nusd = 0  # what the minutes sum to: at least what the last hour cost
        self.week_nusd = 0.0  # what a week costs at the pace so far
        self.told_s = self.heard_s = -math.inf
        self.heard: Sequence[int] = ()  # what all processes spent, in each of WINDOWS

    def add(self, nusd: int, now_s: float) -> None:
        minute = int(now_s // SLICE_S)
        self.minutes[minute] = self.minutes.get(minute, 0) + nusd
        self.recent_nusd += nusd
        while len(self.minutes) > LONG_S // SLICE_S:
            self.recent_nusd -= self.minutes.pop(next(iter(self.minutes)))
        self.week_nusd = self.week_nusd * math.exp((self.updated_s - now_s) / WEEK_S) + nusd
        self.updated_s = now_s

    def within(self, seconds: int, now_s: float) -> int:
        first = int((now_s - seconds) // SLICE_S)
        return sum(nusd for minute, nusd in self.minutes.items() if minute > first)

    def spent(self, now_s: float) -> tuple[float, float, float]:
        """In five minutes, an hour and a week: by all processes, where they were heard within a minute."""
        if now_s - self.heard_s <= SLICE_S:
            short, long, week = self.heard
            return short, long, week
        return self.within(SHORT_S, now_s), self.within(LONG_S, now_s), self.week_nusd

    def times_faster(self, now_s: float, day_nusd: int) -> float:
        """The slower of both windows, in multiples of its pace before this hour, or of what makes `day_nusd` a day."""
        short, long, week = self.spent(now_s)
        lived_s = min(now_s - self.first_s, WEEK_S) - LONG_S
        before = (week - long) / lived_s if lived_s > LONG_S else 0.0
        paces = [pace for pace in (before, day_nusd / 86_400) if pace > 0]
        return min(short / SHORT_S, long / LONG_S) / min(paces) if paces else 0.0


def meters_of(key_id: str) -> Sequence[Meter]:
    return [Meter(f"key:{key_id}:pace:{window_s}", MOST, window_s) for window_s in WINDOWS]


class Velocity:
    def __init__(self, config: Config, world: World) -> None:
        self._config = config
        self._world = world
        self.shared = config.policy != "off" and world.counters.together
        self._above_nusd = round(config.above_usd * NUSD_PER_USD)
        self._paces: OrderedDict[str, Pace] = OrderedDict()

    def spent(self, call: Call, nusd: int) -> None:
        if self._config.policy == "off" or not nusd or call.principal is None:
            return
        now_s = self._world.clock.now_ns() / 1e9
        self._pace(call.principal.key_id, now_s).add(nusd, now_s)

    def heard(self, key_id: str, used: Sequence[int]) -> None:
        """What all processes have spent for this key, by WINDOWS."""
        now_s = self._world.clock.now_ns() / 1e9
        pace = self._pace(key_id, now_s)
        pace.heard, pace.heard_s = used, now_s
        pace.recent_nusd = max(pace.recent_nusd, used[1])

    def _pace(self, key_id: str, now_s: float) -> Pace:
        pace = self._paces.get(key_id)
        if pace is None:
            pace = self._paces[key_id] = Pace(now_s)
            if len(self._paces) > KEYS:
                self._paces.popitem(last=False)
        return pace

    def may_be_fast(self, call: Call) -> bool:
        """Whether `check` is worth its while: an hour of this key has cost something."""
        pace = self._paces.get(call.principal.key_id) if call.principal is not None and self._paces else None
        return pace is not None and pace.recent_nusd >= self._above_nusd

    async def check(self, call: Call, day_nusd: int) -> None:
        """Before a purchase. Raises BudgetSpent where the policy is to stop."""
        pace = self._paces.get(call.principal.key_id) if call.principal is not None and self._paces else None
        if pace is None or call.principal is None or pace.recent_nusd < self._above_nusd:
            return
        now_s = self._world.clock.now_ns() / 1e9
        hour = round(pace.spent(now_s)[1])
        if hour < self._above_nusd:
            return
        times = pace.times_faster(now_s, day_nusd)
        if times < self._config.times:
            return
        if now_s - pace.told_s > LONG_S:
            pace.told_s = now_s
            fields = {"key": call.principal.key_id, "times": round(times, 1), "last_hour_usd": usd_text(hour)}
            self._world.events.notice("spending_fast", fields)
        if self._config.policy == "stop":
            raise BudgetSpent(
                f"key {call.principal.name!r} spends {times:.0f} times as fast as before, or as its budget allows; "
                "wait until it has calmed down, or set budgets.velocity",
                retry_after_s=SHORT_S,
            )
        call.notes = (*call.notes, f"spending is {times:.0f} times as fast as it should be")
        if self._config.policy == "throttle":
            await self._world.clock.sleep(self._config.wait_s)
