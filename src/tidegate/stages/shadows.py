"""Which calls are answered a second time, in the background, by an arm or a tier that nobody sees?

Those that an experiment in shadow mode has chosen, or a route that learns, once their client has its answer. What is
handed over is the answer as guards let it pass, before a caller's own values are put back: where they are masked, a
judge sees the masks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.call import Call, Reply
from tidegate.core.overheard import Overheard
from tidegate.core.values import Size

SHADOW = "shadow"  # the purpose of these calls


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answers that are given in the background, of experiments in shadow mode and of routes with `router.shadow_share`.

    at_once: so many of one process at the same time.
    waiting: calls that wait for that; more are left out, and counted.
    max_bytes: of a question, and of an answer that is compared; what is longer is left out.
    max_usd_per_day: for each experiment, what its judges cost among it; the most that a call can cost is set aside
        before it is made. An experiment's own `max_usd` is for all of it.
    """

    at_once: Annotated[int, Meta(ge=1)] = 4
    waiting: Annotated[int, Meta(ge=0)] = 100
    max_bytes: Size = Size(256 * 1024)
    max_usd_per_day: Annotated[float, Meta(gt=0)] = 5.0


Hand = Callable[[Call, str, Config], None]  # a call that was answered, and with what; must not wait
Hear = Callable[[Call, str], None]


class Shadows:
    """`hand`: to whom calls are given that are to be answered again; `hear`: who waits for what a shadow says."""

    def __init__(self, config: Config, hand: Hand, hear: Hear) -> None:
        self._config = config
        self._hand = hand
        self._hear = hear

    def listen(self, call: Call, reply: Reply) -> Reply:
        """The same reply, heard as it passes by. The very same where nobody waits for it."""
        if call.own is not None:
            return Listening(call, reply, self._config, self._hear) if call.own.purpose == SHADOW else reply
        if call.kind != "live" or (call.cached is not None and call.cached.found):
            return reply  # what a cache answers has cost nothing that could be compared
        return Listening(call, reply, self._config, self._again)

    def _again(self, call: Call, said: str) -> None:
        self._hand(call, said, self._config)


class Listening(Overheard):
    """A reply whose first choice is handed over at its end, if it ends well."""

    def __init__(self, call: Call, reply: Reply, config: Config, over: Hear) -> None:
        super().__init__(call, reply, config.max_bytes)
        self._over = over

    def ended(self, text: str | None) -> None:
        self._over(self._call, text or "")
