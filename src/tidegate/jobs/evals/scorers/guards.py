"""What did the gateway's guards say of question and answer?"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What guards are to rule. Without a word here, all of them are to let everything pass.

    only: guards that are looked at; left out, all.
    wanted: at least one of them is to find something, and does.
    """

    only: tuple[str, ...] = ()
    wanted: bool = False


class Guards:
    """A question that a guard has blocked is no failure where this looks at it: others do not look at it at all."""

    looks_at_blocked = True

    def __init__(self, config: Config) -> None:
        self._config = config

    def lacks(self, case: Case) -> str | None:
        return None

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        rulings = [one.partition("=") for one in said.guards]
        looked = [(guard, ruling) for guard, _, ruling in rulings if self._counts(guard)]
        found = [f"{guard}={ruling}" for guard, ruling in looked if ruling != "pass"]
        passed = bool(found) is self._config.wanted
        why = ", ".join(found) if found else "" if passed else "no guard has found anything"
        return [Score(scorer="", value=float(passed), passed=passed, why=why)]

    def _counts(self, guard: str) -> bool:
        return not self._config.only or guard in self._config.only or guard.partition(".")[0] in self._config.only
