"""How much may be used, by whom, in how long? The words that keys, teams, limits and budgets share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

Of = Literal["requests", "input_tokens", "output_tokens", "tokens", "at_once"]
Period = Literal["day", "week", "month", "total"]
Kind = Literal["organisation", "team", "user", "key"]
Role = Literal["admin", "manager", "member", "viewer"]  # everything · its team · asks models · looks


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most so many within any window of `per_s` seconds; of `at_once`, at any moment (`per_s` is 0)."""

    of: Of
    most: Annotated[int, Meta(ge=0)]
    per_s: Annotated[int, Meta(ge=0)] = 0


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most so many nano-dollars in a period: of the calendar in `zone`, or the last so many days where `rolling`."""

    nusd: Annotated[int, Meta(ge=0)]
    per: Period = "month"
    rolling: bool = False
    zone: str = "UTC"
    warn_at: tuple[float, ...] = (0.8,)  # shares of it, each told once a period


class Level(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of those that a call is charged to: its key, and whom the key belongs to."""

    kind: Kind
    id: str
    name: str = ""
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()


# --- how it is counted -----------------------------------------------------------------------------------------------

SLICES = 128  # of a window: it moves on by these, so that it is never shorter than it says, and 1/128 longer at most
MOST = 2**53 - 1  # of any count, so that whoever counts in floating point counts exactly; $9 million in nano-dollars


class Meter(msgspec.Struct, frozen=True):
    """A count that many claims charge: of what came within any window of `per_s` seconds, or of all where that is 0.

    A count of all may be forgotten when nothing was charged for `forget_s` seconds; 0: never.
    """

    name: str
    most: int
    per_s: int = 0
    forget_s: int = 0


class Charge(NamedTuple):
    meter: Meter
    amount: int
    kept: int  # of it, when whoever charged it dies without settling


class Claim:
    """Charges to several meters at once, all or none. Its id is chosen before anybody is asked, and names it for ever.

    `house`: claims of one house are counted together in one place; an organisation is one.
    """

    __slots__ = ("charges", "held", "house", "id", "settled", "slices")

    def __init__(self, id: str, house: str, charges: Sequence[Charge]) -> None:
        self.id = id
        self.house = house
        self.charges = charges
        self.held = any(amount != kept for _, amount, kept in charges)  # something is given back when its holder dies
        self.slices: Sequence[int] = ()  # by the counters: where each was charged
        self.settled = False  # by the counters


class Taken(NamedTuple):
    """All meters had room and are charged; `used` is what each has now."""

    used: tuple[int, ...]


class Full(NamedTuple):
    """Nothing is charged: of those that had no room, the one to wait for longest."""

    at: int  # which charge
    used: tuple[int, ...]
    wait_s: float | None  # until so much has left the window, if nobody else comes; None: that is not known, or never
