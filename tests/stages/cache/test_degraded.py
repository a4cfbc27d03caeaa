"""What the cache stands on may be slow, gone or damaged: then it is a miss, and never an error or a wrong answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.house import Build, House, lived_in, until
from tests.postgres import Server
from tests.stages.cache.test_cache import bought, cache_of
from tests.stages.cache.test_many import WORDS, two
from tests.stages.cache.test_meaning import ALIKE, LONG, settled
from tests.valkey import Valkey
from tidegate import config
from tidegate.core.errors import ConfigError, StoreDown


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(ALIKE)


async def fails(*_: Any, **__: Any) -> Any:
    raise StoreDown("the disk is full")


@pytest.mark.parametrize("how", ["nearest", "reply", "add", "answers", "judge", "learned", "teach", "forget"])
async def test_whatever_fails_where_questions_are_kept_every_call_is_answered(
    house: House, monkeypatch: pytest.MonkeyPatch, how: str
):
    vectors = house.app.gateway.cache.meanings._vectors
    await house.ask(LONG)
    await settled(house)
    monkeypatch.setattr(vectors, how, fails)
    for _ in range(3):
        await house.clock.advance(31)  # news are shared now and then
        for text in (LONG.lower(), "something else altogether"):
            assert (await house.ask(text)).status == 200
            await settled(house)


async def test_an_embedder_that_fails_is_a_miss_and_somebody_is_told(house: House, monkeypatch: pytest.MonkeyPatch):
    await house.ask(LONG)
    await settled(house)
    monkeypatch.setattr(house.app.gateway.cache.meanings._embedder, "embed", fails)
    reply = await house.ask(LONG.lower())
    assert (reply.status, cache_of(reply)[0]) == (200, "miss") and bought(house) == 2
    assert b'name="semantic_lookup_failed"' in (await house.get("/metrics")).body


async def test_with_its_postgresql_frozen_or_gone_a_house_answers_without(postgres_server: Server, tmp_path: Path):
    database = f"storage: {{database: '{postgres_server.new_database()}', database_timeout: 2s}}"
    text = ALIKE.replace("timeout: 5s", "timeout: 50ms").replace("providers:", f"{database}\nproviders:", 1)
    async with lived_in(text, tmp_path) as house:
        await house.ask(LONG)
        await settled(house)
        postgres_server.freeze()
        try:
            replies = [await house.ask(LONG.lower()) for _ in range(5)]
        finally:
            postgres_server.thaw()
        assert [(reply.status, cache_of(reply)[0]) for reply in replies] == [(200, "miss")] * 5
        page = (await house.get("/metrics")).body
        assert b'tidegate_notices_total{name="vectors_lost"} 1.0' in page
        await until(lambda: not house.left())


async def test_an_answer_over_the_bound_is_not_given_to_what_means_the_same(build_house: Build):
    house = await build_house(ALIKE.replace("scope: global}", "scope: global, max_bytes: 2000}"))
    house.provider("main").always(["x" * 1000] * 5)
    for text in (LONG, LONG.lower()):
        reply = await house.ask(text)
        assert (len(reply.text), cache_of(reply)[0]) == (5_000, "miss")
        await settled(house)
    assert bought(house) == 2


async def test_an_answer_that_broke_off_or_was_refused_teaches_nothing(house: House):
    house.provider("main").says("hel", cut_off=True)
    house.provider("main").says("no", finish="content_filter")
    for _ in range(2):
        await house.ask(LONG)
        await settled(house)
    assert cache_of(await house.ask(LONG.lower()))[0] == "miss"


@pytest.mark.parametrize("entries", ["0", "-1"])
def test_room_for_no_question_is_refused(entries: str):
    with pytest.raises(ConfigError, match=r"cache.entries"):
        config.parse(ALIKE.replace("entries: 1000", f"entries: {entries}"), {})


async def test_when_the_valkey_goes_in_the_middle_who_pays_has_it_whole_and_who_reads_along_is_told(
    own_valkey: Valkey, tmp_path: Path
):
    async with two(own_valkey, tmp_path) as (one, other):
        one.provider("main").says(WORDS, between=0.5)
        payer = one.begin()
        await payer.heard("one ")
        follower = other.begin()
        await follower.heard("one ")
        own_valkey.stop()
        assert (await payer.reply()).text == "".join(WORDS)
        broken = await follower.reply()
        assert broken.error.code == "upstream_cut_off" and "ask again" in broken.error.message
        again = await other.ask()
        assert (again.status, cache_of(again)[0]) == (200, "miss")


async def test_when_the_valkey_goes_before_the_first_word_who_waits_buys(own_valkey: Valkey, tmp_path: Path):
    async with two(own_valkey, tmp_path) as (one, other):
        one.provider("main").says("hello", before=2)
        payer = one.begin()
        await until(lambda: one.provider("main").requests)
        waits = other.begin()
        own_valkey.stop()
        for asked in (payer, waits):
            assert (await asked.reply()).status == 200
        assert bought(one) == bought(other) == 1


async def test_parts_that_others_have_left_and_are_no_reply_are_passed_over(valkey: Valkey, tmp_path: Path):
    async with two(valkey, tmp_path) as (one, other):
        elsewhere = one.app.gateway.cache.shelf.elsewhere
        assert elsewhere is not None
        one.provider("main").says("hello", before=2)
        payer = one.begin()
        await until(lambda: elsewhere._leading)
        ((key, lease),) = elsewhere._leading.items()
        await elsewhere.relay.tell(key, lease.me, [b"\x00garbage"])
        reply = await other.ask()
        assert (reply.status, bought(other)) == (200, 1)
        assert (await payer.reply()).text == "hello"
