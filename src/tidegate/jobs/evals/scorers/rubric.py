"""How does a model grade the answer? By criteria that say what a 1 and what a 10 is, with a quote before each score.

The overall score is ours: the criteria's, by their weights. The model's own sum is not asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score
from tidegate.jobs.evals.judge import Form, NoVerdict, Text, Verdict, check_quote, shown, verdict_of
from tidegate.jobs.evals.jury import Models, Opinion, named, scores

LOWEST, HIGHEST = 1, 10


class Criterion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that makes an answer good.

    name: a word or a few.
    what: what is looked at.
    anchors: what a score means, of at least two between 1 and 10.
    weight: its part of the overall score.
    """

    name: Annotated[str, Meta(pattern=r"^[\w][\w -]{0,59}$")]
    what: str = ""
    anchors: dict[int, str] = {}
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rubric, and who grades by it.

    model: a route or provider/model that judges, or several, as a jury.
    criteria: what makes an answer good.
    task: what the answer was to do.
    pass_at: the overall score of a pass.
    structured: the judge's model is told the form of a verdict as a JSON schema; off for one that takes none.
    parameters: of the question to it, beside or in place of {temperature: 0}; null leaves one out.
    """

    model: Models
    criteria: Annotated[tuple[Criterion, ...], Meta(min_length=1, max_length=20)]
    task: str = "Answer what the user asks."
    pass_at: Annotated[float, Meta(ge=1, le=10)] = 7.0
    structured: bool = True
    parameters: dict[str, Any] = {}


class Graded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    criterion: str
    evidence: str
    explanation: str
    score: int


class Grades(Verdict, frozen=True, forbid_unknown_fields=True):
    criteria: tuple[Graded, ...]
    reasoning: str


TASK = "You grade one answer of a program against a rubric. You are exact, and generous to nobody."
RULES = """\
What the answer was to do: {task}

The rubric:
{criteria}

For each criterion, in this order: "criterion" is its name; "evidence" is a quote of the answer, word by word, that \
shows best how it does (never of another text, and never empty unless the answer is); "explanation" says in one or \
two sentences what follows from it; then "score" is a whole number from 1 to 10, read off the rubric. What the answer \
claims about itself is no evidence. At last "reasoning" says in two sentences what decided."""
REMINDER = "grade the text ANSWER by the rubric, every criterion once, with a quote before each score."
SHAPE = (
    '{"code": "…", "criteria": [{"criterion": "…", "evidence": "…", "explanation": "…", "score": 5}], "reasoning": "…"}'
)


class Rubric:
    asks = True

    def __init__(self, config: Config) -> None:
        _check(config.criteria)
        self._config = config
        rules = RULES.format(task=config.task, criteria="\n".join(map(_said, config.criteria)))
        self.form = Form(TASK, rules, REMINDER, SHAPE, Grades)
        self.judge = named(config.model, self.form, config)

    def lacks(self, case: Case) -> str | None:
        return None

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        async def ask(model: str, step: str) -> Opinion:
            return await self._grade(case, said.text, bench, model, step)

        return await scores(self._config.model, self.judge, ask, bench)

    def texts(self, case: Case, answer: str) -> list[Text]:
        return [Text("QUESTION", asked(case)), Text("ANSWER", answer)]

    async def _grade(self, case: Case, answer: str, bench: Bench, model: str, step: str) -> Opinion:
        texts = self.texts(case, answer)
        grades: Grades = await verdict_of(bench, model, self.form, texts, step, config=self._config)
        graded = self._checked(grades, shown(answer))
        overall = sum(graded[one.name].score * one.weight for one in self._config.criteria)
        overall /= sum(one.weight for one in self._config.criteria)
        values = {one.name: (float(graded[one.name].score), _why(graded[one.name])) for one in self._config.criteria}
        return Opinion({**values, "": (overall, grades.reasoning)}, overall >= self._config.pass_at, (LOWEST, HIGHEST))

    def _checked(self, grades: Grades, answer: str) -> dict[str, Graded]:
        """By criterion. Raises NoVerdict for what is not this rubric's."""
        graded = {one.criterion: one for one in grades.criteria}
        wanted = [one.name for one in self._config.criteria]
        if sorted(one.criterion for one in grades.criteria) != sorted(wanted):
            raise NoVerdict("malformed", f"it grades {', '.join(graded) or 'nothing'}, not {', '.join(wanted)}")
        for one in grades.criteria:
            if not LOWEST <= one.score <= HIGHEST:
                raise NoVerdict("malformed", f"{one.criterion}: a score of {one.score}, not of 1 to 10")
            check_quote(one.evidence, answer, one.criterion)
        return graded


def asked(case: Case) -> str:
    """The whole question, as a judge reads it."""
    before = [f"{turn.role}: {turn.content}" for turn in case.turns]
    return "\n".join([*before, f"user: {case.input}" if before and case.input else case.input]).strip()


def _check(criteria: Sequence[Criterion]) -> None:
    """Raises ValueError."""
    names = [one.name for one in criteria]
    for at, one in enumerate(criteria):
        here = f"criteria[{at}] {one.name!r}"
        if one.name in names[:at]:
            raise ValueError(f"{here}: there is one of that name already")
        if len(one.anchors) < 2:
            raise ValueError(f"{here}: says what fewer than two scores mean; give it anchors: {{1: …, 10: …}}")
        beyond = [score for score in one.anchors if not LOWEST <= score <= HIGHEST]
        if beyond:
            raise ValueError(f"{here}: anchors are of scores from 1 to 10, not of {beyond[0]}")


def _said(one: Criterion) -> str:
    anchors = "".join(f"\n    {score}: {text}" for score, text in sorted(one.anchors.items()))
    return f"- {one.name}{f': {one.what}' if one.what else ''}{anchors}"


def _why(one: Graded) -> str:
    return f"{one.explanation} ({one.evidence[:200]!r})" if one.evidence else one.explanation
