"""A question that means the same gets the answer, where the route promises how seldom that is wrong; and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.house import Build, House, lived_in, until
from tests.stages.cache.test_cache import bought, cache_of
from tidegate import config
from tidegate.core.errors import ConfigError
from tidegate.core.limits import Budget
from tidegate.core.ports import Team
from tidegate.stages.cache.verifier import Noise

ALIKE = """
logs: {calls: false}
cache: {embedder: "tests.stages.cache.words:Words", entries: 1000, timeout: 5s}
providers:
  main: {type: scripted, price: {input: 100, output: 200}}
routes:
  fast:
    targets: [{provider: main, model: m}]
    cache: {semantic: {max_error: 2%, checks: 0%, twice: 0%}, scope: global}
  other:
    targets: [{provider: main, model: m}]
    cache: {semantic: {max_error: 2%, checks: 0%, twice: 0%}, scope: global}
"""
LONG = (
    "Please tell me in a few simple words where on earth my brand new shiny credit card is and when it will come to me"
)
NEAR = LONG.replace("a few simple", "a few simple few simple")  # the same words: nearly identical


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(ALIKE)


async def settled(house: House) -> None:
    await until(lambda: not house.left())


async def test_what_is_nearly_the_same_is_answered_at_once(house: House):
    house.provider("main").says("in the post")
    first = await house.ask(LONG)
    await settled(house)
    hit = await house.ask(LONG.lower() + "?", stream=False)
    assert (hit.text, cache_of(hit), bought(house)) == ("in the post", ("hit", "semantic"), 1)
    assert float(hit.headers["x-tidegate-cache-similarity"]) > 0.99
    assert (hit.row.cost_nusd, hit.row.saved_nusd, hit.row.cache_layer) == (0, first.row.cost_nusd, "semantic")
    (seen, _) = _pair(await house.get("/admin/cache"))
    assert (seen["route"], seen["lookups"], seen["hits"], seen["max_error"]) == ("fast", 2, 1, 0.02)
    assert seen["saved_usd"] > 0 and "too few labels" in seen["why"]


def _pair(reply: Any) -> tuple[dict[str, Any], list[Any]]:
    (found,) = reply.events
    return found["semantic"][0], found["days"]


@pytest.mark.parametrize(
    "options",
    [
        {"said": "something else entirely about the weather in spring"},
        {"said": LONG + " not"},
        {"said": LONG.lower() + " 7"},
        {"said": LONG.lower(), "temperature": 0.1},
        {"said": LONG.lower(), "route": "other"},
        {"said": LONG.lower(), "tools": [{"type": "function", "function": {"name": "look"}}]},
        {"said": [{"role": "system", "content": "be kind"}, {"role": "user", "content": LONG.lower()}]},
    ],
    ids=str,
)
async def test_what_differs_in_what_matters_is_bought(house: House, options: dict[str, Any]):
    await house.ask(LONG)
    await settled(house)
    reply = await house.ask(**options)
    assert cache_of(reply)[0] == "miss" and bought(house) == 2


@pytest.mark.parametrize(
    "said",
    [
        LONG + " today",
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2
        + [{"role": "user", "content": LONG}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}]}],
    ],
    ids=["time", "long", "picture"],
)
async def test_what_passes_with_time_or_is_long_or_no_text_is_not_compared(house: House, said: Any):
    for _ in range(2):
        assert cache_of(await house.ask(said))[1] is None
        await settled(house)
    assert bought(house) == 2
    assert (await house.get("/admin/cache")).events[0]["semantic"] == []


async def test_whoever_says_that_it_was_wrong_is_heard(house: House):
    await house.ask(LONG)
    await settled(house)
    hit = await house.ask(LONG.lower())
    assert cache_of(hit) == ("hit", "semantic")
    reply = await house.begin(path=f"/admin/cache/{hit.id}/wrong", body=b"").reply()
    assert (reply.status, reply.events[0]) == (200, {"wrong": hit.id})
    assert cache_of(await house.ask(LONG.lower()))[0] == "miss" and bought(house) == 2
    again = await house.begin(path=f"/admin/cache/{hit.id}/wrong", body=b"").reply()
    assert again.status == 404


async def judge(house: House, hit: Any, **said: Any) -> None:
    body = json.dumps({"request_id": hit.id, **said}).encode()
    assert (await house.begin(path="/v1/feedback", body=body).reply()).status == 201


async def test_what_users_and_judges_say_of_a_hit_is_a_label_and_what_they_reject_is_not_given_again(house: House):
    first = await house.ask(LONG)
    await settled(house)
    hit = await house.ask(LONG.lower())
    await judge(house, first, thumbs="down")  # bought, so the cache has nothing to do with it
    await judge(house, hit, score=0.5)  # neither
    assert engine_of(house).memory().verifier.labels == []
    await judge(house, hit, thumbs="up")
    await judge(house, hit, thumbs="down")  # judged already
    (label,) = engine_of(house).memory().verifier.labels
    assert (label.right, label.source, label.check) == (True, "user", False)
    hit = await house.ask(LONG.lower())
    assert cache_of(hit) == ("hit", "semantic")
    await judge(house, hit, score=0, source="judge")
    assert engine_of(house).memory().verifier.labels[-1].source == "judge"
    assert cache_of(await house.ask(LONG.lower()))[0] == "miss"


async def test_some_hits_are_checked_in_the_background_at_the_houses_cost(build_house: Build):
    house = await build_house(ALIKE.replace("checks: 0%", "checks: 100%"))
    await house.ask(LONG)
    await settled(house)
    hit = await house.ask(LONG.lower())
    assert cache_of(hit) == ("hit", "semantic") and hit.row.cost_nusd == 0
    await settled(house)
    assert bought(house) == 2
    (check,) = [row for row in await house.rows() if row.kind == "shadow"]
    assert (check.key_id, check.outcome, check.cache) == ("house", "ok", "bypass") and check.cost_nusd > 0
    assert (check.purpose, check.parent) == ("cache_check", hit.id)
    engine = house.app.gateway.cache.meanings._routes["fast"].engine
    assert engine.verifier.state().labels_seen == 1


async def test_checks_are_charged_to_whoever_owns_the_route_and_end_with_its_budget(build_house: Build):
    text = ALIKE.replace("checks: 0%", "checks: 100%").replace("    cache:", "    owner: search\n    cache:", 1)
    house = await build_house(text)
    await house.app.world.store.add(Team("search", "Search", 1, budgets=(Budget(1, "day"),)))  # a nano-dollar a day
    await house.ask(LONG)
    await settled(house)
    hit = await house.ask(LONG.lower())
    assert cache_of(hit) == ("hit", "semantic")
    await settled(house)
    (check,) = [row for row in await house.rows() if row.kind == "shadow"]
    assert (check.team_id, check.error, check.cost_nusd) == ("search", "budget_spent", 0)


async def test_some_misses_are_asked_twice_to_learn_how_much_answers_waver(build_house: Build):
    house = await build_house(ALIKE.replace("twice: 0%", "twice: 100%"))
    main = house.provider("main")
    for text in ("in the post", "in the post", "tomorrow", "lost for good"):
        main.says(text)
    for question in (LONG, "something else altogether"):
        await house.ask(question)
        await settled(house)
    assert bought(house) == 4
    assert engine_of(house).memory().comparison == Noise(pairs=2, differ=1)
    twice = [row for row in await house.rows() if row.kind == "shadow"]
    assert {(row.purpose, row.key_id, row.outcome) for row in twice} == {("asked_twice", "house", "ok")}
    assert len(house.app.gateway.cache.meanings._vectors) == 2, "a second answer is no new entry"


async def test_a_question_that_was_purged_is_bought_once_more(house: House):
    await house.ask(LONG)
    await settled(house)
    purged = await house.begin(path="/admin/cache?route=fast", method="DELETE", body=b"").reply()
    assert purged.events[0] == {"purged": 0, "questions": 1}, "no exact answers are kept on this route"
    for expected in ("miss", "hit"):
        reply = await house.ask(LONG.lower())
        assert cache_of(reply)[0] == expected
        await settled(house)


async def test_a_reply_whose_time_is_over_is_bought(house: House):
    await house.ask(LONG)
    await settled(house)
    await house.clock.advance(3601)
    reply = await house.ask(LONG.lower())
    assert cache_of(reply)[0] == "miss" and bought(house) == 2


async def test_a_damaged_reply_is_bought_and_leaves(house: House):
    await house.ask(LONG)
    await settled(house)
    vectors = house.app.gateway.cache.meanings._vectors
    await vectors._database.write(lambda db: db.execute("UPDATE entries SET reply = x'00ff'"))
    reply = await house.ask(LONG.lower())
    assert (reply.status, cache_of(reply)[0]) == (200, "miss") and bought(house) == 2
    await settled(house)
    assert len(vectors) == 0
    assert b'name="cache_entry_corrupt"' in (await house.get("/metrics")).body


async def test_an_embedder_of_another_dimension_is_a_miss_and_somebody_is_told(house: House):
    await house.ask(LONG)
    await settled(house)

    async def shorter(text: str, parent: object) -> bytes:
        return b"\x00\x00\x80\x3f"

    house.app.gateway.cache.meanings._embedder.embed = shorter
    reply = await house.ask(LONG.lower())
    assert (reply.status, cache_of(reply)[0]) == (200, "miss")
    assert b'name="semantic_lookup_failed"' in (await house.get("/metrics")).body


@pytest.mark.parametrize("error", ["0", "100%", "1"])
def test_a_promise_of_nothing_or_of_everything_is_refused(error: str):
    with pytest.raises(ConfigError, match=r"routes.fast.cache.semantic.max_error: must lie between"):
        config.parse(ALIKE.replace("2%", error), {})


async def test_the_report_tells_what_each_day_brought(house: House):
    await house.ask(LONG)
    await settled(house)
    await house.ask(LONG.lower())
    days = _pair(await house.get("/admin/cache?days=2"))[1]
    assert sorted((day["route"], day["result"], day["calls"]) for day in days) == [
        ("fast", "hit", 1),
        ("fast", "miss", 1),
    ]
    assert json.dumps(days)


# --- over a restart, and over several processes ----------------------------------------------------------------------


@pytest.fixture(params=["file", "pgvector"])
def text(request: pytest.FixtureRequest) -> str:
    """A house whose questions are kept in a file of its folder, or in PostgreSQL."""
    if request.param == "file":
        return ALIKE
    database = f"storage: {{database: '{request.getfixturevalue('postgres')}'}}"
    return ALIKE.replace("providers:", f"{database}\nproviders:", 1)


async def teach(house: House, first: int = 0, after: int = 110) -> None:
    """From 100 labels on there is a fit."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    for number in range(first, after):
        one, other = letters[number % 10], letters[number // 10]
        await house.ask(f"{LONG} x{one}{other} y{one}")
        await settled(house)


def engine_of(house: House) -> Any:
    return house.app.gateway.cache.meanings._routes["fast"].engine


async def test_questions_and_answers_outlive_the_process(text: str, tmp_path: Path):
    async with lived_in(text, tmp_path) as house:
        house.provider("main").says("in the post")
        await house.ask(LONG)
        await settled(house)
    async with lived_in(text, tmp_path) as house:
        hit = await house.ask(LONG.lower())
        assert (hit.text, cache_of(hit)) == ("in the post", ("hit", "semantic")) and bought(house) == 0


async def test_what_was_learned_outlives_the_process(text: str, tmp_path: Path):
    async with lived_in(text, tmp_path) as house:
        await teach(house)
        before = engine_of(house).memory()
        assert before.verifier.fit is not None and before.verifier.labels_seen >= 100
    async with lived_in(text, tmp_path) as house:
        await house.ask("something else")
        await settled(house)
        after = engine_of(house).memory()
        assert after.verifier.fit == before.verifier.fit
        assert after.verifier.labels_seen >= before.verifier.labels_seen
        assert (after.lookups, after.hits) == (before.lookups + 1, before.hits)


async def test_what_is_like_nothing_that_was_seen_is_bought_however_sure_the_model_is(house: House):
    house.provider("main").always("in the post")  # whatever is asked
    await teach(house)
    fit = engine_of(house).verifier.fit
    assert fit is not None and fit.threshold < 1 and fit.least > 0.5
    assert cache_of(await house.ask(f"{LONG} xka yk"))[0] == "hit"
    for text in ("something else altogether", "Who are you?"):
        assert cache_of(await house.ask(text))[0] == "miss"


async def test_what_is_kept_in_the_process_ends_with_it(tmp_path: Path):
    text = ALIKE.replace("entries: 1000", "entries: 1000, kept: process")
    for _ in range(2):
        async with lived_in(text, tmp_path) as house:
            assert cache_of(await house.ask(LONG))[0] == "miss"
            await settled(house)
            assert cache_of(await house.ask(LONG.lower()))[0] == "hit"
            await settled(house)


async def test_two_processes_share_questions_answers_and_what_they_learn(postgres: str, tmp_path: Path):
    text = ALIKE.replace("providers:", f"storage: {{database: '{postgres}'}}\nproviders:", 1)
    async with lived_in(text, tmp_path / "one") as one, lived_in(text, tmp_path / "other") as other:
        one.provider("main").says("in the post")
        await one.ask(LONG)
        await settled(one)
        hit = await other.ask(LONG.lower())
        assert (hit.text, cache_of(hit)) == ("in the post", ("hit", "semantic")) and bought(other) == 0
        await teach(one, 0, 60)
        await teach(other, 60, 120)
        meanings = [house.app.gateway.cache.meanings for house in (one, other)]
        for each in (*meanings, *meanings):  # each knows what the other saw
            await each._routes["fast"].share()
        first, second = engine_of(one).memory(), engine_of(other).memory()
        assert (first.verifier, first.lookups, first.hits) == (second.verifier, second.lookups, second.hits)
        assert first.verifier.labels_seen > 100 and first.verifier.fit is not None


async def test_what_was_learned_and_is_damaged_is_learned_anew(tmp_path: Path):
    async with lived_in(ALIKE, tmp_path) as house:
        await teach(house, after=5)
    async with lived_in(ALIKE, tmp_path) as house:
        database = house.app.gateway.cache.meanings._vectors._database
        await database.write(lambda db: db.execute("UPDATE learned SET state = x'00c1'"))
        assert (await house.ask(LONG)).status == 200
        await settled(house)
        assert b'name="semantic_memory_lost"' in (await house.get("/metrics")).body
        await engine_share(house)
    async with lived_in(ALIKE, tmp_path) as house:
        await house.ask(LONG)
        await settled(house)
        assert engine_of(house).memory().lookups == 2


async def engine_share(house: House) -> None:
    await house.app.gateway.cache.meanings._routes["fast"].share()
