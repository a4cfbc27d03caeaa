"""Does the answer say what a good answer says? A model compares it with the case's reference."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidegate.core.scores import Case
from tidegate.jobs.evals.judge import Text
from tidegate.jobs.evals.jury import Models
from tidegate.jobs.evals.scorers import rubric
from tidegate.jobs.evals.scorers.rubric import Criterion, Rubric

AGREEMENT = Criterion(
    name="agreement",
    what="whether the text ANSWER says what the text REFERENCE says. Other words, another order and more that is "
    "true do no harm; what is missing and what contradicts it does",
    anchors={
        1: "it contradicts the reference, or has nothing of it",
        4: "some of what matters is there, and as much is missing or wrong",
        7: "what matters is there; something small is missing",
        10: "all that the reference says is there, and nothing against it",
    },
)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who compares an answer with the case's reference.

    model: a route or provider/model that judges, or several, as a jury.
    pass_at: the score of a pass, of 1 to 10.
    structured: the judge's model is told the form of a verdict as a JSON schema; off for one that takes none.
    parameters: of the question to it, beside or in place of {temperature: 0}; null leaves one out.
    """

    model: Models
    pass_at: Annotated[float, Meta(ge=1, le=10)] = 7.0
    structured: bool = True
    parameters: dict[str, Any] = {}


class Reference(Rubric):
    def __init__(self, config: Config) -> None:
        super().__init__(
            rubric.Config(
                model=config.model,
                criteria=(AGREEMENT,),
                task="Answer as the reference does.",
                pass_at=config.pass_at,
                structured=config.structured,
                parameters=config.parameters,
            )
        )

    def lacks(self, case: Case) -> str | None:
        return None if case.reference else "there is nothing to compare with; give the case a reference"

    def texts(self, case: Case, answer: str) -> list[Text]:
        question, said = super().texts(case, answer)
        return [question, Text("REFERENCE", case.reference), said]
