"""Which answers does a judge hear? A share of a route's live calls, whole, as guards let them pass. Nobody waits.

What is handed over is what was asked as it went out and what was answered before a caller's own values are put back:
where they are masked, a judge sees the masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from tidegate.core.call import Call, Reply
from tidegate.core.overheard import Overheard
from tidegate.core.values import Share, Size

HEARD = ("chat",)  # operations


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether answers of live calls are judged, afterwards and in the background.

    suite: a file of YAML whose scorers look, as for `tidegate eval run`; its cases are not asked. Null: nobody does.
    share: of the calls that end well.
    max_usd_per_day: no more is judged when so much was spent on it, in each process; the owner of the route pays.
    max_bytes: of an answer; a longer one is not judged.
    cards: the folder of the judges' cards; a judge without a good one advises.
    """

    suite: str | None = None
    share: Share = Share(0.01)
    max_usd_per_day: Annotated[float, Meta(ge=0)] = 1.0
    max_bytes: Size = Size(64 * 1024)
    cards: str = "judge-cards"


def trouble(config: Config) -> tuple[str, str] | None:
    """Which key is wrong, and what to do."""
    if config.suite is not None and not config.suite.strip():
        return "suite", "must name a file; to judge nothing, leave it out"
    return None


class Heard(NamedTuple):
    """One answer, whole."""

    call: Call
    text: str


Hand = Callable[[Heard], None]  # must not wait


class Ear(NamedTuple):
    """Of one route."""

    config: Config
    hand: Hand


class Judging:
    """`ears`: of the routes that are judged."""

    def __init__(self, ears: Mapping[str, Ear], chance: Random | None = None) -> None:
        self._ears = ears
        self._chance = chance or Random()

    def listen(self, call: Call, reply: Reply) -> Reply:
        """The same reply, heard as it passes by. The very same where nobody listens."""
        if not self._ears or call.route is None:
            return reply
        ear = self._ears.get(call.route.name)
        if ear is None or call.kind != "live" or call.own is not None or call.operation not in HEARD:
            return reply
        return Listening(call, reply, ear) if self._chance.random() < ear.config.share else reply


class Listening(Overheard):
    """A reply whose first choice is handed over at its end, if it ends well."""

    def __init__(self, call: Call, reply: Reply, ear: Ear) -> None:
        super().__init__(call, reply, ear.config.max_bytes)
        self._hand = ear.hand

    def ended(self, text: str | None) -> None:
        if text:
            self._hand(Heard(self._call, text))
