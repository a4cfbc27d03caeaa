"""Did the answer come soon enough?"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score
from tidegate.core.values import Duration


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long an answer may take.

    at_most: from the question to the last byte, as whoever asked has seen it, such as 2s.
    """

    at_most: Duration


class Latency:
    """Its value is 1 minus the share of the time that was used, and no less than 0: higher is better."""

    def __init__(self, config: Config) -> None:
        if config.at_most <= 0:
            raise ValueError("at_most: must be longer than nothing")
        self._most_ms = float(config.at_most) * 1000

    def lacks(self, case: Case) -> str | None:
        return None

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        passed = said.latency_ms <= self._most_ms
        why = f"{said.latency_ms:.0f} ms of at most {self._most_ms:.0f} ms"
        return [Score(scorer="", value=max(0.0, 1 - said.latency_ms / self._most_ms), passed=passed, why=why)]
