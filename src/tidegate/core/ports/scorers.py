"""How good is this answer? What a scorer of anybody's must be able to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from tidegate.core.ports.meaning import Vector
from tidegate.core.scores import Case, Said, Score


class Bench(Protocol):
    """What a scorer may reach while it looks at one answer. What it asks is paid for, and counted, with that answer."""

    async def ask(self, model: str, messages: Sequence[Mapping[str, str]], step: str, **parameters: Any) -> Said:
        """A model, through the gateway. `step` tells the questions about one answer apart: asked again after a crash,
        the same step is not paid twice. Never raises for an answer that there is none of: `error` says why."""

    async def embed(self, text: str) -> Vector:
        """Raises ConfigError where the embedding model is not installed."""

    def nonce(self, step: str) -> str:
        """A word that whoever answered could not know; the same one after a crash."""

    def may_gate(self, judge: str) -> bool:
        """Whether verdicts of this judge (model/hash) count, or only advise."""


class Scorer(Protocol):
    """Made from its own Config, once for a suite.

    One that uses `bench.ask` says so: `asks = True`. One that is shown questions too that a guard has blocked, without
    an answer, says `looks_at_blocked = True`.
    """

    def lacks(self, case: Case) -> str | None:
        """What it needs of a case that this one has not; None: it can look at it. Asked before anything is paid for."""

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        """One score, or one for each thing it looks at; `scorer` is "" or the name of that thing, and the suite's own
        name for it is put before. Whatever is raised means: it has not looked."""


@runtime_checkable
class Loading(Protocol):
    """A scorer that needs what is loaded only for it."""

    def join(self, load: Callable[[str, str], Any]) -> None:
        """Once, before the first answer; by the table of plugins. Raises ConfigError, or ValueError."""
