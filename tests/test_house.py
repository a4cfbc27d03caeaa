from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest

from tests.clock import now_s
from tests.house import TWO_PROVIDERS, lived_in
from tidegate.core.money import usd_text


async def test_never_falls_back_after_the_first_event(house):
    house.provider("main").says("hel", cut_off=1)
    house.provider("spare").says("hello")
    reply = await house.ask("hi", route="fast")
    assert reply.text == "hel" and reply.error.code == "upstream_cut_off"
    assert reply.attempts == ["main: cut_off"]


async def test_falls_back_before_it(house):
    house.provider("main").always(status=503)
    house.provider("spare").says("hello")
    reply = await house.ask("hi")
    assert reply.text == "hello" and reply.error is None and reply.events[-1] == "[DONE]"
    assert reply.attempts == ["main: failed"] * 3 + ["spare: ok"]
    assert reply.headers["x-tidegate-target"] == "spare/m"


async def test_a_whole_reply_is_read_like_a_stream(house):
    house.provider("main").says("hello")
    reply = await house.ask("hi", stream=False)
    assert (reply.status, reply.text, reply.error) == (200, "hello", None)
    reply = await house.ask("two words", path="/v1/completions", stream=False)
    assert reply.text == "You said 2 words: two words"


async def test_the_row_is_what_the_provider_was_paid_for(house):
    house.provider("main").says("one two three")
    reply = await house.ask("hi")
    assert reply.row.usage == {"input": 4, "output": 3} and reply.row.cost_nusd == 4 * 1000 + 3 * 2000
    assert usd_text(reply.row.cost_nusd) == "0.000010000"
    assert [row.id for row in await house.rows()] == [reply.id]


async def test_waiting_takes_no_time(house):
    house.provider("main").says(status=429, headers={"retry-after": "5"})
    house.provider("main").says("hello", before=20)
    began = now_s()
    reply = await house.ask("hi")
    assert reply.text == "hello" and reply.attempts == ["main: limited", "main: ok"]
    assert reply.row.duration_us >= 25_000_000
    assert now_s() - began < 2


async def test_an_error_is_read_too(house):
    reply = await house.ask("hi", route="fats")
    assert (reply.status, reply.error.code, reply.error.param) == (404, "model_not_found", "model")
    assert (await house.ask("hi", key="wrong")).status == 401
    assert (await house.get("/health")).events[0]["status"] == "healthy"


async def test_a_client_may_leave_in_the_middle(house):
    house.clock.hold()
    house.provider("main").says("hello world", between=1)
    asking = house.begin("hi")
    await asking.heard("hello")
    asking.leave()
    await asking.task
    assert "world" not in asking.body.decode()
    (row,) = await house.rows()
    assert row.outcome == "client_left"


async def test_events_are_seen_as_they_come(house):
    house.clock.hold()
    house.provider("main").says("hello world", between=1)
    asking = house.begin("hi")
    await asking.heard("hello")
    assert b"world" not in asking.body
    await house.clock.advance(1)
    await asking.heard("world")
    await house.clock.advance(10)
    assert (await asking.reply()).text == "hello world"


async def test_it_can_be_asked_over_a_socket(house):
    house.provider("main").says("hello")
    async with house.serve() as url:
        body = json.dumps({"model": "fast", "messages": [{"role": "user", "content": "hi"}]}).encode()
        headers = {"authorization": f"Bearer {house.key}", "content-type": "application/json"}
        request = urllib.request.Request(f"{url}/v1/chat/completions", body, headers)

        def ask() -> bytes:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.read()

        said = json.loads(await asyncio.to_thread(ask))
    assert said["choices"][0]["message"]["content"] == "hello"


async def test_what_is_left_at_the_end_of_a_test_fails_it_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.house.PATIENCE_S", 0.05)
    with pytest.raises(AssertionError, match=r"there is still: task flight, open flight req_\w+, 1 busy conn"):
        async with lived_in(TWO_PROVIDERS, tmp_path) as house:
            house.clock.hold()
            house.provider("main").says("hello world", between=1)
            await house.begin("hi").heard("hello")


async def test_a_script_that_the_client_brings_passes_through(house):
    reply = await house.ask("hi", metadata={"script": {"text": "as you say", "extra": {"timings": 1}}})
    assert reply.text == "as you say" and reply.events[0]["timings"] == 1


async def test_a_client_that_nobody_waited_for_fails_a_test_too(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.house.PATIENCE_S", 0.05)
    with pytest.raises(AssertionError, match=r"there is still: .*a client"):
        async with lived_in(TWO_PROVIDERS, tmp_path) as house:
            asking = house.begin("hi")
            asking.stop_reading()
            await house.clock.sleep(0.1)
    asking.task.cancel()
