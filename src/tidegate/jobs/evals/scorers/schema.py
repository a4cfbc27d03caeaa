"""Is the answer JSON of this form?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score

_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON schema that an answer fits. Needs the extra `evals`.

    schema: the schema, of any draft up to 2020-12; left out, any JSON will do. Nothing that it refers to is fetched.
    fence: JSON within a code fence is taken, too.
    """

    schema: dict[str, Any] | bool = True
    fence: bool = False


class Schema:
    _validator: Any

    def __init__(self, config: Config) -> None:
        self._config = config

    def join(self, load: Callable[[str, str], Any]) -> None:
        linear = load("engines", "json_schema_patterns")()  # a pattern takes no longer for a bad text
        try:
            self._validator = load("engines", "json_schema")(
                self._config.schema, retriever=_nothing, pattern_options=linear
            )
        except ValueError as wrong:
            raise ValueError(f"schema: {_first(wrong)}") from None

    def lacks(self, case: Case) -> str | None:
        return None

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        found = _FENCE.fullmatch(said.text) if self._config.fence else None
        try:
            value = msgspec.json.decode((found[1] if found else said.text).encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError) as wrong:
            return [Score(scorer="", value=0.0, passed=False, why=f"is no JSON: {wrong}")]
        whys = [f"{_place(error)}: {_first(error)}" for error in self._validator.iter_errors(value)]
        return [Score(scorer="", value=float(not whys), passed=not whys, why="; ".join(whys)[:500])]


def _nothing(uri: str) -> Any:
    raise ValueError(f"{uri} is not fetched; put what it says into the schema, under $defs")


def _place(error: Any) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path) or "the whole"


def _first(wrong: Exception) -> str:
    return (str(getattr(wrong, "message", "")) or str(wrong)).splitlines()[0]
