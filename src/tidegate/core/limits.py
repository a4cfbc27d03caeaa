"""How much may be used, by whom, in how long? The words that keys, teams, limits and budgets share."""

from __future__ import annotations

from typing import Annotated, Literal

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
