from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.jobs.evals.judging import Bench, Prompt
from tests.jobs.evals.scorers.looking import case, look
from tidegate.jobs.evals.scorers.pairwise import Config, Pairwise


def judge(prefers: Callable[[str, str], str]) -> Bench:
    def say(model: str, prompt: Prompt) -> str:
        first, second = prompt.texts["FIRST"], prompt.texts["SECOND"]
        better = prefers(first, second)
        verdict = {"code": prompt.code, "evidence_first": first, "evidence_second": second, "explanation": "so"}
        return json.dumps(verdict | {"better": better})

    return Bench(say)


def longer(first: str, second: str) -> str:
    return "tie" if len(first) == len(second) else "first" if len(first) > len(second) else "second"


@pytest.mark.parametrize(
    ("prefers", "answer", "value", "passed"),
    [
        (longer, "the longer answer", 1.0, True),
        (longer, "x", 0.0, False),
        (longer, "12345678", 0.5, True),
        (lambda first, second: "first", "whatever", 0.5, True),  # it likes the first place
        (lambda first, second: "second", "whatever", 0.5, True),
        (lambda first, second: "tie" if first == "x" else "second", "x", 0.5, True),
    ],
)
async def test_both_orders_are_asked_and_disagreement_is_a_tie(
    prefers: Callable[[str, str], str], answer: str, value: float, passed: bool
):
    bench = judge(prefers)
    score = await look(Pairwise(Config(("judge",))), answer, of=case(reference="the rest"), bench=bench)
    assert (score.value, score.passed, len(bench.asked)) == (value, passed, 2)
    assert len(set(bench.steps)) == 2


@pytest.mark.parametrize(
    ("prefers", "orders"),
    [
        (longer, ("1", "1")),
        (lambda first, second: "first", ("1", "2")),
        (lambda first, second: "tie", ("tie", "tie")),
        (lambda first, second: "tie" if "answer" in first else "first", ("tie", "2")),
    ],
)
async def test_what_was_said_in_each_order_is_kept_for_a_card(
    prefers: Callable[[str, str], str], orders: tuple[str, str]
):
    score = await look(
        Pairwise(Config(("judge",))), "the longer answer", of=case(reference="the rest"), bench=judge(prefers)
    )
    assert score.orders == orders


async def test_a_jury_has_the_orders_of_most():
    opinions = iter([("first", "first"), ("first", "second"), ("tie", "tie")])
    verdicts = iter([one for pair in opinions for one in pair])
    bench = judge(lambda first, second: next(verdicts))
    score = await look(Pairwise(Config(("a", "b", "c"))), "an answer", of=case(reference="the rest"), bench=bench)
    assert score.orders == ("1", "tie"), "the second order: 2, 1 and a tie"


async def test_one_verdict_of_the_two_is_none():
    turns = iter(["{}", "{}"])
    score = await look(Pairwise(Config(("judge",))), "x", of=case(reference="y"), bench=Bench(lambda m, p: next(turns)))
    assert (score.outcome, score.value) == ("malformed", None)
