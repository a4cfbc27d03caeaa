"""Does somebody try to take the model over? Rules that are seldom wrong, and a classifier that sees more.

What a user says and what a tool or a document says are measured separately: the second has no business giving orders.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.call import Call
from tidegate.core.errors import ConfigError
from tidegate.core.guard import Finding, Part
from tidegate.stages.guardrails.classifier import Classifier
from tidegate.stages.guardrails.patterns import Patterns, Sentences
from tidegate.stages.guardrails.plainly import readings
from tidegate.stages.guardrails.rules import ASKS, LINES, RULES
from tidegate.stages.guardrails.units import OFF_THE_LOOP

OURS = Path(__file__).with_name("injection.weights")
# Of the harmless texts that set the threshold, so many are above it. They were read while texts were written for the
# trainer, so that of others three times as many are.
DEFAULT_SHARE = "0.003"
OWN = ("system", "developer")  # the application's words


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sentences that try to undo what the model was told. Nobody finds all of them.

    rules: further patterns, for RE2, on text in small letters with single blanks.
    classifier: whether each text is also weighed; without it the rules alone decide.
    threshold: of the classifier, for what users say; null, the one that is set with the weights.
    tool_threshold: the same for what tools and documents say; null, the same.
    weights: a file of weights in place of ours, as tools/train_injection.py writes it.
    """

    rules: tuple[str, ...] = ()
    classifier: bool = False
    threshold: Annotated[float, Meta(gt=0, lt=1)] | None = None
    tool_threshold: Annotated[float, Meta(gt=0, lt=1)] | None = None
    weights: str | None = None


class Injection:
    def __init__(self, config: Config, known: Sequence[str] = ()) -> None:
        self._names = [rule.name for rule in RULES] + [f"rule_{at}" for at in range(len(config.rules))]
        try:
            self._rules = Sentences([*(rule.pattern for rule in RULES), *config.rules])
        except ConfigError as wrong:
            raise ConfigError(f"rules: {wrong.message}") from None
        self._asks = Patterns([ASKS])
        self._lines = Patterns([rule.pattern for rule in LINES])
        self._classifier: Classifier | None = None
        self._user = self._tool = 1.0
        if config.classifier:
            self._classifier = one = Classifier.load(Path(config.weights) if config.weights else OURS)
            self._user = config.threshold or one.card.thresholds[DEFAULT_SHARE]
            self._tool = config.tool_threshold or self._user
        digest = self._classifier.digest if self._classifier else ""
        said = f"{self._rules.fingerprint}\0{self._lines.fingerprint}\0{digest}\0{self._user}\0{self._tool}"
        self.fingerprint = hashlib.sha256(said.encode()).hexdigest()[:16]

    async def check(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        if sum(len(part.text) for part in parts) > OFF_THE_LOOP // (8 if self._classifier else 1):
            return await asyncio.get_running_loop().run_in_executor(None, self._all, parts)
        return self._all(parts)

    def watch(self) -> None:
        """It is what is asked that takes a model over."""
        return

    def _all(self, parts: Sequence[Part]) -> list[list[Finding]]:
        return [[] if part.role in OWN else self.look(part.text, part.role) for part in parts]

    def look(self, text: str, role: str = "user") -> list[Finding]:
        """One finding at most, of the whole text."""
        threshold = self._tool if role == "tool" else self._user
        lines = self._lines.which(text.encode("utf-8", "surrogatepass")) if ":" in text else ()
        if lines:
            return [Finding(LINES[min(lines)].name, 0, len(text))]
        told = []
        for said in readings(text):
            rule = self._said(said.encode("utf-8", "surrogatepass"))
            if rule is not None:
                return [Finding(self._names[rule], 0, len(text))]
            told.append(said)
        if self._classifier is not None and (score := self._classifier.score(told)) > threshold:
            return [Finding("classifier", 0, len(text), score)]
        return []

    def _said(self, text: bytes) -> int | None:
        """The first rule that is broken, and not only asked about."""
        for number in sorted(self._rules.which(text)):
            for start, end in self._rules.finds(number, text):
                if b"your" in text[start:end] or not self._asks.which(text[max(start - 80, 0) : start]):
                    return number
        return None
