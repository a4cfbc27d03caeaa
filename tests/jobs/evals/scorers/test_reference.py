from __future__ import annotations

from tests.jobs.evals.judging import Bench, said
from tests.jobs.evals.scorers.looking import case
from tidegate.core.scores import Said
from tidegate.jobs.evals.scorers.reference import Config, Reference


async def test_an_answer_is_compared_with_the_reference():
    judge = Reference(Config(("judge",)))
    bench = Bench(lambda model, prompt: said(prompt.code, evidence="two weeks", scores={"agreement": 9}))
    scores = await judge.score(case(reference="14 days"), Said(text="It takes two weeks"), bench)
    assert [(one.scorer, one.value, one.passed) for one in scores] == [("agreement", 9, None), ("", 9, True)]
    assert "REFERENCE" in bench.asked[0][1][1]["content"]


def test_without_a_reference_there_is_nothing_to_compare_with():
    assert "give the case a reference" in (Reference(Config(("judge",))).lacks(case()) or "")
