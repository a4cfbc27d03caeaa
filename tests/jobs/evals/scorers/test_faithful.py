from __future__ import annotations

import json

import pytest

from tests.jobs.evals.judging import Bench
from tests.jobs.evals.scorers.looking import case, look
from tidegate.jobs.evals.scorers.faithful import Config, Faithful

CONTEXT = "Refunds take 14 days. They are paid to the card."


def judge(*claims: tuple[str, str, bool]) -> Bench:
    listed = [{"claim": claim, "support": support, "supported": yes} for claim, support, yes in claims]
    return Bench(lambda model, prompt: json.dumps({"code": prompt.code, "claims": listed}))


@pytest.mark.parametrize(
    ("claims", "value"),
    [
        ((("takes 14 days", "Refunds take 14 days", True), ("free of charge", "", False)), 0.5),
        ((("takes 14 days", "Refunds take 14 days", True),), 1.0),
        ((("free of charge", "it is free", True),), 0.0),  # what is said to support it stands nowhere
        ((("free of charge", "", True),), 0.0),
    ],
)
async def test_a_claim_has_support_where_we_find_it(claims: tuple[tuple[str, str, bool], ...], value: float):
    answer = "It takes 14 days and is free of charge."
    score = await look(Faithful(Config(("judge",))), answer, of=case(context=CONTEXT), bench=judge(*claims))
    assert (score.value, score.passed) == (value, value == 1)
    assert ("free of charge" in score.why) is (value < 1)


@pytest.mark.parametrize("claims", [(), (("it is blue", "", False),)])
async def test_no_claims_and_claims_that_are_not_there_are_no_verdict(claims: tuple[tuple[str, str, bool], ...]):
    score = await look(
        Faithful(Config(("judge",))), "It takes 14 days.", of=case(context=CONTEXT), bench=judge(*claims)
    )
    assert (score.outcome, score.value) == ("malformed", None)
