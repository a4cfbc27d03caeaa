"""Is the answer this very one? Blanks aside; as JSON, whatever the order of its keys; or as a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an answer equals.

    to: what it is to be; left out, the case's reference.
    read: how the two are compared: as text (blanks at the ends and runs of them are one), exact, json or number.
    case_sensitive: of texts, small letters and capitals are told apart.
    tolerance: of numbers, how far apart they may be.
    """

    to: str | None = None
    read: Literal["text", "exact", "json", "number"] = "text"
    case_sensitive: bool = False
    tolerance: float = 0.0


class Equality:
    def __init__(self, config: Config) -> None:
        self._config = config
        if config.to is not None:
            self._value(config.to)

    def lacks(self, case: Case) -> str | None:
        if self._config.to is not None:
            return None
        if not case.reference:
            return "there is nothing to compare with; give it `to`, or the case a reference"
        try:
            self._value(case.reference)
        except ValueError as wrong:
            return f"the reference is no {self._config.read}: {wrong}"
        return None

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        wanted = self._config.to if self._config.to is not None else case.reference
        try:
            same = self._same(self._value(said.text), self._value(wanted))
        except ValueError:
            why = f"is no {self._config.read}: {said.text[:200]!r}"
            return [Score(scorer="", value=0.0, passed=False, why=why)]
        why = "" if same else f"{said.text[:200]!r} is not {wanted[:200]!r}"
        return [Score(scorer="", value=float(same), passed=same, why=why)]

    def _same(self, one: Any, other: Any) -> bool:
        if self._config.read == "number":
            return bool(abs(one - other) <= self._config.tolerance)
        return bool(one == other)

    def _value(self, text: str) -> Any:
        """Raises ValueError for what cannot be read so."""
        if self._config.read == "json":
            return msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
        if self._config.read == "number":
            return float(text.strip().replace(",", ""))
        if self._config.read == "exact":
            return text
        text = " ".join(text.split())
        return text if self._config.case_sensitive else text.casefold()
