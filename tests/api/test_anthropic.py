"""The paths of Anthropic's API, before providers of another dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import House, Reply

VERSION = {"anthropic-version": "2026-10-21"}


async def messages(house: House, path: str = "/v1/messages", key: str | None = None, **fields: Any) -> Reply:
    body = {"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]} | fields
    headers = {**VERSION, "authorization": "", "x-api-key": key or house.key}
    return await house.ask(path=path, body=json.dumps(body).encode(), headers=headers)


def names(reply: Reply) -> list[str]:
    return [line.removeprefix("event: ") for line in reply.body.decode().splitlines() if line.startswith("event: ")]


async def test_a_message_is_answered_in_its_own_words(house):
    house.provider("main").says("one two three")
    reply = await messages(house)
    body = reply.events[0]
    assert reply.status == 200 and body["type"] == "message" and body["role"] == "assistant"
    assert body["content"] == [{"type": "text", "text": "one two three"}] and body["stop_reason"] == "end_turn"
    assert (body["usage"]["input_tokens"], body["usage"]["output_tokens"]) == (4, 3)
    assert (reply.row.dialect, reply.row.operation, reply.row.target) == ("anthropic", "chat", "main/m")


async def test_so_is_a_stream(house):
    house.provider("main").says("one two")
    reply = await messages(house, stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    heard = names(reply)
    assert heard[0] == "message_start" and heard[-1] == "message_stop" and "content_block_delta" in heard
    assert reply.row.usage == {"input": 4, "output": 2}


async def test_a_stream_that_breaks_off_ends_with_its_error(house):
    house.clock.hold()
    house.provider("main").says("hel lo", between=1, cut_off=1)
    body = {"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    asking = house.begin(path="/v1/messages", body=json.dumps(body).encode())
    await asking.heard("hel")
    await house.clock.advance(10)
    reply = await asking.reply()
    assert names(reply)[-1] == "error" and "message_stop" not in names(reply)
    assert reply.row.outcome == "cut_off"


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"model": "fats"}, 404, "not_found_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"max_tokens": "many"}, 400, "invalid_request_error"),
        ({"key": "wrong"}, 401, "authentication_error"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_an_error_is_told_in_its_own_words(house, path, fields, status, kind):
    if path.endswith("count_tokens") and "max_tokens" in fields:
        fields = {"messages": "hi"}
    reply = await messages(house, path, **fields)
    body = reply.events[0]
    assert reply.status == status and body["type"] == "error" and body["error"]["type"] == kind
    assert len(body["error"]["message"]) > 10


async def test_models_are_listed_as_its_clients_expect_them(house):
    reply = await house.get("/v1/models", headers=VERSION)
    model = {"type": "model", "id": "fast", "display_name": "fast", "created_at": "1970-01-01T00:00:00Z"}
    assert reply.events[0] == {"data": [model], "has_more": False, "first_id": "fast", "last_id": "fast"}
    assert (await house.get("/v1/models/fast", headers=VERSION)).events[0] == model
    unknown = await house.get("/v1/models/fats", headers=VERSION)
    assert unknown.status == 404 and unknown.events[0]["error"]["type"] == "not_found_error"
    stranger = await house.get("/v1/models", headers=VERSION, key="wrong")
    assert stranger.status == 401 and stranger.events[0]["type"] == "error"
