"""What does a function of yours say?"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function that takes the case and the answer's text, and returns whether that is good, or how good it is.

    function: MODULE:NAME, of a package or of a file in the folder where it is run.
    pass_at: of a number, what is a pass; left out, a number decides nothing.
    """

    function: Annotated[str, Meta(pattern=r"^[\w.]+:[\w.]+$")]
    pass_at: float | None = None


class Python:
    _function: Callable[[Case, str], Any]

    def __init__(self, config: Config) -> None:
        self._config = config

    def join(self, load: Callable[[str, str], Any]) -> None:
        self._function = load("functions", self._config.function)

    def lacks(self, case: Case) -> str | None:
        return None

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        if inspect.iscoroutinefunction(self._function):
            found = await self._function(case, said.text)
        else:
            found = await asyncio.to_thread(self._function, case, said.text)
        return [self._score(found)]

    def _score(self, found: Any) -> Score:
        """Raises ValueError for what is neither."""
        if isinstance(found, Score):
            return found
        if isinstance(found, bool):
            return Score(scorer="", value=float(found), passed=found)
        if not isinstance(found, int | float):
            raise ValueError(f"it returned {type(found).__name__}; a bool, a number or a Score is wanted")
        pass_at = self._config.pass_at
        return Score(scorer="", value=float(found), passed=None if pass_at is None else found >= pass_at)
