"""Was the answer cheap enough?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.money import NUSD_PER_USD, usd_text
from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an answer may cost.

    at_most_usd: in dollars, as its row says; without what judges cost.
    """

    at_most_usd: Annotated[float, Meta(gt=0)]


class Cost:
    """Its value is 1 minus the share of the money that was used, and no less than 0: higher is better."""

    def __init__(self, config: Config) -> None:
        self._most_nusd = config.at_most_usd * NUSD_PER_USD

    def lacks(self, case: Case) -> str | None:
        return None

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        if said.cost_nusd is None:
            return [Score(scorer="", outcome="failed", why="nobody knows its price; set the provider's `price`")]
        why = f"${usd_text(said.cost_nusd)} of at most ${usd_text(round(self._most_nusd))}"
        passed = said.cost_nusd <= self._most_nusd
        return [Score(scorer="", value=max(0.0, 1 - said.cost_nusd / self._most_nusd), passed=passed, why=why)]
