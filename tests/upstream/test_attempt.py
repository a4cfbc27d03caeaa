"""One request to one target: what counts as an answer, what as none, and what it cost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import Build, House, Reply, until
from tidegate.upstream.attempt import MAX_ERROR_BODY, MAX_PREAMBLE

ONE_TRY = """
upstream: {retry: {tries: 1}}
providers:
  main: {type: scripted, price: {input: 1, output: 2}}
  spare: {type: scripted, price: {input: 3, output: 6}}
routes:
  fast: {targets: [{provider: main, model: m}, {provider: spare, model: m, order: 2}]}
"""

ROLE = b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}\n\n'
OVERLOADED = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.fixture
async def house(build_house: Build) -> House:
    """As ever, but each target is asked once."""
    return await build_house(ONE_TRY)


def why(reply: Reply) -> str:
    """What is kept of why main failed."""
    return reply.row.attempts[0].said or ""


# --- before the first event: no answer, so the next target is asked --------------------------------------------------


@pytest.mark.parametrize(
    ("script", "stream", "said"),
    [
        ({"body": '{"error": {"message": "overloaded"}}'}, False, "sent an error: overloaded"),
        ({"body": '{"error": "overloaded"}'}, False, "sent an error: overloaded"),
        ({"instead": {0: OVERLOADED}}, True, "sent an error: overloaded"),
        ({"body": '{"error": {"message": "overloaded"}}'}, True, "answered application/json instead of text/event-str"),
        ({"body": "<html>", "headers": {"content-type": "text/html"}}, False, "answered text/html instead of appli"),
        ({"body": "{}"}, False, "an answer with nothing in it"),
        ({"body": ""}, False, "something that is no answer"),
        ({"body": '{"choices": [{"index": "none"}]}'}, False, "something that is no answer"),
        ({"instead": {0: b'data: {"choices":[{"in\n\n'}}, True, "something that is no answer"),
        ({"instead": {0: b"data: \xff\xfe\n\n"}}, True, "something that is no answer"),
        ({"instead": {0: b"data: " + b"[" * 100_000 + b"\n\n"}}, True, "something that is no answer"),
        ({"cut_off": 0}, True, "closed the connection in the middle"),
        ({"cut_off": 0}, False, "closed the connection in the middle"),
        ({"cut_bytes": 30}, True, "closed the connection in the middle"),
        ({"cut_bytes": 30, "then": "reset"}, False, "closed the connection in the middle"),
        ({"instead": {0: ROLE}, "cut_off": 1}, True, "closed the connection in the middle"),
        ({"instead": {0: ROLE}, "cut_off": 1, "framing": "close"}, True, "the answer ended before it began"),
        ({"raw": b"HTTP/1.1 200 OK\r\ncontent-length: zwei\r\n\r\n"}, True, "not HTTP/1.1"),
        ({"raw": b"SSH-2.0-OpenSSH_9.2\r\n"}, True, "not HTTP/1.1"),
        ({"raw": b""}, True, "closed the connection without an answer"),
        ({"status": 301, "headers": {"location": "http://127.0.0.1:1/"}}, True, "HTTP 301"),
    ],
)
async def test_what_is_no_answer_is_asked_elsewhere_and_never_seen(
    house: House, script: dict[str, Any], stream: bool, said: str
):
    house.provider("main").says("hello from main", **script)
    house.provider("spare").says("hello")
    reply = await house.ask(stream=stream)
    assert (reply.status, reply.text, reply.error) == (200, "hello", None)
    assert reply.attempts == ["main: failed", "spare: ok"] and said in why(reply)
    assert b"main" not in reply.body and reply.row.attempts[0].cost_nusd == 0


async def test_preamble_is_held_back_until_something_is_said(house: House):
    house.clock.hold()
    house.provider("main").says(("hello", " world"), instead={0: b": ping\n\n" + ROLE}, between=1)
    asking = house.begin()
    await until(lambda: house.clock.sleepers)
    await house.clock.advance(0.5)
    assert not asking.sent, "a role is not yet an answer: until there is one, another provider can be asked"
    await house.clock.advance(1)
    await asking.heard("world")
    assert asking.body.startswith(b": ping\n\n" + ROLE), "then it is passed on, as it came"
    await house.clock.advance(10)
    assert (await asking.reply()).text == " world"


async def test_preamble_is_bounded(house: House):
    ping = b": " + b"." * 1000 + b"\n\n"
    house.provider("main").says("hello", instead={0: ping * (MAX_PREAMBLE // len(ping) + 1)}, between=1)
    reply = await house.ask()
    assert reply.attempts == ["main: failed", "spare: ok"] and "nothing in them" in why(reply)
    assert b"...." not in reply.body


async def test_a_line_without_an_end_is_bounded(house: House):
    house.provider("main").says("hello", instead={0: b"data: " + b"x" * 5 * 1024 * 1024})
    reply = await house.ask()
    assert reply.attempts == ["main: failed", "spare: ok"] and "larger than 4 MiB" in why(reply)


async def test_of_a_long_error_only_the_beginning_is_read(house: House):
    long = json.dumps({"error": {"message": "word " * MAX_ERROR_BODY}})
    house.provider("main").says(status=400, body=long)
    reply = await house.ask()
    assert reply.status == 400 and len(reply.body) <= MAX_ERROR_BODY and len(why(reply)) < 600


# --- after it: the reply is the client's, and what goes wrong is its last event --------------------------------------


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"cut_off": 1}, "closed the connection in the middle of the body"),
        ({"cut_off": 1, "then": "reset", "between": 1}, "was cut off"),
        ({"cut_off": 1, "framing": "close"}, "ended its answer in the middle"),
        ({"cut_off": 1, "then": "half_close"}, "closed the connection in the middle of the body"),
        ({"instead": {1: OVERLOADED}}, "sent an error: overloaded"),
        ({"instead": {1: b"data: {nonsense\n\n"}}, "sends what makes no sense|sent what makes no sense"),
        ({"instead": {1: b"data: \xff\n\n"}, "between": 1}, "sent what makes no sense"),
        ({"instead": {1: b"data: " + b"x" * 5 * 1024 * 1024}}, "larger than 4 MiB"),
    ],
)
async def test_what_breaks_after_the_first_event_ends_with_an_error(house: House, script: dict[str, Any], said: str):
    house.provider("main").says(("hello", " world"), **script)
    reply = await house.ask("sixteen letters.")
    assert reply.status == 200 and reply.text == "hello" and reply.events[-1]["error"]
    assert reply.error.code == "upstream_cut_off" and reply.error.message.startswith("main/m ")
    assert any(part in reply.error.message for part in said.split("|"))
    row = reply.row
    assert (row.outcome, row.error, reply.attempts) == ("cut_off", "upstream_cut_off", ["main: cut_off"])
    assert row.usage == {"input": 4, "output": 2} and row.usage_estimated, "it said five bytes, and nothing of usage"
    assert row.cost_nusd == 4 * 1000 + 2 * 2000 and row.target == "main/m"


async def test_an_end_that_is_only_implied_is_one(house: House):
    """Some never say [DONE]. Every choice has finished, so this is no cut-off; the client gets what it waits for."""
    house.provider("main").says("hello", done=False)
    reply = await house.ask()
    assert reply.error is None and reply.events[-1] == "[DONE]" and reply.row.outcome == "ok"


async def test_what_comes_after_the_end_is_not_for_the_client(house: House):
    house.provider("main").says("hello", instead={2: DONE + b'data: {"late":1}\n\n'})
    reply = await house.ask()
    assert reply.events[-1] == "[DONE]" and b"late" not in reply.body and reply.row.outcome == "ok"


# --- what it cost ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_usage_that_nobody_told_is_estimated_and_marked(house: House, stream: bool):
    house.provider("main").says("twenty letters, all.", usage=False)
    reply = await house.ask("sixteen letters.", stream=stream)
    row = reply.row
    assert row.usage == {"input": 4, "output": 5} and row.usage_estimated and row.attempts[0].usage_estimated
    assert row.cost_nusd == 4 * 1000 + 5 * 2000


async def test_usage_that_was_told_is_believed_to_the_last_kind_of_token(house: House):
    told = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    house.provider("main").says("hello", usage=told)
    reply = await house.ask()
    assert reply.row.usage == {"input": 70, "cached_read": 30, "output": 30, "reasoning": 20}
    assert not reply.row.usage_estimated and reply.row.cost_nusd == 100 * 1000 + 50 * 2000
    assert reply.row.attempts[0].price["rates"] == {"input": 10**9, "output": 2 * 10**9}


async def test_usage_that_only_we_asked_for_is_withheld(house: House):
    asked = await house.ask(stream_options={"include_usage": True})
    not_asked = await house.ask()
    assert asked.events[-2]["usage"] and asked.events[-2]["choices"] == []
    assert all("usage" not in event for event in not_asked.events[:-1])
    assert asked.row.usage == not_asked.row.usage != {}


async def test_thoughts_and_tools_count_as_something_said(house: House):
    house.provider("main").says("", reasoning="four", tools=[], usage=False)
    reply = await house.ask("hi")
    assert reply.row.usage["output"] == 1 and reply.row.first_us is not None


async def test_nothing_reported_is_not_nothing_used(house: House):
    house.provider("main").says("hello", usage={"prompt_tokens": 0, "completion_tokens": 0})
    reply = await house.ask("sixteen letters.")
    assert reply.row.usage_estimated and reply.row.usage == {"input": 4, "output": 2}


async def test_only_some_headers_of_a_provider_pass(house: House):
    given = {"x-ratelimit-remaining-tokens": "7", "openai-version": "2020-10-01", "set-cookie": "a=b", "server": "x"}
    house.provider("main").says("hello", headers=given)
    reply = await house.ask()
    assert reply.headers["x-ratelimit-remaining-tokens"] == "7" and reply.headers["openai-version"] == "2020-10-01"
    assert "set-cookie" not in reply.headers and reply.headers.get("server") != "x"
