"""Which of two answers is better? Asked in both orders, always: a judge that likes the first place finds a tie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score
from tidegate.jobs.evals.judge import Form, Text, Verdict, check_quote, shown, verdict_of
from tidegate.jobs.evals.jury import Models, Opinion, named, scores
from tidegate.jobs.evals.scorers.rubric import asked


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who compares an answer with the case's reference, as two answers among equals.

    model: a route or provider/model that judges, or several, as a jury.
    criteria: what makes one better, in your words.
    pass_at: 0 is worse, 0.5 a tie, 1 better; what is a pass.
    structured: the judge's model is told the form of a verdict as a JSON schema; off for one that takes none.
    parameters: of the question to it, beside or in place of {temperature: 0}; null leaves one out.
    """

    model: Models
    criteria: Annotated[str, Meta(min_length=1)] = "it is right, does what was asked, and is no longer than it must be"
    pass_at: Annotated[float, Meta(ge=0, le=1)] = 0.5
    structured: bool = True
    parameters: dict[str, Any] = {}


class Preference(Verdict, frozen=True, forbid_unknown_fields=True):
    evidence_first: str
    evidence_second: str
    explanation: str
    better: Literal["first", "second", "tie"]


TASK = "You compare two answers to the same question. You do not know who gave them, and it does not matter."
RULES = """\
One answer is better than another when {criteria}. Their order, their length and how sure they sound count for nothing.

"evidence_first" is a quote of the text FIRST, word by word, that shows best how it does, "evidence_second" the same \
of the text SECOND; "explanation" says in two sentences what follows; then "better" is first, second or tie."""
REMINDER = "say which of the texts FIRST and SECOND is the better answer, or that neither is, with a quote of each."
SHAPE = '{"code": "…", "evidence_first": "…", "evidence_second": "…", "explanation": "…", "better": "first"}'

PLACES = {"first": "1", "second": "2", "tie": "tie"}  # whose is the text that stands there: 1 is the answer's
OTHER_WAY = {"first": "2", "second": "1", "tie": "tie"}


class Pairwise:
    asks = True

    def __init__(self, config: Config) -> None:
        self._config = config
        self.form = Form(TASK, RULES.format(criteria=config.criteria), REMINDER, SHAPE, Preference)
        self.judge = named(config.model, self.form, config)

    def lacks(self, case: Case) -> str | None:
        return None if case.reference else "there is nothing to compare with; give the case a reference"

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        async def ask(model: str, step: str) -> Opinion:
            first = await self._prefer(case, said.text, case.reference, bench, model, f"{step} 1")
            second = await self._prefer(case, case.reference, said.text, bench, model, f"{step} 2")
            ours = {first.better == "first", second.better == "second"}
            theirs = {first.better == "second", second.better == "first"}
            value = 1.0 if ours == {True} else 0.0 if theirs == {True} else 0.5
            order = "" if value != 0.5 or first.better == second.better == "tie" else "it depends on the order; "
            why = f"{order}{first.explanation} / {second.explanation}"
            orders = (PLACES[first.better], OTHER_WAY[second.better])
            return Opinion({"": (value, why)}, value >= self._config.pass_at, orders=orders)

        return await scores(self._config.model, self.judge, ask, bench)

    async def _prefer(self, case: Case, first: str, second: str, bench: Bench, model: str, step: str) -> Preference:
        """Raises NoVerdict."""
        texts = [Text("QUESTION", asked(case)), Text("FIRST", first), Text("SECOND", second)]
        found: Preference = await verdict_of(bench, model, self.form, texts, step, config=self._config)
        check_quote(found.evidence_first, shown(first), "first")
        check_quote(found.evidence_second, shown(second), "second")
        return found
