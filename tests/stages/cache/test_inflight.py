"""Whoever asks the same at the same time reads along, and only one pays: whoever leaves, and whatever fails."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

import pytest

from tests.house import Asking, Build, House, until
from tests.stages.cache.test_cache import CACHED, bought, cache_of, said

QUESTIONS = 20


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(CACHED)


def asking(house: House, question: str, number: int, key: str | None = None) -> Asking:
    """Every second one streamed, every third in Anthropic's dialect."""
    stream = bool(number % 2)
    if number % 3:
        return house.begin(question, stream=stream, max_tokens=50, key=key)
    content = [{"role": "user", "content": question}]
    body = json.dumps({"model": "fast", "messages": content, "max_tokens": 50, "stream": stream}).encode()
    return house.begin(path="/v1/messages", body=body, headers={"anthropic-version": "2023-06-01"}, key=key)


async def test_five_thousand_calls_over_twenty_questions_are_twenty_purchases(house: House):
    house.clock.hold()
    house.provider("main").always(before=1, between=0.1)
    calls = [(f"q{number % QUESTIONS}", asking(house, f"q{number % QUESTIONS}", number)) for number in range(5_000)]
    await until(lambda: len(house.app.gateway.cache.shelf.table) == QUESTIONS)
    advancing = asyncio.create_task(house.clock.advance(10))
    for question, one in calls:
        reply = await one.reply()
        assert reply.status == 200 and said(reply) == f"You said 1 words: {question}", reply.body
    await advancing
    assert bought(house) == QUESTIONS
    rows = await house.rows()
    assert Counter(row.cache for row in rows) == {"miss": QUESTIONS, "shared": 5_000 - QUESTIONS}
    assert all((row.cost_nusd == 0) == row.deduplicated == bool(row.saved_nusd) for row in rows)
    assert {row.outcome for row in rows} == {"ok"} and len({row.id for row in rows}) == 5_000


@pytest.mark.parametrize("seed", range(3))
async def test_the_payer_leaves_at_any_moment_and_every_follower_has_it_whole(house: House, seed: int):
    house.clock.hold()
    house.provider("main").always(["one ", "two ", "three ", "four"], before=0.1, between=0.1)
    dice = random.Random(seed)
    payers = [house.begin(f"q{number}", max_tokens=50) for number in range(QUESTIONS)]
    table = house.app.gateway.cache.shelf.table
    await until(lambda: len(table) == QUESTIONS)
    followers = [house.begin(f"q{at % QUESTIONS}", max_tokens=50, stream=at % 2 == 0) for at in range(10 * QUESTIONS)]
    await until(lambda: all(len(flight._readers) == 11 for flight in table.values()))
    for payer in payers:
        await house.clock.advance(dice.choice((0, 0.01, 0.05)))
        payer.leave()
    await house.clock.advance(5)
    for one in followers:
        reply = await one.reply()
        assert (reply.status, said(reply), cache_of(reply)[0]) == (200, "one two three four", "shared")
    assert bought(house) == QUESTIONS
    for payer in payers:
        await payer.task
    rows = await house.rows()
    assert Counter((row.cache, row.outcome) for row in rows) == {
        ("miss", "ok"): QUESTIONS,
        ("shared", "ok"): 10 * QUESTIONS,
    }


async def test_when_everybody_leaves_the_purchase_ends_and_the_next_one_pays(house: House):
    house.clock.hold()
    house.provider("main").always("hello world", between=1)
    first, second = house.begin(), house.begin()
    for one in (first, second):
        await one.heard("hello")
    for one in (first, second):
        one.leave()
    await first.task, await second.task
    assert not house.app.gateway.cache.shelf.table
    await until(lambda: not house.left())
    third = house.begin()
    await third.heard("hello")
    await house.clock.advance(20)
    reply = await third.reply()
    assert reply.text == "hello world" and cache_of(reply)[0] == "miss" and bought(house) == 2
    outcomes = sorted((row.cache, row.outcome, row.status) for row in await house.rows())
    assert outcomes == [("miss", "client_left", 200), ("miss", "ok", 200), ("shared", "client_left", 200)]


async def test_a_late_follower_of_a_stream_hears_it_as_it_comes(house: House):
    house.clock.hold()
    house.provider("main").says(["one ", "two ", "three"], between=1)
    payer = house.begin()
    await payer.heard("one ")
    follower = house.begin()
    await follower.heard("one ")
    assert b"two" not in follower.body
    await house.clock.advance(1)
    await follower.heard("two")
    assert b"three" not in follower.body
    await house.clock.advance(20)
    assert (await follower.reply()).text == (await payer.reply()).text == "one two three"


async def test_when_the_provider_fails_one_follower_tries_once_more_for_all(house: House):
    house.clock.hold()
    server = house.provider("main")
    server.always(status=400, before=1)
    calls = [house.begin() for _ in range(10)]
    table = house.app.gateway.cache.shelf.table
    await until(lambda: table and all(len(flight._readers) == 10 for flight in table.values()))
    advancing = asyncio.create_task(house.clock.advance(60))
    replies = [await call.reply() for call in calls]
    await advancing
    assert {reply.status for reply in replies} == {400} and bought(house) == 2


async def test_after_the_first_failure_the_others_may_still_get_an_answer(house: House):
    house.clock.hold()
    server = house.provider("main")
    server.says(status=400, before=1)
    server.always("hello")
    calls = [house.begin() for _ in range(10)]
    table = house.app.gateway.cache.shelf.table
    await until(lambda: table and all(len(flight._readers) == 10 for flight in table.values()))
    advancing = asyncio.create_task(house.clock.advance(60))
    statuses = Counter([(await call.reply()).status for call in calls])
    await advancing
    assert statuses == {400: 1, 200: 9} and bought(house) == 2
