from __future__ import annotations

import pytest

from tidegate.app.rooms import SUITES
from tidegate.core.errors import ConfigError
from tidegate.core.experiments import Known, read, spec_of
from tidegate.jobs.evals.results import Answer, Results, Run
from tidegate.jobs.rollouts.gate import SuiteGate, why_not

SUITE = """
prompt: "What is the capital of {{country}}?"
scorers: [{type: contains}]
cases:
  - {id: france, variables: {country: France}, expected_elements: [Paris]}
  - {id: italy, variables: {country: Italy}, expected_elements: [Rome]}
"""
ARMS = [{"name": "other", "target": "spare/m"}, {"name": "hot", "parameters": {"temperature": 1}}]


@pytest.fixture
def suites(tmp_path):
    (tmp_path / "capitals.yaml").write_text(SUITE)
    return tmp_path


async def known(house, **fields):
    desk = house.app.gateway.experiments.desk
    one = await desk.make(read({"name": "x", "route": "fast", "arms": ARMS, "gate": "capitals"} | fields), "key")
    return Known(one, spec_of(one))


async def test_each_arm_is_asked_the_way_that_units_will_go(house, suites):
    gate = SuiteGate(lambda: house.app.gateway, str(suites), SUITES)
    house.provider("main").always("Paris and Rome")
    house.provider("spare").always("Paris")
    passed = await gate(await known(house))
    assert passed.arms["hot"] == ""
    assert passed.arms["other"].startswith("1 of 2 answers failed; italy: contains") and passed.cost_nusd > 0
    rows = await house.rows()
    assert {(row.kind, row.purpose) for row in rows} == {("eval", "evaluation")}
    assert {row.arms[0].arm for row in rows} == {"other", "hot"} and not any(row.arms[0].counted for row in rows)
    assert b'"temperature"' in house.provider("main").requests[-1].body


async def test_a_suite_that_is_not_there_says_where_it_should_be(house, suites):
    gate = SuiteGate(lambda: house.app.gateway, str(suites), SUITES)
    for name, said in (("nothing", "nothing.yaml: cannot be read"), ("../etc/passwd", "is no name of a suite")):
        with pytest.raises(ConfigError, match=said):
            await gate(await known(house, name=name.replace("/", "."), gate=name))


RUN = Run(id="r", suite="s", suite_hash="h", subject="route:fast", cases=("a",))


def test_nobody_passes_where_nothing_was_said():
    assert "1 of 1 answers are missing: it was interrupted" in why_not(Results(RUN, ()), "")
    silent = Answer(case="a", repeat=0, text="", error="", request_id="", latency_ms=0, cost_nusd=0, judging_nusd=0)
    assert why_not(Results(RUN, (silent,)), "") == "nobody who may decide has said anything"
