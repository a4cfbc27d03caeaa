"""How much may be used, by whom, in how long? The words that keys, teams, limits and budgets share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from tidegate.core.values import Duration

Of = Literal["requests", "input_tokens", "output_tokens", "tokens", "at_once"]
Period = Literal["day", "week", "month", "total"]
Kind = Literal["organisation", "team", "user", "key"]
OnStoreDown = Literal["local_share", "deny", "allow"]
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

    A count of all may be forgotten when nothing was charged for `forget_s` seconds; 0: never. `at_once`: all of what a
    claim charges comes back when it is settled.
    """

    name: str
    most: int
    per_s: int = 0
    forget_s: int = 0
    at_once: bool = False  # all of it is given back when calls end


class Charge(NamedTuple):
    meter: Meter
    amount: int
    kept: int  # of it, when whoever charged it dies without settling


class Claim:
    """Charges to several meters at once, all or none. Its id is chosen before anybody is asked, and names it for ever.

    `house`: claims of one house are counted together in one place; an organisation is one.
    """

    __slots__ = ("charges", "held", "house", "id", "lent", "settled", "slices")

    def __init__(self, id: str, house: str, charges: Sequence[Charge]) -> None:
        self.id = id
        self.house = house
        self.charges = charges
        self.held = False  # something is given back when its holder dies
        for _, amount, kept in charges:
            if amount != kept:
                self.held = True
                break
        self.slices: Sequence[int] = ()  # by the counters: where each was charged
        self.lent: object = None  # by the counters: what it was taken from, if that was charged in advance
        self.settled = False  # by the counters


class Taken(NamedTuple):
    """All meters had room and are charged; `used` is what each has now."""

    used: tuple[int, ...]


class Full(NamedTuple):
    """Nothing is charged: of those that had no room, the one to wait for longest."""

    at: int  # which charge
    used: tuple[int, ...]
    wait_s: float | None  # until so much has left the window, if nobody else comes; None: that is not known, or never


DAY_S = 86_400
UNITS = {1: "second", 60: "minute", 3600: "hour", DAY_S: "day"}


class Rule(msgspec.Struct, frozen=True):
    """A limit on somebody, and the meter that counts for it."""

    who: str  # as people read it: key 'ci'
    limit: Limit
    meter: Meter

    @classmethod
    def of(cls, owner: str, who: str, limit: Limit) -> Rule:
        """`owner` names the meter: who shares it shares the limit."""
        forget_s = 0 if limit.per_s else DAY_S
        name, at_once = f"{owner}:{limit.of}:{limit.per_s}", limit.of == "at_once"
        return cls(who, limit, Meter(name, limit.most, limit.per_s, forget_s, at_once))

    @property
    def whose(self) -> str:
        """key, user, team, organisation or route; caller, for what is counted by end user or address."""
        word = self.who.partition(" ")[0]
        return "caller" if word == "this" else word

    @property
    def shown(self) -> str:
        """60 requests per minute"""
        if self.limit.of == "at_once":
            return f"{self.limit.most} calls at once"
        per = UNITS.get(self.limit.per_s) or f"{self.limit.per_s} s"
        return f"{self.limit.most} {self.limit.of.replace('_', ' ')} per {per}"


class Room(NamedTuple):
    """What a client is told of a limit that its call was counted against."""

    limit: Limit
    left: int


class LimitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most so many, in how long.

    of: what is counted.
    most: how many.
    per: in any window of this length, in whole seconds; of at_once, nothing.
    """

    of: Of
    most: Annotated[int, Meta(ge=0, le=MOST)]
    per: Duration = Duration(60)

    @property
    def limit(self) -> Limit:
        return Limit(self.of, self.most, 0 if self.of == "at_once" else max(round(self.per), 1))
