"""A route that learns asks another tier, too, now and then; which answer was better is a lesson of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.house import Build, House, until
from tests.jobs.test_shadows import SUITE as COMPARING
from tests.jobs.test_shadows import judging
from tidegate.config import parse
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Lesson, Team
from tidegate.core.scores import Score
from tidegate.jobs.evals.online import worth_of
from tidegate.upstream.tiers.pupil import Pupil

CONFIG = """
logs: {{calls: false}}
cache: {{embedder: "tests.stages.cache.words:Words"}}
providers:
  main: {{type: scripted, price: {{input: 0.1, output: 0.2}}}}
  spare: {{type: scripted, price: {{input: 3, output: 6}}}}
  grader: {{type: openai, base_url: "{address}", price: {{input: 1, output: 2}}}}
routes:
  auto:
    tiers: {{simple: main/small, complex: spare/large}}
    router: {{learn: true, explore: 0%, shadow_share: 100%, {router}}}
    judge: {{suite: "{suite}", share: {judged}}}
    {route}
  judge: {{targets: [{{provider: grader, model: j}}]}}
"""
ALONE = """\
subject: route:auto
scorers: [{type: contains, name: right, all: [good]}]
cases: [{id: offline, input: x}]
"""


@pytest.fixture
def make(build_house: Build, tmp_path: Path):
    async def make(
        suite: str = ALONE,
        router: str = "strong_share: 0",
        route: str = "limits: []",
        address: str = "http://127.0.0.1:9",
        judged: str = "0%",
    ) -> House:
        path = tmp_path / "suite.yaml"
        path.write_text(suite)
        house = await build_house(CONFIG.format(suite=path, router=router, route=route, address=address, judged=judged))
        house.provider("main").always("bad")
        house.provider("spare").always("good")
        return house

    return make


async def ask(house: House, **options: Any) -> Any:
    reply = await house.ask("hi", route="auto", stream=False, **options)
    await until(lambda: not house.left())
    return reply


def lessons(house: House) -> list[Lesson]:
    pupil = house.app._ground.pupil
    assert isinstance(pupil, Pupil)
    return [label.lesson for known in pupil._classes.values() for label in known.labels.values()]


async def shadows(house: House) -> list[Any]:
    return [row for row in await house.rows() if row.kind == "shadow"]


async def test_a_cheap_answer_is_compared_with_a_strong_one_that_nobody_sees(make) -> None:
    house = await make()
    reply = await ask(house)
    assert reply.text == "bad" and reply.row.chosen.beside == "complex" and reply.row.chosen.share == 1.0
    (row,) = await shadows(house)
    assert (row.target, row.purpose, row.parent, row.chosen.tier) == ("spare/large", "shadow", reply.row.id, "complex")
    got, beside = lessons(house)
    assert (got.tier, got.good, got.served, got.share) == ("simple", 0.0, True, 1.0)
    assert (beside.tier, beside.good, beside.served, beside.share) == ("complex", 1.0, False, 1.0)


async def test_a_strong_answer_is_compared_with_a_cheap_one(make) -> None:
    house = await make(router="strong_share: 1")
    reply = await ask(house)
    assert reply.text == "good" and reply.row.chosen.beside == "simple"
    assert [(one.tier, one.good) for one in lessons(house)] == [("complex", 1.0), ("simple", 0.0)]


async def test_what_came_of_both_is_regret(make) -> None:
    house = await make()
    for _ in range(4):
        await ask(house)
    pupil = house.app._ground.pupil
    await pupil.share()
    (known,) = pupil.figures
    assert known.found.regret.value == 1.0 and known.found.regret.of == 4 and known.found.overpaid.value == 0.0
    assert known.found.quality["shadow"].value == 0.0 and known.saving > 0.9


async def test_what_a_judge_of_live_answers_says_counts_by_the_share_that_he_sees(make) -> None:
    house = await make(router="strong_share: 0, stick: 1m", judged="50%")
    for _ in range(12):
        await ask(house)
    judged = [one for one in lessons(house) if one.source == "judge"]
    assert judged and {(one.tier, one.good, one.share) for one in judged} == {("simple", 0.0, 0.5)}


def test_what_may_only_advise_is_no_part_of_what_an_answer_is_worth() -> None:
    good, bad = Score(scorer="right", value=1.0), Score(scorer="kind", value=0.0)
    assert worth_of([good, bad]) == 0.5
    assert worth_of([good, replace(bad, advisory=True)]) == 1.0
    assert worth_of([replace(bad, advisory=True)]) is None


async def test_a_judge_without_a_good_card_teaches_nobody(make) -> None:
    async with judging() as address:
        house = await make(COMPARING, address=address)
        await ask(house)
        assert [row.purpose for row in await house.rows() if row.purpose] == ["shadow", "judge", "judge"]
        assert lessons(house) == []


async def test_the_owner_pays_and_no_more_than_was_said(make) -> None:
    """Each can cost some 0.0033 dollars: that is set aside before anybody is asked."""
    house = await make(router="strong_share: 0, shadow_max_usd_per_day: 0.0034", route="owner: search")
    await house.app.gateway.auth.desk.add(Team, "search", "Search")
    key, _ = await house.app.gateway.auth.desk.make_key("app", team_id="search")
    for _ in range(8):
        assert (await ask(house, key=key, max_tokens=5)).status == 200
    rows = await shadows(house)
    answered = [row for row in rows if row.outcome == "ok"]
    assert {(row.team_id, row.key_id) for row in rows} == {("search", "shadow:tiers of auto")}
    assert 1 <= len(answered) < 8 and sum(row.cost_nusd for row in answered) <= 3_400_000


async def test_a_shadow_that_fails_teaches_nobody(make) -> None:
    house = await make()
    house.provider("spare").always(status=500)
    assert (await ask(house)).status == 200
    assert lessons(house) == [] and [row.outcome for row in await shadows(house)] == ["failed"]


async def test_what_is_off_asks_nobody(make) -> None:
    house = await make()
    house.app.gateway.upstream.tiers._chance.random = lambda: 1.0
    reply = await ask(house)
    assert reply.row.chosen.beside == "" and await shadows(house) == []


@pytest.mark.parametrize(
    ("router", "wrong"),
    [
        ("shadow_share: 1%", "nobody learns from it"),
        ("shadow_share: 1%, learn: true", "name a suite in the route's judge"),
        ("shadow_share: 120%, learn: true", "shadow_share"),
        ("learn: true, shadow_max_usd_per_day: 0", "shadow_max_usd_per_day"),
        ("learn: true, keep: -1s", "keep"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(router: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(
            "providers: {main: {type: scripted}}\n"
            f"routes: {{auto: {{tiers: {{a: main/a, b: main/b}}, router: {{{router}}}}}}}",
            {},
        )
    assert "routes.auto.router" in refused.value.message and wrong in refused.value.message
