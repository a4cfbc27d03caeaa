"""Over several processes: what one has bought the others give, and a server of answers that is gone costs nobody."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clock import now_s
from tests.house import Asking, House, lived_in, until
from tests.stages.cache.test_cache import CACHED, bought, cache_of
from tests.valkey import Valkey
from tidegate.stages.cache import elsewhere
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
    began = now_s()
    reply = await house.ask()
    assert (reply.status, cache_of(reply)[0]) == (200, "miss")
    return now_s() - began


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


# --- what a look has taken


async def held(house: House) -> list[bytes]:
    """Questions that some process holds."""
    found: list[bytes] = await house.app.gateway.cache.shelf.blobs._ask(b"KEYS", b"tidegate:buying:*")
    return found


async def test_what_is_kept_is_found_and_nothing_is_held(valkey: Valkey, tmp_path: Path):
    async with lived_in(shared(valkey), tmp_path) as house:
        await house.ask()
        assert cache_of(await house.ask()) == ("hit", "exact") and await held(house) == []


async def test_an_answer_that_is_too_old_for_one_is_bought_anew_though_it_is_kept(valkey: Valkey, tmp_path: Path):
    async with lived_in(shared(valkey), tmp_path) as house:
        await house.ask()
        await house.clock.sleep(100)
        assert cache_of(await house.ask(headers={"cache-control": "max-age=99"}))[0] == "miss"
        assert bought(house) == 2 and await held(house) == []


async def test_whoever_may_not_buy_leaves_the_question_to_others(valkey: Valkey, tmp_path: Path):
    text = shared(valkey) + "budgets: {default_day: 0.000001}\n"
    async with lived_in(text, tmp_path) as house:
        assert (await house.ask(max_tokens=1000)).status == 402
        assert await held(house) == []


async def test_many_at_once_in_one_process_are_one_purchase_that_nobody_reads_along(valkey: Valkey, tmp_path: Path):
    async with lived_in(shared(valkey), tmp_path) as house:
        house.provider("main").always(before=0.2)
        asked = [house.begin() for _ in range(30)]
        assert {(await one.reply()).status for one in asked} == {200} and bought(house) == 1
        blobs = house.app.gateway.cache.shelf.blobs
        assert await held(house) == [] and await blobs._ask(b"KEYS", b"tidegate:told:*") == []


@asynccontextmanager
async def slow_look(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Asking, asyncio.Event]]:
    """The answer to the next look is there, and is heard when the event is set."""
    shelf = house.app.gateway.cache.shelf
    assert shelf.elsewhere is not None
    of_all = shelf.elsewhere.relay
    take, waits, hears = of_all.take, asyncio.Event(), asyncio.Event()

    async def slowly(*of: Any, **how: Any) -> Any:
        monkeypatch.setattr(of_all, "take", take)
        answer = await take(*of, **how)
        waits.set()
        await hears.wait()
        return answer

    monkeypatch.setattr(of_all, "take", slowly)
    looks = house.begin()
    await waits.wait()
    assert len(await held(house)) == 1 and bought(house) == 0
    yield looks, hears


async def test_who_leaves_while_it_looks_holds_nothing(valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with lived_in(shared(valkey), tmp_path) as house, slow_look(house, monkeypatch) as (looks, _):
        looks.leave()
        await until(lambda: not house.left() and looks.task.done())
        assert await held(house) == [] and bought(house) == 0


async def test_when_another_of_its_process_leads_meanwhile_what_a_look_took_is_given_to_it(
    valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(elsewhere, "LEASE_S", 60.0)  # so that it is not free by itself
    async with lived_in(shared(valkey), tmp_path) as house, slow_look(house, monkeypatch) as (looks, hears):
        shelf = house.app.gateway.cache.shelf
        house.provider("main").says("hello", before=2)
        leads = house.begin()
        await until(lambda: shelf.table)
        hears.set()
        await until(lambda: shelf.elsewhere is not None and shelf.elsewhere._leading)
        for asked in (looks, leads):
            assert (await asked.reply()).status == 200
        assert bought(house) == 1 and await held(house) == []
        assert (await looks.reply()).row.cost_nusd == 0, "it was the other that paid"


async def test_a_house_that_closes_while_somebody_looks_holds_nothing(
    valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with lived_in(shared(valkey), tmp_path) as house, slow_look(house, monkeypatch) as (looks, hears):
        house.app.world.closing.set()
        hears.set()
        assert (await looks.reply()).status == 503
        assert await held(house) == [] and bought(house) == 0


@pytest.mark.parametrize("seed", range(8))
async def test_clients_that_leave_at_any_moment_leave_no_question_held(
    valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
):
    monkeypatch.setattr(elsewhere, "LEASE_S", 60.0)  # so that it is not free by itself
    dice, begun = random.Random(seed), []
    async with two(valkey, tmp_path) as (one, other):
        for at in range(40):
            house = dice.choice((one, other))
            asking = house.begin(f"q{at % 4}", headers={"cache-control": f"max-age={dice.choice((9, 9999))}"})
            begun.append(asking.task)
            for _ in range(dice.randrange(12)):
                await asyncio.sleep(0)
            if dice.random() < 0.7:
                asking.leave()
                asking.task.cancel() if dice.random() < 0.5 else None
            elif dice.random() < 0.3:
                await asking.reply()
        await until(lambda: all(task.done() for task in begun) and not one.left() and not other.left())
        await held(one)  # behind what it has sent
        assert await held(other) == []
        for at in range(4):
            assert (await other.ask(f"q{at}")).text == f"You said 1 words: q{at}"
