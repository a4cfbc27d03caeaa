"""Does the answer say only what its context says? A model finds the answer's claims, and where each stands.

Where a claim is said to stand is looked up by us: a support that is not in the context is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score
from tidegate.jobs.evals.judge import Form, NoVerdict, Text, Verdict, check_quote, is_quote, shown, verdict_of
from tidegate.jobs.evals.jury import Models, Opinion, named, scores
from tidegate.jobs.evals.scorers.rubric import asked

MOST_CLAIMS = 100
SHOWN = 5  # of the claims without support


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who looks for an answer's claims in the case's context.

    model: a route or provider/model that judges, or several, as a jury.
    pass_at: the share of claims with support that is a pass.
    structured: the judge's model is told the form of a verdict as a JSON schema; off for one that takes none.
    parameters: of the question to it, beside or in place of {temperature: 0}; null leaves one out.
    """

    model: Models
    pass_at: Annotated[float, Meta(ge=0, le=1)] = 1.0
    structured: bool = True
    parameters: dict[str, Any] = {}


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    claim: str
    support: str
    supported: bool


class Claims(Verdict, frozen=True, forbid_unknown_fields=True):
    claims: tuple[Claim, ...]


TASK = "You check whether an answer keeps to its context. What you know yourself counts for nothing."
RULES = """\
Go through the text ANSWER sentence by sentence. For each thing it claims to be so: "claim" is a quote of the answer, \
word by word; "support" is a quote of the text CONTEXT, word by word, that says the same, or empty where there is \
none; "supported" is true only where that quote says all of the claim."""
REMINDER = "list every claim of the text ANSWER, and where the text CONTEXT says the same."
SHAPE = '{"code": "…", "claims": [{"claim": "…", "support": "…", "supported": true}]}'


class Faithful:
    """Its value is the share of claims with support."""

    asks = True

    def __init__(self, config: Config) -> None:
        self._config = config
        self.form = Form(TASK, RULES, REMINDER, SHAPE, Claims)
        self.judge = named(config.model, self.form, config)

    def lacks(self, case: Case) -> str | None:
        return None if case.context else "there is nothing to be faithful to; give the case a context"

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        async def ask(model: str, step: str) -> Opinion:
            return await self._look_up(case, said.text, bench, model, step)

        return await scores(self._config.model, self.judge, ask, bench)

    async def _look_up(self, case: Case, answer: str, bench: Bench, model: str, step: str) -> Opinion:
        """Raises NoVerdict."""
        texts = [Text("QUESTION", asked(case)), Text("CONTEXT", case.context), Text("ANSWER", answer)]
        found = await verdict_of(bench, model, self.form, texts, step, config=self._config)
        claims: tuple[Claim, ...] = found.claims
        if not 0 < len(claims) <= MOST_CLAIMS:  # an answer without any would pass for saying nothing
            raise NoVerdict("malformed", f"it finds {len(claims)} claims, not 1 to {MOST_CLAIMS}")
        for one in claims:
            check_quote(one.claim, shown(answer), "claim")
        without = [one.claim for one in claims if not self._stands(one, shown(case.context))]
        value = 1 - len(without) / len(claims)
        why = "; ".join(f"without support: {claim[:200]!r}" for claim in without[:SHOWN])
        return Opinion({"": (value, why)}, value >= self._config.pass_at)

    def _stands(self, claim: Claim, context: str) -> bool:
        return claim.supported and bool(claim.support.strip()) and is_quote(claim.support, context)
