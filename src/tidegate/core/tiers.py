"""Which of a route's models was asked first, and why? And how well does choosing do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from tidegate.core.ports.books import AttemptRow

Reason = Literal["cut_off", "schema", "refusal", "confidence", "judge"]  # why an answer will not do


class Checked(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one tier's answer before anybody saw it.

    `kept`; `escalated`: a dearer tier was asked; `given`: it was found wanting, and no dearer tier has answered.
    """

    tier: str
    outcome: Literal["kept", "escalated", "given"]
    reason: Reason | None = None
    said: str = ""  # in words

    @property
    def line(self) -> str:
        return f"{self.tier} {self.outcome}" + (f" ({self.reason})" if self.reason else "")


class Chosen(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What was decided for one call, once. `chances`: of each tier that it could be, to answer well, cheapest first."""

    tier: str
    why: str
    chances: tuple[float, ...] = ()
    hard: float = 0.0  # how hard the question looked, as a logit: 0 is like most
    cost: float = 1.0  # of the tier, by its price, as a share of the dearest one's
    beside: str = ""  # the tier that answers it too, in the background
    share: float = 0.0  # how likely it was that it would
    checks: tuple[Checked, ...] = ()  # in a cascade, in order

    @property
    def is_wanting(self) -> bool:
        """The answer that was given is one that will not do, for want of a better."""
        return bool(self.checks) and self.checks[-1].outcome == "given"

    def dropped_nusd(self, attempts: Sequence[AttemptRow]) -> int:
        """What answers have cost that nobody has seen: all before the last that was asked in place of one."""
        if not self.checks or self.is_wanting:
            return 0
        last = max((at for at, attempt in enumerate(attempts) if attempt.why == "cascade"), default=0)
        return sum(attempt.cost_nusd or 0 for attempt in attempts[:last])


# --- what came of it


class Estimate(msgspec.Struct, frozen=True):
    """A mean of values from 0 to 1, and the interval that holds the true one in 95 of 100 cases."""

    value: float
    low: float
    high: float
    of: int


class Found(msgspec.Struct, frozen=True):
    """What was said, in figures. Estimates are None where nobody has said anything."""

    quality: Mapping[str, Estimate] = {}  # of what clients got, by who says so
    regret: Estimate | None = None  # how much better the other tier was, where both were asked
    overpaid: Estimate | None = None  # of those, where the cheaper one would have been as good


class Figures(msgspec.Struct, frozen=True):
    """Of one route's tiers in one organisation."""

    route: str
    organisation: str
    tiers: tuple[str, ...]
    labels: int
    learned: bool  # heads answer, and not the prior alone
    found: Found
    saving: float | None  # of what the dearest tier would have cost, by this process since it began
    strange: float | None  # of the last questions of this process, so many are far from all that was learned from
