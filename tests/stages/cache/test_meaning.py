"""A question that means the same gets the answer, where the route promises how seldom that is wrong; and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.house import Build, House, lived_in, until
from tests.stages.cache.test_cache import bought, cache_of
from tests.valkey import Valkey
from tidegate import config
from tidegate.core.errors import ConfigError

ALIKE = """
logs: {calls: false}
cache: {embedder: "tests.stages.cache.words:Words", entries: 1000}
providers:
  main: {type: scripted, price: {input: 100, output: 200}}
routes:
  fast:
    targets: [{provider: main, model: m}]
    cache: {semantic: {max_error: 2%, checks: 0%}, scope: global}
  other:
    targets: [{provider: main, model: m}]
    cache: {semantic: {max_error: 2%, checks: 0%}, scope: global}
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
    engine = house.app.gateway.cache.meanings._routes["fast"].engine
    assert engine.verifier.state().labels_seen == 1


async def test_a_reply_that_is_not_kept_any_more_is_bought(house: House):
    await house.ask(LONG)
    await settled(house)
    await house.begin(path="/admin/cache?all=true", method="DELETE", body=b"").reply()
    for _ in range(2):
        reply = await house.ask(LONG.lower())
        assert cache_of(reply)[0] == "miss"
        await settled(house)


async def test_an_embedder_of_another_dimension_is_a_miss_and_somebody_is_told(house: House):
    await house.ask(LONG)
    await settled(house)

    async def shorter(text: str) -> bytes:
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


async def test_what_was_learned_outlives_the_process_where_answers_do(valkey: Valkey, tmp_path: Path):
    text = ALIKE.replace("providers:", f"storage: {{valkey: '{valkey.url}', valkey_timeout: 5s}}\nproviders:", 1)
    async with lived_in(text, tmp_path) as house:
        for number in range(110):  # from 100 labels on there is a fit
            await house.ask(
                f"{LONG} x{'abcdefghij'[number % 10]}{'abcdefghijk'[number // 10]} y{'abcdefghij'[number % 10]}"
            )
            await settled(house)
        ((_, before),) = house.app.gateway.cache.meanings._routes.items()
        assert before.engine.verifier.fit is not None
    async with lived_in(text, tmp_path) as house:
        await house.ask(LONG)
        await settled(house)
        ((_, after),) = house.app.gateway.cache.meanings._routes.items()
        assert after.engine.verifier.fit == before.engine.verifier.fit
