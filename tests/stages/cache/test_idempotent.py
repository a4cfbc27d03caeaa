"""The same call again with the same key is never paid for twice: at once, later, and after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.house import Build, House, Reply, lived_in, until
from tests.stages.cache.test_cache import bought, cache_of
from tidegate.core.ports import StoreDown

PLAIN = """
logs: {calls: false}
providers:
  main: {type: scripted, price: {input: 100, output: 200}}
routes:
  fast:
    targets: [{provider: main, model: m}]
"""
ONCE = {"idempotency-key": "one"}


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(PLAIN)


async def settled(house: House) -> None:
    await until(lambda: not house.left())


@pytest.mark.parametrize("stream", [True, False])
async def test_asked_again_it_is_answered_the_same_and_costs_nothing(house: House, stream: bool):
    house.provider("main").says("hello world")
    first = await house.ask(stream=stream, headers=ONCE)
    await settled(house)
    second = await house.ask(stream=stream, headers=ONCE)
    assert first.body == second.body and bought(house) == 1
    assert cache_of(second) == ("hit", "idempotent")
    assert (second.row.cost_nusd, second.row.saved_nusd, second.row.outcome) == (0, first.row.cost_nusd, "ok")
    assert first.row.cost_nusd > 0


async def test_another_body_under_the_same_key_is_a_mistake(house: House):
    await house.ask("one", headers=ONCE)
    await settled(house)
    reply = await house.ask("two", headers=ONCE)
    assert (reply.status, reply.error.code) == (422, "idempotency_key_reused") and bought(house) == 1


async def test_a_key_is_its_callers_own(house: House):
    other, _ = await house.app.gateway.auth.create("another", "test", admin=False)
    for key in (None, other):
        await house.ask(key=key, headers=ONCE)
    assert bought(house) == 2


async def test_while_it_is_answered_the_second_waits_and_reads_along(house: House):
    house.clock.hold()
    house.provider("main").says("hello world", between=1)
    first = house.begin(headers=ONCE)
    await first.heard("hello")
    second = house.begin(headers=ONCE)
    await second.heard("hello")
    await house.clock.advance(20)
    replies = [await first.reply(), await second.reply()]
    assert [reply.text for reply in replies] == ["hello world"] * 2 and bought(house) == 1
    assert cache_of(replies[1]) == ("shared", "idempotent") and replies[1].row.cost_nusd == 0


async def test_a_client_that_lost_its_connection_gets_the_answer_it_paid_for(house: House):
    house.clock.hold()
    house.provider("main").says("hello world", between=1)
    first = house.begin(headers=ONCE)
    await first.heard("hello")
    first.leave()
    await first.task
    second = house.begin(headers=ONCE)
    await second.heard("hello")
    second.leave()
    await second.task
    await house.clock.advance(20)
    await settled(house)
    third = await house.ask(headers=ONCE)
    assert (third.text, cache_of(third)) == ("hello world", ("hit", "idempotent")) and bought(house) == 1


async def test_what_failed_cost_nothing_and_may_be_tried_again(house: House):
    house.provider("main").says(status=400)
    house.provider("main").says("hello")
    assert (await house.ask(headers=ONCE)).status == 400
    await settled(house)
    reply = await house.ask(headers=ONCE)
    assert (reply.status, reply.text) == (200, "hello")


async def test_after_a_day_the_key_is_free(house: House):
    await house.ask(headers=ONCE)
    await settled(house)
    await house.clock.sleep(24 * 3600 - 10)
    assert cache_of(await house.ask(headers=ONCE)) == ("hit", "idempotent")
    await house.clock.sleep(20)
    await house.ask(headers=ONCE)
    assert bought(house) == 2


async def test_too_large_an_answer_is_not_bought_twice_either(house: House):
    house.provider("main").always(["x" * 10_000] * 200)
    assert len((await house.ask(headers=ONCE)).text) == 2_000_000
    await settled(house)
    reply = await house.ask(headers=ONCE)
    assert (reply.status, reply.error.code) == (409, "idempotency_key_busy") and bought(house) == 1


@pytest.mark.parametrize("name", ["x" * 256, "a\x07b"])
async def test_a_key_that_is_none_is_refused(house: House, name: str):
    assert (await house.ask(headers={"idempotency-key": name})).status == 400


async def test_every_paid_endpoint_takes_a_key(house: House):
    for path in ("/v1/completions", "/v1/embeddings", "/v1/images/generations"):
        body = b'{"model": "fast", "prompt": "hi", "input": "hi"}'
        replies: list[Reply] = []
        for _ in range(2):
            replies.append(await house.begin(path=path, body=body, headers={"idempotency-key": path}).reply())
            await settled(house)
        if replies[0].status == 200:
            assert cache_of(replies[1]) == ("hit", "idempotent"), path
            assert replies[0].body == replies[1].body


async def test_with_an_exact_cache_too_it_is_found_there_and_remembered(build_house: Build):
    house = await build_house(PLAIN + "    cache: {exact: true, single_flight: true}\n")
    await house.ask()
    first = await house.ask(headers=ONCE)
    assert cache_of(first) == ("hit", "exact")
    await settled(house)
    await house.begin(path="/admin/cache?all=true", method="DELETE", body=b"").reply()
    second = await house.ask(headers=ONCE)
    assert cache_of(second) == ("hit", "idempotent") and bought(house) == 1


async def test_many_at_once_with_keys_of_their_own_share_and_each_is_remembered(build_house: Build):
    house = await build_house(PLAIN + "    cache: {single_flight: true}\n")
    house.clock.hold()
    house.provider("main").always("hello world", between=1)
    first = house.begin(headers={"idempotency-key": "0"})
    await first.heard("hello")
    calls = [first, *(house.begin(headers={"idempotency-key": str(at)}) for at in range(1, 10))]
    for call in calls:
        await call.heard("hello")
    await house.clock.advance(20)
    assert [(await call.reply()).text for call in calls] == ["hello world"] * 10
    await settled(house)
    again = [await house.ask(headers={"idempotency-key": str(at)}) for at in range(10)]
    assert {cache_of(reply) for reply in again} == {("hit", "idempotent")} and bought(house) == 1


async def test_what_was_answered_is_known_after_a_restart(tmp_path: Path):
    async with lived_in(PLAIN, tmp_path) as house:
        key = house.key
        first = await house.ask(headers=ONCE)
        await settled(house)
    async with lived_in(PLAIN, tmp_path) as house:
        second = await house.ask(headers=ONCE, key=key)
        assert second.body == first.body and cache_of(second) == ("hit", "idempotent") and bought(house) == 0


async def test_what_was_begun_when_the_process_ended_may_be_begun_again(tmp_path: Path):
    async with lived_in(PLAIN, tmp_path) as house:
        key = house.key
        house.clock.hold()
        house.provider("main").says("hello world", between=1)
        asking = house.begin(headers=ONCE)
        await asking.heard("hello")
        leaving = asyncio.create_task(house.app.leave())
        await asyncio.sleep(0.01)
        leaving.cancel()
        await asking.reply()
    async with lived_in(PLAIN, tmp_path) as house:
        assert (await house.ask(headers=ONCE, key=key)).status == 200 and bought(house) == 1


async def test_without_the_store_nothing_is_bought(house: House, monkeypatch: pytest.MonkeyPatch):
    async def down(*_: object) -> None:
        raise StoreDown("away")

    monkeypatch.setattr(type(house.app.world.store), "begin_once", down)
    reply = await house.ask(headers=ONCE)
    assert (reply.status, reply.error.code) == (503, "store_unavailable") and bought(house) == 0
