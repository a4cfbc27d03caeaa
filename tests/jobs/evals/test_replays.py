"""Stored calls as a suite, and its answers beside theirs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.app.rooms import SUITES
from tidegate.core.scores import Case, Score
from tidegate.jobs.evals.replays import Candidate, Original, beside, case_from, lines, suite_of
from tidegate.jobs.evals.results import Answer, Results, Run
from tidegate.jobs.evals.suite import Suite

JUDGES = Suite(scorers=({"type": "pairwise", "name": "better", "model": ["judge"]}, {"type": "refusal"}))
REPLY = json.dumps({"choices": [{"message": {"content": "old"}}]})


def body(*messages: dict[str, Any], reply: str = REPLY) -> dict[str, Any]:
    return {"id": "req_1", "request": json.dumps({"messages": messages}), "reply": reply}


def test_a_conversation_is_a_case_whose_reference_is_what_was_answered():
    case = case_from(body({"role": "system", "content": "be kind"}, {"role": "user", "content": "hi {{you}}"}))
    assert (case.id, case.input, case.reference) == ("req_1", "hi {{you}}", "old")


@pytest.mark.parametrize(
    ("messages", "seen"),
    [
        ([{"role": "user", "content": "look"}, {"role": "tool", "content": [{"type": "image"}]}], "look"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "(no text)"),
        ([], "(no text)"),
    ],
)
def test_of_what_is_more_than_text_a_judge_sees_the_text(messages: list[dict[str, Any]], seen: str):
    assert case_from(body(*messages)).input == seen


def test_what_is_no_request_is_a_case_all_the_same():
    assert case_from({"id": "req_1", "request": "{", "reply": None}).input == "(no text)"


def test_scorers_look_at_what_they_can_look_at():
    cases = [Case(id="a", input="x", reference="y"), Case(id="b", input=" ")]
    found = suite_of("fast", cases, JUDGES, 3, SUITES)
    assert [one.name for one in found.lookers["a"]] == ["better", "refusal"]
    assert [one.name for one in found.lookers["b"]] == ["refusal"]
    assert found.suite.concurrency == 3 and found.suite.max_cost_usd is None
    assert [one.name for one in suite_of("fast", cases, None, 3, SUITES).lookers["a"]] == ["says something"]


def answer(case: str, value: float | None = None, **fields: Any) -> Answer:
    scores = () if value is None else (Score(scorer="better", value=value), Score(scorer="refusal", value=0.0))
    return Answer(case=case, repeat=0, latency_ms=200, cost_nusd=30, scores=scores, **fields)


def test_answers_stand_beside_those_that_were_given():
    found = suite_of("fast", [Case(id=id, input="x", reference="y") for id in "abc"], JUDGES, 1, SUITES)
    originals = [Original(id, f"user {id}", 100.0, 10) for id in "abc"]
    run = Run(id="r", suite="fast", suite_hash="", subject="replay:x", cases=("a", "b", "c"))
    results = Results(run, (answer("a", 1.0), answer("b", 0.5), answer("c", error="upstream_failed")))
    compared = beside(results, originals, found)
    assert compared is not None and (compared.better, compared.tied, compared.worse) == (1, 1, 0)
    said = "\n".join(lines(compared))
    assert "3 calls of 3 users" in said and "takes      2.00 times" in said and "costs      3.00 times" in said
    assert "failed     33.3%" in said and "better 1, as good 1, worse 0" in said
    assert beside(Results(run, ()), originals, found) is None


def test_who_is_asked_is_told_apart_by_its_parameters_too():
    assert Candidate("a/b").name == "replay:a/b"
    assert Candidate("a/b", {"temperature": 0}).name == 'replay:a/b{"temperature":0}'
