"""After a failed attempt: the same target again, the next one, or give the error back?"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidegate.core.errors import TidegateError, UpstreamFailed, UpstreamLimited, UpstreamTimeout


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a target is asked, and how long to wait in between.

    tries: how many times one target is asked before the next one is.
    base_s: seconds before the second try; each further wait is twice as long.
    max_s: no wait is longer than this; a provider that asks for more is passed over.
    """

    tries: Annotated[int, Meta(ge=1, le=100)] = 3
    base_s: Annotated[float, Meta(ge=0)] = 0.1
    max_s: Annotated[float, Meta(ge=0)] = 5.0


Step = Literal["again", "next", "give_back"]
Kind = Literal["refused", "foreign", "key", "limited", "server", "timeout", "unreachable", "nonsense"]


class Failure(msgspec.Struct, frozen=True):
    """Why one attempt failed.

    kind: refused (the request is wrong, and would be anywhere) | foreign (this one's dialect cannot say it) |
    key (ours is not accepted) | limited | server (5xx) | timeout | unreachable (no connection, or lost) |
    nonsense (an answer that is none).
    """

    kind: Kind
    said: str
    status: int | None = None
    retry_after_s: float | None = None
    refusal: TidegateError | None = None  # what is given back as it is

    @property
    def outcome(self) -> str:
        return {"refused": "refused", "limited": "limited", "timeout": "timeout"}.get(self.kind, "failed")

    def error(self, message: str) -> TidegateError:
        """What a client is told when this was the last failure of all."""
        if self.refusal is not None:
            return self.refusal
        if self.kind == "limited":
            return UpstreamLimited(message, retry_after_s=self.retry_after_s)
        if self.kind == "timeout":
            return UpstreamTimeout(message)
        return UpstreamFailed(message)


# A time-out has used up its time already, and our own key will not get better by asking again: both go to the next.
NEXT_STEP: dict[Kind, Step] = {
    "refused": "give_back",
    "foreign": "next",
    "key": "next",
    "limited": "again",
    "server": "again",
    "timeout": "next",
    "unreachable": "again",
    "nonsense": "again",
}


def classify(status: int) -> Kind:
    """What an error status of a provider means."""
    if status in (401, 402, 403):
        return "key"
    if status == 429:
        return "limited"
    if status in (408, 425) or status >= 500:
        return "server"
    if status >= 400:
        return "refused"
    return "nonsense"


def next_step(failure: Failure, tries: int, config: Config) -> Step:
    """`tries`: how often this target has been asked for this call, this time included."""
    step = NEXT_STEP[failure.kind]
    if step == "again" and (tries >= config.tries or (failure.retry_after_s or 0.0) > config.max_s):
        return "next"
    return step


def wait_s(failure: Failure, tries: int, config: Config, rand: float) -> float:
    """Seconds until the next try: what the provider asked for, else base × 2^n, jittered by `rand` (0–1) to half."""
    backoff = min(config.base_s * 2.0 ** (tries - 1), config.max_s)
    return max(failure.retry_after_s or 0.0, backoff * (0.5 + rand / 2))
