"""What was said the last time? A run's file in place of everybody: no key, no model, and the same scores again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.core.scores import Case, Said
from tidegate.jobs.evals.results import Results
from tidegate.jobs.evals.subject import Messages, digest, said_before

OTHER = "not_recorded"


class Recording:
    """Subject and judges in one. What is asked otherwise than it was has no answer here: it would be of something else.

    The run that hears it has the id of the one that was recorded, so that all words of chance are the same.
    """

    def __init__(self, results: Results, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._answers = {(one.case, one.repeat): one for one in results.answers}
        self._judgments = {each.once: each for one in results.answers for each in one.judgments}

    async def answer(self, case: Case, repeat: int, messages: Messages, once: str) -> Said:
        found = self._answers.get((case.id, repeat))
        if found is None:
            return Said(error=OTHER, why=f"nothing is recorded for {case.id!r}, repeat {repeat + 1}")
        if found.asked != digest(messages, self._parameters):
            return Said(error=OTHER, why=f"{case.id!r} is asked otherwise than when it was recorded; record it again")
        return said_before(found)

    async def ask(
        self, model: str, messages: Messages, parameters: Mapping[str, Any], *, once: str, fresh: bool
    ) -> Said:
        found = self._judgments.get(once)
        if found is None or found.asked != digest(messages, {**parameters, "model": model}):
            return Said(error=OTHER, why=f"{model} was not asked this when it was recorded; record it again")
        return Said(text=found.text, error=found.error, why=found.why, refused=found.refused)
