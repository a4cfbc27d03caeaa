"""One request, by itself: what is read of it, and how it is answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clock import now_s
from tidegate import api
from tidegate.api.incoming import ClientGone, Extra, Incoming, advice
from tidegate.core.errors import (
    BadRequest,
    BodyTooLarge,
    MethodNotAllowed,
    RequestTimeout,
    ShuttingDown,
    Unauthenticated,
    UnsupportedMedia,
    UpstreamLimited,
)
from tidegate.core.values import Duration, Size
from tidegate.providers.openai.chat import Chat

CONFIG = api.Config(max_body=Size(10), body_timeout=Duration(0.05))
VARY = Extra([(b"vary", b"origin")], b"vary: origin\r\n")
GONE = {"type": "http.disconnect"}


def piece(body: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Client:
    """Sends these messages, then nothing; hears what is answered."""

    def __init__(self, *messages: dict[str, Any], **headers: str) -> None:
        self.left = list(messages)
        self.heard: list[Any] = []
        named = [
            (name.replace("_", "-").encode(), value.encode("utf-8", "surrogateescape"))
            for name, value in headers.items()
        ]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": named, "client": ("10.0.0.1", 5)}
        self.incoming = Incoming.of(scope, self.receive, self.send, CONFIG, VARY)

    async def receive(self) -> Any:
        if not self.left:
            await asyncio.Event().wait()
        return self.left.pop(0)

    async def send(self, message: Any) -> None:
        self.heard.append(message)


async def test_a_body_is_what_its_pieces_are_together():
    assert await Client(piece(b"0123456789")).incoming.body() == b"0123456789"
    assert await Client(piece(b"01", True), piece(b"", True), piece(b"2", True), piece(b"3")).incoming.body() == b"0123"
    assert await Client(piece()).incoming.body() == b""


@pytest.mark.parametrize(
    ("messages", "headers", "error"),
    [
        ([piece(b"0123456789a")], {}, BodyTooLarge),
        ([piece(b"012345", True), piece(b"6789a", True)], {}, BodyTooLarge),
        ([], {"content_length": "11"}, BodyTooLarge),
        ([piece(b"0", True)], {}, RequestTimeout),
        ([], {}, RequestTimeout),
        ([GONE], {}, ClientGone),
        ([piece(b"0", True), GONE], {}, ClientGone),
        ([], {"content_encoding": "gzip"}, UnsupportedMedia),
        ([], {"content_type": "text/plain"}, UnsupportedMedia),
    ],
)
async def test_a_body_that_cannot_be_had(messages, headers, error):
    with pytest.raises(error):
        await Client(*messages, **headers).incoming.body()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content_type": "application/json"},
        {"content_type": "Application/JSON; charset=utf-8"},
        {"content_type": "application/vnd.api+json"},
        {"content_type": ""},
        {"content_encoding": "identity"},
        {"content_encoding": ""},
    ],
)
async def test_a_body_that_can(headers):
    assert await Client(piece(b"{}"), **headers).incoming.body() == b"{}"


@pytest.mark.parametrize(
    ("headers", "credential"),
    [
        ({}, None),
        ({"authorization": "Bearer tg_a"}, "tg_a"),
        ({"authorization": "bearer   tg_a "}, "tg_a"),
        ({"authorization": "tg_a"}, "tg_a"),
        ({"x_api_key": " tg_a "}, "tg_a"),
        ({"authorization": "Bearer tg_a", "x_api_key": "tg_b"}, "tg_a"),
        ({"authorization": "", "x_api_key": "tg_b"}, "tg_b"),
        ({"authorization": "Bearer ", "x_api_key": "tg_b"}, "tg_b"),
        ({"authorization": "Basic dTpw"}, "Basic dTpw"),
        ({"authorization": "Bearer"}, None),
        ({"x_api_key": ""}, None),
    ],
)
def test_a_key_is_found_where_clients_put_it(headers, credential):
    assert Client(**headers).incoming.credential == credential


def test_a_header_is_read_as_text_and_bounded():
    head = Client(a="größer", b="  ", c="x" * 100).incoming.head
    assert head.text(b"a", 100) == "größer" and head.text(b"b", 100) is None
    assert head.text(b"c", 10) == "x" * 10 and head.text(b"d", 10) is None
    assert Client(a="\udcff").incoming.head.text(b"a", 10) == "\ufffd"


async def test_an_answer_is_whole():
    client = Client()
    await client.incoming.answer(201, b"{}", [(b"x-a", b"b")])
    start, body = client.heard
    assert start["status"] == 201 and (body["body"], body["more_body"]) == (b"{}", False)
    expected = [(b"content-type", b"application/json"), (b"x-a", b"b"), (b"content-length", b"2"), (b"vary", b"origin")]
    assert start["headers"] == expected


async def test_who_still_sends_is_heard_out_after_the_answer_and_before_its_end():
    client = Client(piece(b"01", True), piece(b"23"), content_length="4")
    await client.incoming.answer(401, b"{}")
    start, body, end = client.heard
    assert (b"connection", b"close") in start["headers"]
    assert (body["body"], body["more_body"], end["body"], end["more_body"]) == (b"{}", True, b"", False)
    assert not client.left


@pytest.mark.parametrize("headers", [{"content_length": "4"}, {"transfer_encoding": "chunked"}])
async def test_but_not_for_ever(headers, monkeypatch):
    monkeypatch.setattr("tidegate.api.incoming.LINGER_S", 0.05)
    client = Client(piece(b"01", True), **headers)
    began = now_s()
    await client.incoming.answer(401, b"{}")
    assert client.heard[-1]["more_body"] is False and now_s() - began < 2


async def test_whose_body_was_read_may_go_on_with_the_connection():
    client = Client(piece(b"0123"), content_length="4")
    await client.incoming.body()
    await client.incoming.answer(200, b"{}")
    assert (b"connection", b"close") not in client.heard[0]["headers"] and len(client.heard) == 2


async def test_who_has_sent_it_all_is_not_waited_for():
    client = Client(piece(b"0123456789a"), transfer_encoding="chunked")
    with pytest.raises(BodyTooLarge):
        await client.incoming.body()
    await client.incoming.answer(413, b"{}")
    assert len(client.heard) == 2 and (b"connection", b"close") not in client.heard[0]["headers"]


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (Unauthenticated("no"), (b"www-authenticate", b"Bearer")),
        (MethodNotAllowed("no", allowed="GET, POST"), (b"allow", b"GET, POST")),
        (ShuttingDown("no", retry_after_s=0), (b"retry-after", b"1")),
        (UpstreamLimited("no", retry_after_s=1.0), (b"retry-after", b"1")),
        (UpstreamLimited("no", retry_after_s=7.01), (b"retry-after", b"8")),
    ],
)
def test_an_error_says_in_its_head_what_a_program_can_do(error, header):
    assert list(advice(error)) == [header]
    assert not advice(BadRequest("no"))


async def test_a_problem_is_told_in_the_dialect():
    client = Client()
    await client.incoming.problem(BadRequest("n: between 1 and 128", param="n"), Chat(), [(b"x-a", b"b")])
    start, body = client.heard
    assert start["status"] == 400 and (b"x-a", b"b") in start["headers"]
    assert b'"param":"n"' in body["body"]
