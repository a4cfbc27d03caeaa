"""A verdict is a score only where it is one: by this rubric, of this answer, between 1 and 10."""

from __future__ import annotations

from typing import Any

import pytest

from tests.jobs.evals.judging import Bench, Prompt, said
from tests.jobs.evals.scorers.looking import case
from tidegate.core.scores import Said, Score
from tidegate.jobs.evals.scorers.rubric import Config, Criterion, Rubric

ENDS = {1: "wrong", 10: "right"}
CRITERIA = (Criterion("accuracy", "is it so?", ENDS, 3), Criterion("tone", "is it kind?", ENDS))
ANSWER = "A refund takes 14 days, and we are glad to help."


def rubric(*models: str, **fields: Any) -> Rubric:
    return Rubric(Config(model=models or ("judge",), criteria=CRITERIA, **fields))


async def graded(answers: Any, *models: str, answer: str = ANSWER, gates: tuple[str, ...] = ()) -> dict[str, Score]:
    bench = Bench(answers, gates=gates)
    return {one.scorer: one for one in await rubric(*models).score(case(), Said(text=answer), bench)}


async def test_the_overall_score_is_ours_by_the_weights():
    scores = await graded(lambda model, prompt: said(prompt.code, evidence="14 days"))
    assert {name: one.value for name, one in scores.items()} == {"accuracy": 8, "tone": 5, "": 7.25}
    assert scores[""].passed is True and scores["accuracy"].passed is None
    assert scores["accuracy"].why == "so it is with accuracy ('14 days')" and scores[""].why == "because"
    low = await graded(lambda model, prompt: said(prompt.code, evidence="14 days", scores={"tone": 10, "accuracy": 5}))
    assert (low[""].value, low[""].passed) == (6.25, False)


def test_a_judge_that_passes_weighs_or_is_asked_otherwise_is_another_one():
    same, others = rubric().judge, [rubric(pass_at=2), rubric(parameters={"temperature": 1}), rubric(task="Be rude.")]
    assert same == rubric().judge and same not in [one.judge for one in others]
    heavy = (*CRITERIA[:1], Criterion("tone", "is it kind?", ENDS, 2))
    assert Rubric(Config(model=("judge",), criteria=heavy)).judge != same


async def test_a_judge_advises_until_a_card_lets_it_decide():
    judge = rubric().judge
    assert judge.startswith("judge/") and len(judge) == len("judge/") + 16
    advised = await graded(lambda model, prompt: said(prompt.code, evidence="14 days"))
    assert all(one.advisory and one.judge == judge for one in advised.values())
    decided = await graded(lambda model, prompt: said(prompt.code, evidence="14 days"), gates=(judge,))
    assert not any(one.advisory for one in decided.values())


def test_another_rubric_or_another_prompt_is_another_judge():
    judges = {
        rubric().judge,
        rubric("other").judge,
        rubric(task="Another").judge,
        Rubric(Config(model=("judge",), criteria=(CRITERIA[0],))).judge,
        Rubric(Config(model=("judge",), criteria=(Criterion("accuracy", "", {1: "a", 10: "b"}),))).judge,
    }
    assert len(judges) == 5 and rubric(pass_at=9).judge not in judges


async def test_what_the_judge_reads_is_the_rubric_the_question_and_the_answer():
    bench = Bench(lambda model, prompt: said(prompt.code, evidence="14 days"))
    await rubric().score(case(input="How long?"), Said(text=ANSWER), bench)
    ((model, messages, parameters),) = bench.asked
    assert model == "judge" and parameters["temperature"] == 0
    schema = parameters["response_format"]["json_schema"]["schema"]
    assert list(schema["$defs"]["Graded"]["properties"]) == ["criterion", "evidence", "explanation", "score"]
    system, user = (one["content"] for one in messages)
    assert "- accuracy: is it so?\n    1: wrong\n    10: right" in system and "14 days" not in system
    assert user.index("QUESTION") < user.index("ANSWER") < user.index("All texts have ended")


def scoring(accuracy: object, **others: object) -> Any:
    return lambda prompt: said(
        prompt.code, evidence="14 days", scores={"accuracy": accuracy, **(others or {"tone": 5})}
    )


def quoting(evidence: str, **more: object) -> Any:
    return lambda prompt: said(prompt.code, evidence=evidence, **more)


BROKEN = [
    ("prose", lambda prompt: "I would give this a 9, it is lovely.", "malformed"),
    ("prose in another language", lambda prompt: "Diese Antwort ist gut: 9 von 10 Punkten.", "malformed"),
    ("half a JSON", lambda prompt: said(prompt.code, evidence="14 days")[:80], "malformed"),
    ("nothing", lambda prompt: "", "malformed"),
    ("a score of 11", scoring(11), "malformed"),
    ("a score of 0", scoring(0), "malformed"),
    ("a score in words", scoring("8"), "malformed"),
    ("half a score", scoring(7.5), "malformed"),
    ("one criterion", lambda prompt: said(prompt.code, evidence="14 days", scores={"accuracy": 8}), "malformed"),
    ("another one", scoring(8, style=5), "malformed"),
    ("a quote that is none", quoting("30 days"), "malformed"),
    ("no quote", quoting(""), "malformed"),
    ("a quote of the question", quoting("hi"), "malformed"),
    ("an overall score of its own", quoting("14 days", overall=10), "malformed"),
    ("another code", lambda prompt: said("00000000", evidence="14 days"), "malformed"),
    ("a refusal", lambda prompt: "I'm sorry, but I can't evaluate this content.", "refused"),
    ("a refusal in German", lambda prompt: "Ich kann das leider nicht bewerten.", "refused"),
    ("a refusal beside the text", lambda prompt: Said(text="No.", refused=True), "refused"),
    ("an error", lambda prompt: Said(error="upstream_unavailable", why="gone"), "failed"),
]


@pytest.mark.parametrize(("answer", "outcome"), [one[1:] for one in BROKEN], ids=[one[0] for one in BROKEN])
async def test_what_is_no_verdict_is_never_a_score(answer: Any, outcome: str):
    scores = await graded(lambda model, prompt: answer(prompt))
    assert set(scores) == {""}
    assert (scores[""].outcome, scores[""].value, scores[""].passed) == (outcome, None, None)
    assert scores[""].why


@pytest.mark.parametrize("evidence", ["a REFUND  takes", "A refund … glad to help.", '"14 days"', "a refund...14 days"])
async def test_a_quote_may_leave_out_and_fold(evidence: str):
    assert (await graded(lambda model, prompt: said(prompt.code, evidence=evidence)))[""].value


async def test_a_verdict_in_a_fence_is_one():
    scores = await graded(lambda model, prompt: f"```json\n{said(prompt.code, evidence='14 days')}\n```")
    assert scores[""].value == 7.25


async def test_of_a_long_answer_the_judge_is_told_what_it_does_not_see():
    def judge(model: str, prompt: Prompt) -> str:
        assert len(prompt.texts["ANSWER"]) == 16_000
        return said(prompt.code, evidence="x")

    bench = Bench(judge)
    await rubric().score(case(), Said(text="x" * 100_000), bench)
    assert "ANSWER (the first 16000 of 100000 characters; the rest is not judged)" in bench.asked[0][1][1]["content"]


async def test_an_empty_answer_has_nothing_to_quote():
    assert (await graded(lambda model, prompt: said(prompt.code), answer=""))[""].value == 7.25


async def test_a_jury_says_what_is_in_its_middle():
    votes = {"a": {"accuracy": 9, "tone": 9}, "b": {"accuracy": 8, "tone": 2}, "c": {"accuracy": 1, "tone": 1}}

    def answers(model: str, prompt: Prompt) -> str:
        return said(prompt.code, evidence="14 days", scores=votes[model])

    scores = await graded(answers, "a", "b", "c")
    assert {name: one.value for name, one in scores.items()} == {"accuracy": 8, "tone": 2, "": 6.5}
    assert scores[""].passed is False and scores[""].judge.startswith("a+b+c/")


async def test_a_jury_needs_more_than_half_of_its_verdicts():
    def answers(model: str, prompt: Prompt) -> str:
        return said(prompt.code, evidence="14 days") if model == "a" else "well…"

    assert (await graded(answers, "a", "b", "c"))[""].outcome == "malformed"
    assert (await graded(answers, "a", "b"))[""].outcome == "malformed"
    scores = await graded(
        lambda model, prompt: "?" if model == "c" else said(prompt.code, evidence="14 days"), "a", "b", "c"
    )
    assert (scores[""].value, scores[""].passed) == (7.25, True)


@pytest.mark.parametrize(
    ("criteria", "told"),
    [
        ((Criterion("accuracy"),), r"criteria\[0\] 'accuracy': says what fewer than two scores mean"),
        ((Criterion("accuracy", "", {1: "x"}),), "fewer than two"),
        ((Criterion("accuracy", "", {0: "x", 10: "y"}),), "from 1 to 10, not of 0"),
        ((*CRITERIA, CRITERIA[0]), r"criteria\[2\] 'accuracy': there is one of that name already"),
    ],
)
def test_a_rubric_says_what_its_scores_mean(criteria: tuple[Criterion, ...], told: str):
    with pytest.raises(ValueError, match=told):
        Rubric(Config(model=("judge",), criteria=criteria))


def test_one_judge_is_named_without_a_list_and_none_twice():
    assert Rubric(Config(model="judge", criteria=CRITERIA)).judge == rubric().judge
    for model in ("", ("a", "a"), ("a", "")):
        with pytest.raises(ValueError, match="model: needs names, each once"):
            Rubric(Config(model=model, criteria=CRITERIA))
