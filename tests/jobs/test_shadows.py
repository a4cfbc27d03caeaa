"""Everybody gets the control; an arm answers in the background, and nobody sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.house import Build, House, Reply, until
from tests.jobs.evals.judging import JudgeServer, Prompt
from tests.stages.experiments.conftest import begin
from tidegate.app.rooms import SUITES
from tidegate.core.ports import Closed, Team
from tidegate.core.shadows import key_of
from tidegate.jobs.shadows import panel, report
from tidegate.stages.judging import Config

CONFIG = """
logs: {{calls: false}}
shadows: {shadows}
{more}
providers:
  main: {{type: scripted, price: {{input: 1, output: 2}}}}
  spare: {{type: scripted, price: {{input: 10, output: 20}}}}
  grader: {{type: openai, base_url: "{address}", price: {{input: 1, output: 2}}}}
routes:
  fast: {{targets: [{{provider: main, model: m}}], {route}}}
  judge: {{targets: [{{provider: grader, model: j}}]}}
"""
SUITE = """\
subject: route:fast
scorers:
  - {type: pairwise, name: better, model: [judge]}
  - {type: refusal}
cases: [{id: offline, input: x, reference: y}]
"""
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


@pytest.fixture
def make(build_house: Build):
    async def make(shadows: str = "{}", route: str = "limits: []", more: str = "", address: str = "http://127.0.0.1:9"):
        return await build_house(CONFIG.format(shadows=shadows, route=route, more=more, address=address))

    return make


@pytest.fixture
async def house(make) -> House:
    return await make()


async def ask(house: House, user: str = "ann", **options: Any) -> Reply:
    return await house.ask(options.pop("said", "hi"), headers={"x-tidegate-user": user}, **options)


async def shadows(house: House, *, over: bool = True) -> list[Closed]:
    if over:
        await until(lambda: not house.app.world.nursery.tasks)
    return [row for row in await house.rows() if row.purpose == "shadow"]


def told(house: House) -> dict[tuple[str, str], int]:
    return dict(house.app._ground.shadowing._counts)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_the_arm_answers_the_same_question_and_its_client_sees_nothing_of_it(house, path, stream):
    experiment = await begin(house, mode="shadow")
    more = {"max_tokens": 50} if path == MESSAGES else {}
    reply = await ask(house, path=path, stream=stream, **more)
    assert reply.status == 200 and reply.row.target == "main/m" and reply.attempts == ["main: ok"]
    assert [(one.arm, one.counted) for one in reply.row.arms] == [("control", True)]
    (row,) = await shadows(house)
    assert (row.kind, row.parent, row.target, row.outcome) == ("shadow", reply.row.id, "spare/n", "ok")
    assert row.key_id == key_of(experiment.id) and row.stream == stream and row.user == "ann"
    (arm,) = row.arms
    assert arm.arm == "b" and arm.unit == reply.row.arms[0].unit
    asked = [json.loads(one.body)["messages"] for one in house.provider("spare").requests]
    assert asked == [[{"role": "user", "content": "hi"}]]


async def test_only_the_share_of_the_ramp_is_answered_twice(house):
    await begin(house, mode="shadow", ramp=[0.3, 1.0])
    for at in range(30):
        await ask(house, f"user {at}")
    assert 2 <= len(await shadows(house)) <= 18


async def test_of_an_experiment_on_everybody_nobody_is_asked_twice(house):
    await begin(house)
    await ask(house)
    assert await shadows(house) == []


async def test_the_owner_of_the_route_pays_and_not_the_caller(make):
    house = await make(route="owner: search")
    await house.app.gateway.auth.desk.add(Team, "search", "Search")
    await begin(house, mode="shadow")
    key, _ = await house.app.gateway.auth.desk.make_key("app", team_id="search")
    await ask(house, key=key)
    (row,) = await shadows(house)
    assert (row.team_id, row.key_id) == ("search", "shadow:t.1") and row.cost_nusd


async def test_no_limit_of_the_user_or_the_route_is_used_up(make):
    house = await make(
        route="limits: [{of: requests, most: 3, per: 1h}]",
        more="limits: {per_end_user: [{of: requests, most: 3, per: 1h}], loops: {policy: 'off'}}",
    )
    await begin(house, mode="shadow")
    assert [(await ask(house)).status for _ in range(4)] == [200, 200, 200, 429]
    assert len(await shadows(house)) == 3


@pytest.mark.parametrize(("house_says", "spec_says"), [("{max_usd_per_day: 0.0115}", {}), ("{}", {"max_usd": 0.0115})])
async def test_it_stops_before_it_costs_too_much(make, house_says, spec_says):
    """Each can cost some 0.011 dollars: that is set aside before anybody is asked."""
    house = await make(shadows=house_says, more="limits: {loops: {policy: 'off'}}")
    await begin(house, mode="shadow", **spec_says)
    for _ in range(12):
        await ask(house, max_tokens=5)
        await shadows(house)
    rows = [row for row in await shadows(house) if row.outcome == "ok"]
    assert 1 <= len(rows) < 12 and sum(row.cost_nusd for row in rows) <= 11_500_000
    assert told(house)["t", "over_budget"] == 12 - len(rows)


async def test_what_does_not_fit_in_is_left_out_and_counted(make):
    house = await make(shadows="{at_once: 1, waiting: 1}")
    await begin(house, mode="shadow")
    house.provider("spare").always("slow", before=60.0)
    house.clock.hold()
    for at in range(5):
        await ask(house, f"user {at}")
    assert told(house)["t", "dropped"] == 3
    await house.clock.advance(60.0)
    await until(lambda: len(house.provider("spare").requests) == 2)
    await house.clock.advance(120.0)
    assert len(await shadows(house)) == 2
    page = (await house.get("/metrics")).body.decode()
    assert 'tidegate_shadows_total{experiment="t",outcome="dropped"} 3.0' in page


async def test_a_long_question_is_left_out(make):
    house = await make(shadows="{max_bytes: 200B}")
    await begin(house, mode="shadow")
    await ask(house, said="x" * 300)
    assert await shadows(house) == [] and told(house) == {("t", "dropped"): 1}


async def test_what_a_cache_answers_is_not_asked_again(make):
    house = await make(route="cache: {exact: true}")
    await begin(house, mode="shadow")
    assert [(await ask(house)).row.cache for _ in range(2)] == ["miss", "hit"]
    assert len(await shadows(house)) == 1


async def test_a_shadow_that_fails_is_a_failure_of_the_arm_and_nobodys_else(house):
    experiment = await begin(house, mode="shadow")
    house.provider("spare").always(status=500)
    assert (await ask(house)).status == 200
    (row,) = await shadows(house)
    assert row.outcome == "failed" and told(house) == {("t", "failed"): 1}
    found = await report(house.app.world, experiment)
    assert found.arms[0].failed.value == 1.0 and found.arms[0].latency.value is None


async def test_guards_of_the_arm_mask_what_goes_out_of_it_too(make):
    house = await make(route="guardrails: {input: [{type: pii, action: placeholder}]}")
    await begin(house, mode="shadow")
    await ask(house, said="write to ann@example.org")
    await shadows(house)
    assert "ann@example.org" not in str([one.body for one in house.provider("spare").requests])


async def test_the_report_compares_pair_by_pair(house):
    experiment = await begin(house, mode="shadow")
    for at in range(6):
        await ask(house, f"user {at}", max_tokens=20)
    await shadows(house)
    found = await report(house.app.world, experiment)
    (arm,) = found.arms
    assert (arm.arm, arm.pairs, arm.units) == ("b", 6, 6) and found.pairs == 6
    assert arm.cost.value == pytest.approx(10.0, rel=0.01) and arm.failed.value == 0.0
    assert found.spent_nusd == sum(row.cost_nusd or 0 for row in await shadows(house))


def prefers_shadow(prompt: Prompt) -> str:
    """Wherever it stands."""
    better = "first" if "better" in prompt.texts["FIRST"] else "second"
    quotes = {"evidence_first": prompt.texts["FIRST"], "evidence_second": prompt.texts["SECOND"]}
    return json.dumps({"code": prompt.code, **quotes, "explanation": "so it is", "better": better})


@asynccontextmanager
async def judging() -> AsyncIterator[str]:
    server = JudgeServer(prefers_shadow)
    await server.start()
    try:
        yield server.address
    finally:
        await server.aclose()


async def test_a_judge_compares_the_two_and_is_paid_from_the_same_purse(make, tmp_path: Path):
    (tmp_path / "suite.yaml").write_text(SUITE)
    async with judging() as address:
        house = await make(route=f'judge: {{suite: "{tmp_path}/suite.yaml", share: 0}}', address=address)
        experiment = await begin(house, mode="shadow")
        house.provider("main").always("good")
        house.provider("spare").always("better")
        for at in range(3):
            await ask(house, f"user {at}")
            await shadows(house)
        found = await report(house.app.world, experiment)
        assert (found.arms[0].better, found.arms[0].tied, found.arms[0].worse) == (3, 0, 0)
        judges = [row for row in await house.rows() if row.purpose == "judge"]
        assert len(judges) == 6 and {row.key_id for row in judges} == {key_of(experiment.id)}
        assert found.spent_nusd > sum(row.cost_nusd or 0 for row in await shadows(house))


async def test_a_judge_who_cannot_be_asked_takes_nothing_from_anybody(make, tmp_path: Path):
    (tmp_path / "suite.yaml").write_text(SUITE)
    house = await make(route=f'judge: {{suite: "{tmp_path}/suite.yaml", share: 0}}')
    experiment = await begin(house, mode="shadow")
    assert (await ask(house)).status == 200
    await shadows(house)
    arm = (await report(house.app.world, experiment)).arms[0]
    assert arm.pairs == 1 and arm.score.value is None
    page = (await house.get("/metrics")).body.decode()
    assert 'tidegate_notices_total{name="shadow_not_judged"} 1.0' in page


def test_only_scorers_that_compare_look_at_a_shadow(tmp_path: Path):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    found = panel(Config(suite=str(path)), SUITES)
    assert [[one.name for one in some] for some in found[:2]] == [["better"], ["refusal"]]
