"""What do paths of administration and their bodies look like? The shapes that several of them share."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from tidegate.core import limits
from tidegate.core.errors import BadRequest
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.ports import Key, Organisation, Team, User
from tidegate.core.values import Duration
from tidegate.stages.auth.desk import LONGEST_WINDOW_S

Text = Annotated[str, Field(max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=100, description="As people will read it.")]
Id = Annotated[str, Field(min_length=1, max_length=128)]
MOST_USD = 1_000_000  # a float of dollars is exact to the nano-dollar below nine million


class Body(BaseModel):
    """What a client sends: an unknown field is an error, so that what was only shown is never taken back."""

    model_config = ConfigDict(extra="forbid")

    def given(self) -> dict[str, Any]:
        """The fields that were said, as the desk takes them."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        return {name: _plain(value) for name, value in said.items()}


Most = Annotated[int, Field(ge=0, le=10**15)]


class PerTime(Body):
    """At most so many within any window of `per_s` seconds."""

    of: Literal["requests", "input_tokens", "output_tokens", "tokens"]
    most: Most
    per_s: Annotated[int, Field(ge=1, le=LONGEST_WINDOW_S, description="From a second to 31 days.")]


class AtOnce(Body):
    """At most so many calls at any moment."""

    of: Literal["at_once"]
    most: Most
    per_s: Literal[0] = 0


Share = Annotated[float, Field(gt=0, le=1)]


class Budget(Body):
    """At most so many dollars in a period."""

    usd: Annotated[float, Field(ge=0, le=MOST_USD)]
    per: limits.Period = "month"
    rolling: bool = False
    zone: Annotated[str, Field(max_length=64, description="Such as Europe/Berlin.")] = "UTC"
    warn_at: Annotated[list[Share], Field(max_length=10)] = [0.8]


Limits = Annotated[list[Annotated[PerTime | AtOnce, Field(discriminator="of")]], Field(max_length=200)]
Budgets = Annotated[list[Budget], Field(max_length=200)]


class Problem(BaseModel):
    error: dict[str, Any]


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "The request or its key is wrong; the message says what to do."},
    "5XX": {"model": Problem, "description": "It could not be done now; `code` says why."},
}


def paths(prefix: str = "", tag: str | None = None) -> APIRouter:
    """Some paths of administration. A body need not say that it is JSON: what is not was refused before."""
    return APIRouter(prefix=prefix, tags=[tag] if tag else None, responses=ERRORS, strict_content_type=False)


def _plain(value: Any) -> Any:
    """What is within a list, as the ports have it."""
    if isinstance(value, PerTime | AtOnce):
        return limits.Limit(value.of, value.most, value.per_s)
    if isinstance(value, Budget):
        nusd = round(value.usd * NUSD_PER_USD)
        return limits.Budget(nusd, value.per, value.rolling, value.zone, tuple(value.warn_at))
    return tuple(_plain(one) for one in value) if isinstance(value, list) else value


def shown(one: Key | Organisation | Team | User) -> dict[str, Any]:
    """What may be seen of it, money in dollars."""
    said: dict[str, Any] = msgspec.to_builtins(one)
    said["limits"] = [{"of": limit.of, "most": limit.most, "per_s": limit.per_s} for limit in one.limits]
    said["budgets"] = [
        {
            "usd": budget.nusd / NUSD_PER_USD,
            "per": budget.per,
            "rolling": budget.rolling,
            "zone": budget.zone,
            "warn_at": list(budget.warn_at),
        }
        for budget in one.budgets
    ]
    return said


def seconds(text: str, param: str) -> float:
    """30d, 12h, 90s: as the configuration says durations."""
    try:
        return Duration.parse(text)
    except ValueError as wrong:
        raise BadRequest(f"{param}: {wrong}", param=param) from None
