"""Over several processes: what one has bought the others give, and a server of answers that is gone costs nobody."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.house import House, lived_in, until
from tests.stages.cache.test_cache import CACHED, bought, cache_of
from tests.valkey import Valkey
from tidegate.storage.valkey import relay


def shared(valkey: Valkey, timeout: str = "5s") -> str:
    return CACHED.replace(
        "providers:", f"storage: {{valkey: '{valkey.url}', valkey_timeout: {timeout}}}\nproviders:", 1
    )


@asynccontextmanager
async def two(
    valkey: Valkey, folder: Path, *, exact: bool = True, max_bytes: int = 1_000_000
) -> AsyncIterator[tuple[House, House]]:
    more = f"single_flight: true, scope: global, max_bytes: {max_bytes}"
    text = shared(valkey).replace("single_flight: true", more)
    text = text if exact else text.replace("exact: true", "exact: false")
    async with lived_in(text, folder / "one") as one, lived_in(text, folder / "other", clock=one.clock) as other:
        yield one, other
        await until(lambda: not one.left() and not other.left())


async def test_what_one_process_has_bought_another_gives(valkey: Valkey, tmp_path: Path):
    async with lived_in(shared(valkey), tmp_path) as one:
        first = await one.ask(stream=True)
        assert cache_of(await one.ask(stream=True)) == ("hit", "exact")
    async with lived_in(shared(valkey), tmp_path) as other:
        hit = await other.ask(stream=True, key=one.key)
        assert hit.body == first.body and bought(other) == 0, "keys without a team share with themselves"
        assert cache_of(hit) == ("hit", "exact")
        purged = await other.begin(path="/admin/cache?route=fast", method="DELETE", body=b"").reply()
        assert purged.events[0] == {"purged": 1, "questions": 0}
        assert cache_of(await other.ask(stream=True, key=one.key))[0] == "miss"


async def test_a_server_of_answers_that_hangs_costs_one_call_a_moment_and_no_call_its_answer(
    own_valkey: Valkey, tmp_path: Path
):
    async with lived_in(shared(own_valkey, "50ms"), tmp_path) as house:
        await house.ask()
        assert cache_of(await house.ask())[0] == "hit"
        own_valkey.pause()
        try:
            waits = [await _took(house) for _ in range(5)]
        finally:
            own_valkey.go_on()
    assert sum(wait > 0.05 for wait in waits) <= 2, waits  # those who count wait once too


async def _took(house: House) -> float:
    began = time.monotonic()
    reply = await house.ask()
    assert (reply.status, cache_of(reply)[0]) == (200, "miss")
    return time.monotonic() - began


@pytest.mark.parametrize("stored", [b"", b"\x00garbage"])
async def test_what_others_have_left_there_is_a_miss(valkey: Valkey, tmp_path: Path, stored: bytes):
    async with lived_in(shared(valkey), tmp_path) as house:
        await house.ask()
        blobs = house.app.gateway.cache.shelf.blobs
        (name,) = await blobs._ask(b"KEYS", b"tidegate:blob:*")
        await blobs._ask(b"SET", name, stored)
        reply = await house.ask()
        assert (reply.status, cache_of(reply)[0]) == (200, "miss")


async def test_five_hundred_calls_over_twenty_questions_in_two_processes_are_twenty_purchases(
    valkey: Valkey, tmp_path: Path
):
    """Two houses that have nothing in common but Valkey."""
    async with two(valkey, tmp_path) as (one, other):
        for house in (one, other):
            house.provider("main").always(before=0.2, between=0.05)
        calls = [(at, house.begin(f"q{at % 20}", stream=bool(at % 3))) for at in range(250) for house in (one, other)]
        for at, call in calls:
            reply = await call.reply()
            assert (reply.status, reply.text) == (200, f"You said 1 words: q{at % 20}")
        assert bought(one) + bought(other) == 20
        rows = [*await one.rows(), *await other.rows()]
        assert len(rows) == 500 and sum(row.cost_nusd > 0 for row in rows) + sum(
            row.deduplicated for row in rows
        ) == len(rows)


async def test_when_the_process_that_buys_fails_the_other_buys(valkey: Valkey, tmp_path: Path):
    async with two(valkey, tmp_path) as (one, other):
        one.provider("main").says(status=400, before=0.2)
        first = one.begin()
        await until(lambda: one.provider("main").requests)
        second = other.begin()
        assert (await first.reply()).status == 400
        assert (await second.reply()).status == 200 and bought(other) == 1


WORDS = ["one ", "two ", "three ", "four"]


@pytest.mark.parametrize("exact", [True, False])
async def test_who_asks_the_same_elsewhere_has_what_has_come_so_far_and_then_the_rest_as_it_comes(
    valkey: Valkey, tmp_path: Path, exact: bool
):
    async with two(valkey, tmp_path, exact=exact) as (one, other):
        one.provider("main").says(WORDS, between=0.5)
        payer = one.begin()
        await payer.heard("one ")
        follower, whole = other.begin(), other.begin(stream=False)
        await follower.heard("one ")
        assert b"four" not in follower.body, "it is not waited for"
        await follower.heard("two ")
        for asked in (payer, follower, whole):
            reply = await asked.reply()
            assert (reply.status, reply.text) == (200, "one two three four")
        assert bought(one) + bought(other) == 1
        rows = await other.rows()
        assert {(row.cache, row.cache_layer, row.cost_nusd, row.deduplicated) for row in rows} == {
            ("shared", "in_flight", 0, True)
        }
        assert {row.saved_nusd for row in rows} == {(await payer.reply()).row.cost_nusd}


async def test_the_payer_leaves_and_whoever_reads_along_elsewhere_has_it_whole(valkey: Valkey, tmp_path: Path):
    async with two(valkey, tmp_path) as (one, other):
        one.provider("main").says(WORDS, between=0.5)
        payer = one.begin()
        await payer.heard("one ")
        follower = other.begin()
        await follower.heard("one ")
        payer.leave()
        reply = await follower.reply()
        assert (reply.status, reply.text) == (200, "one two three four")
        assert bought(one) == 1 and bought(other) == 0
        assert (await other.ask()).text == "one two three four" and bought(other) == 0, "and it is kept"


async def test_when_everybody_has_left_everywhere_the_purchase_ends(
    valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(relay, "READERS_MS", 100)
    async with two(valkey, tmp_path) as (one, other):
        one.provider("main").says([*WORDS, *["more "] * 100], between=0.5)
        payer = one.begin()
        await payer.heard("one ")
        follower = other.begin()
        await follower.heard("one ")
        for asked in (payer, follower):
            asked.leave()
        await until(lambda: not one.left() and not other.left())
        outcomes = [row.outcome for house in (one, other) for row in await house.rows()]
        assert outcomes == ["client_left", "client_left"]


async def test_a_reply_that_breaks_breaks_for_those_elsewhere_too(valkey: Valkey, tmp_path: Path):
    async with two(valkey, tmp_path) as (one, other):
        one.provider("main").says(WORDS, between=0.5, cut_off=3)
        payer = one.begin()
        await payer.heard("one ")
        follower = other.begin()
        for asked in (payer, follower):
            reply = await asked.reply()
            assert reply.error.code == "upstream_cut_off", reply.body
            assert (reply.row.outcome, bought(other)) == ("cut_off", 0)


async def test_what_is_too_long_to_be_read_along_is_bought_by_each(valkey: Valkey, tmp_path: Path):
    async with two(valkey, tmp_path, max_bytes=2000) as (one, other):
        long = ["x" * 1500, "y" * 1500, "end"]
        for house in (one, other):
            house.provider("main").says(long, between=0.5)
        payer = one.begin()
        await payer.heard("y" * 1500)
        follower = other.begin()
        for asked in (payer, follower):
            assert (await asked.reply()).text == "".join(long)
        assert bought(one) == bought(other) == 1
