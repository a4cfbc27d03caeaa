"""Is the answer of this form? A pattern of RE2, which takes no longer for a bad one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import re2
from msgspec import Meta

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pattern that is found in an answer.

    pattern: in the syntax of RE2; (?i) before it for small letters and capitals alike, (?s) so that a dot is a line's
        end too.
    whole: all of the answer is of this form, blanks around it aside.
    absent: it is found nowhere.
    """

    pattern: Annotated[str, Meta(min_length=1)]
    whole: bool = False
    absent: bool = False


class Regex:
    def __init__(self, config: Config) -> None:
        try:
            self._pattern = re2.compile(config.pattern)
        except re2.error as wrong:
            raise ValueError(f"pattern: {wrong}") from None
        self._config = config

    def lacks(self, case: Case) -> str | None:
        return None

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        text = said.text.encode("utf-8", "replace").decode()  # a lone surrogate is nothing that RE2 reads
        look = self._pattern.fullmatch if self._config.whole else self._pattern.search
        found = look(text.strip()) is not None
        passed = found is not self._config.absent
        why = "" if passed else f"{'found' if found else 'not found'}: {self._config.pattern}"
        return [Score(scorer="", value=float(passed), passed=passed, why=why[:500])]
