"""Does the answer have these words in it? Small letters and capitals are the same, unless they are to be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score

Words = Annotated[tuple[str, ...], Meta(max_length=500)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words that an answer has, or has not.

    all: every one of them; left out with `any` and `none`, the case's expected_elements.
    any: at least one of them.
    none: not one of them.
    case_sensitive: small letters and capitals are told apart.
    """

    all: Words = ()
    any: Words = ()
    none: Words = ()
    case_sensitive: bool = False


class Contains:
    """Its value is the share of what was looked for that is so."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._own = bool(config.all or config.any or config.none)

    def lacks(self, case: Case) -> str | None:
        if self._own or case.expected_elements:
            return None
        return "there are no words to look for; give it all, any or none, or the case expected_elements"

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        config = self._config
        wanted = config.all if self._own else case.expected_elements
        text = self._folded(said.text)
        missing = [word for word in wanted if self._folded(word) not in text]
        unwanted = [word for word in config.none if self._folded(word) in text]
        no_one = bool(config.any) and not any(self._folded(word) in text for word in config.any)
        looked_for = len(wanted) + len(config.none) + bool(config.any)
        wrong = len(missing) + len(unwanted) + no_one
        why = [f"without {word!r}" for word in missing] + [f"with {word!r}" for word in unwanted]
        why += [f"with none of {', '.join(map(repr, config.any))}"] if no_one else []
        return [Score(scorer="", value=1 - wrong / looked_for, passed=not wrong, why="; ".join(why))]

    def _folded(self, text: str) -> str:
        return text if self._config.case_sensitive else text.casefold()
