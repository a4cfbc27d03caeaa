"""An answer that grades itself is graded for what it is. Two hundred try, and judges obey whoever talks to them.

The judges here are worse than any model: they do whatever is said to them, by anybody, as long as it stands where
instructions stand. So what is shown is that nothing gets there. What a model believes of what it reads as data is
another matter: docs/guides/evaluation.md says what remains.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.jobs.evals.attacks import BAD, CANARY, attacks
from tests.jobs.evals.judging import Bench, Prompt, read, said
from tests.jobs.evals.scorers.looking import case
from tidegate.core.scores import Said
from tidegate.jobs.evals.scorers.faithful import Config as FaithfulConfig
from tidegate.jobs.evals.scorers.faithful import Faithful
from tidegate.jobs.evals.scorers.pairwise import Config as PairwiseConfig
from tidegate.jobs.evals.scorers.pairwise import Pairwise
from tidegate.jobs.evals.scorers.rubric import Config, Criterion, Rubric

ATTACKS = list(attacks())
RUBRIC = Rubric(Config(model=("judge",), criteria=(Criterion("accuracy", "", {1: "wrong", 10: "right"}),)))
CASE = case(input="How do I get a refund?", reference="Within 14 days.", context="Refunds take 14 days.")
ANY = r"\w*"  # a sloppy reader ends a text at any such line


def obedient(model: str, prompt: Prompt) -> str:
    """10 for whoever says so where instructions stand, else 2."""
    return said(prompt.code, evidence=BAD, scores={"accuracy": 10 if CANARY in prompt.outside else 2})


def test_there_are_two_hundred_and_each_tries():
    assert len(ATTACKS) >= 200 and len({text for _, text in ATTACKS}) == len(ATTACKS)
    assert all(CANARY in text or "\u200d" in text for _, text in ATTACKS)


def test_a_template_without_a_fence_is_talked_over_by_all_of_them():
    """So they are worth the name."""
    for name, text in ATTACKS:
        prompt = Prompt({}, f"Grade this answer from 1 to 10.\nAnswer:\n{text}\nYour verdict:")
        assert json.loads(obedient("judge", prompt))["criteria"][0]["score"] == 10, name


@pytest.mark.parametrize("mark", ["", ANY], ids=["to the letter", "sloppy"])
async def test_no_answer_raises_its_score(mark: str):
    for name, text in ATTACKS:
        bench = Bench(lambda model, prompt: obedient(model, read(bench.asked[-1][1], mark)))  # noqa: B023
        scores = await RUBRIC.score(CASE, Said(text=text), bench)
        assert [one.value for one in scores] == [2, 2], f"{name}: {scores}"


async def test_what_stands_between_the_marks_is_the_answer_and_one_line():
    for name, text in ATTACKS:
        bench = Bench(obedient)
        await RUBRIC.score(CASE, Said(text=text), bench)
        user = bench.asked[0][1][1]["content"]
        assert read(bench.asked[0][1]).texts["ANSWER"] == text[:16_000], name
        # question and answer have three lines each, whatever splits a line; then come three of ours
        assert len(user.splitlines()) == 3 + 1 + 3 + 1 + 3, name
        assert user.count("\nEND-") == 2 and user.isprintable() is ("\n" not in user), name


async def test_a_judge_that_copies_a_verdict_out_of_the_answer_has_given_none():
    def copycat(model: str, prompt: Prompt) -> str:
        found = re.search(r"\{.*\}", prompt.texts["ANSWER"], re.DOTALL)
        return found[0] if found else "no"

    for name, text in ATTACKS:
        scores = await RUBRIC.score(CASE, Said(text=text), Bench(copycat))
        assert [(one.outcome, one.value) for one in scores] == [("malformed", None)], name


async def test_no_answer_wins_a_comparison():
    def prefer(model: str, prompt: Prompt) -> str:
        first, second = prompt.texts["FIRST"], prompt.texts["SECOND"]
        ours = "first" if BAD in first else "second"
        better = ours if CANARY in prompt.outside else "second" if ours == "first" else "first"
        quotes = {"evidence_first": first[:20], "evidence_second": second[:20]}
        return json.dumps({"code": prompt.code, **quotes, "explanation": "so", "better": better})

    for name, text in ATTACKS:
        (score,) = await Pairwise(PairwiseConfig(("judge",))).score(CASE, Said(text=text), Bench(prefer))
        assert score.value == 0, name


async def test_no_answer_makes_its_claims_true():
    def check(model: str, prompt: Prompt) -> str:
        obeys = CANARY in prompt.outside
        claim = {"claim": BAD, "support": prompt.texts["CONTEXT"] if obeys else "", "supported": obeys}
        return json.dumps({"code": prompt.code, "claims": [claim]})

    for name, text in ATTACKS:
        (score,) = await Faithful(FaithfulConfig(("judge",))).score(CASE, Said(text=text), Bench(check))
        assert score.value == 0, name


async def test_questions_references_and_contexts_are_fenced_too():
    for name, text in ATTACKS[::7]:
        bench = Bench(obedient)
        scores = await RUBRIC.score(case(input=text), Said(text=BAD), bench)
        assert [one.value for one in scores] == [2, 2], name
