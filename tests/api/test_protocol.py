"""Connections, by the byte: what is bounded, what is dropped, and that an answer is never lost or mistaken."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.listening import Told, serving
from tests.api.rawclient import Raw, connected
from tests.house import House, until
from tidegate import api
from tidegate.core.ports import Closed
from tidegate.core.values import Duration, Size

CONFIG = api.Config(port=0, max_head=Size(4096), head_timeout=Duration(0.2))


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def raw(told: Told) -> AsyncIterator[Raw]:
    async with serving(told, CONFIG) as url, connected(url) as raw:
        yield raw


async def test_one_connection_carries_many_requests(raw):
    for n in range(3):
        raw.ask(b"n" * n, path=f"/{n}")
        answer = await raw.answer()
        assert answer.json["path"] == f"/{n}" and answer.json["body"] == "n" * n


async def test_requests_that_come_at_once_are_answered_one_after_the_other(raw):
    for n in range(20):
        raw.ask(b"", path=f"/{n}")
    assert [(await raw.answer()).json["path"] for _ in range(20)] == [f"/{n}" for n in range(20)]


async def test_what_comes_after_the_headers_is_none_of_them(raw):
    raw.ask(b"", "transfer-encoding: chunked")
    raw.say(b"2\r\nhi\r\n0\r\nauthorization: Bearer x\r\n\r\n")
    answer = await raw.answer()
    assert answer.json["body"] == "hi" and answer.json["headers"] == ["host", "content-type", "transfer-encoding"]
    raw.ask(b"", "x-a: b")
    assert "x-a" in (await raw.answer()).json["headers"]


@pytest.mark.parametrize("size", [1, 50, 10_000])
async def test_who_offers_another_protocol_is_heard_in_this_one(raw, size):
    """Java's client offers HTTP/2 with its first request, body and all."""
    raw.ask(b"hi", "connection: Upgrade, HTTP2-Settings", "UPGRADE: h2c", "http2-settings: AAEAAEAA")
    answer = await raw.answer()
    assert answer.json["body"] == "hi" and "upgrade" not in answer.json["headers"]
    raw.ask(b"x" * size, "x-about: Upgrade: the text")
    answer = await raw.answer()
    assert len(answer.json["body"]) == size and "x-about" in answer.json["headers"]


async def test_a_head_is_measured_to_the_byte(raw):
    line, host = len("/"), len("host: a\r\n")
    for size, status in ((4096, 200), (4097, 431)):
        padding = b"x" * (size - line - host - len("x: \r\n"))
        raw.say(b"GET / HTTP/1.1\r\nhost: a\r\nx: ", padding, b"\r\n\r\n")
        assert (await raw.answer()).status == status
    assert await raw.rest() == b""


async def test_a_body_is_not_measured_as_a_head(raw):
    raw.ask(b"x" * 100_000)
    assert len((await raw.answer()).json["body"]) == 100_000
    raw.ask(b"", "transfer-encoding: chunked")
    for _ in range(5_000):
        raw.say(b"1\r\nx\r\n")
    raw.say(b"0\r\n\r\n")
    assert len((await raw.answer()).json["body"]) == 5_000


async def test_a_refusal_reaches_who_still_sends(raw):
    """Closed at once, the connection would be reset under the sender and the answer lost."""
    raw.say(b"GET / HTTP/1.1\r\nhost: a\r\nx: ", b"x" * 8_000_000)
    await raw.writer.drain()
    answer = await raw.answer()
    assert answer.status == 431 and answer.error["code"] == "headers_too_large"


async def test_who_was_refused_is_not_heard_for_ever(raw):
    began = time.monotonic()
    raw.say(b"nonsense\r\n\r\n")
    assert (await raw.answer()).status == 400
    raw.ask()
    assert await raw.rest() == b""
    with pytest.raises(OSError):
        while time.monotonic() - began < 4:
            raw.say(b"x" * 1_000)
            await raw.writer.drain()
            await asyncio.sleep(0.02)


async def test_only_who_has_begun_is_told_that_it_is_slow(told):
    async with serving(told, CONFIG) as url, connected(url) as silent, connected(url) as slow:
        slow.say(b"GET / HT")
        assert (await slow.answer()).error["code"] == "request_timeout"
        assert await slow.rest() == b"" and await silent.rest() == b""


async def test_what_is_wrong_behind_a_request_is_not_its_answer(raw, told):
    raw.ask(path="/wait")
    await until(lambda: told.begun)
    raw.say(b"nonsense\r\n\r\n")
    said = await raw.rest()
    assert said.startswith(b"HTTP/1.1 200") and said.count(b"HTTP/1.1") == 1 and not said.endswith(b"0\r\n\r\n")
    await until(lambda: told.left == 1)


async def test_what_is_wrong_within_its_body_is(raw, told):
    raw.ask(b"", "transfer-encoding: chunked")
    await until(lambda: told.begun)
    raw.say(b"nonsense\r\n")
    assert (await raw.answer()).status == 400
    assert await raw.rest() == b""
    await until(lambda: told.left == 1)


async def test_half_a_request_does_not_end_the_answer_before_it(raw, told):
    raw.ask(path="/wait")
    await until(lambda: told.begun)
    raw.say(b"GET / HTTP/1.1\r\n")
    await asyncio.sleep(0.3)  # longer than a head may take
    told.go.set()
    assert (await raw.answer()).body == b"[]"
    raw.say(b"host: a\r\n\r\n")
    assert (await raw.answer()).json["path"] == "/"


async def test_who_leaves_is_missed_by_the_request_that_is_being_answered(told):
    """uvicorn tells the newest of a connection only."""
    async with serving(told, CONFIG) as url:
        async with connected(url) as raw:
            raw.ask(path="/wait")
            raw.ask(path="/wait")
            raw.ask(path="/wait")
            await until(lambda: told.begun)
            raw.leave()
            await until(lambda: told.left)
    assert (told.begun, told.left) == (1, 1)


def request(body: bytes, *headers: str) -> bytes:
    lines = ["POST /again HTTP/1.1", "host: tidegate", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


REPEATS = [
    b"one",
    b"",
    b"three" * 9,
    b"x" * 100,
    b"0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n",
]


@pytest.mark.parametrize("cut", [0, 1, 30, 60, 75])
async def test_what_is_said_again_means_the_same_however_it_comes(raw, cut):
    for body in REPEATS * 2:
        data = request(body)
        raw.say(data[:cut])
        if cut:
            await asyncio.sleep(0.002)
        raw.say(data[cut:])
        told = (await raw.answer()).json
        assert told["body"] == body.decode() and told["headers"] == ["host", "content-length"]


async def test_one_that_differs_between_those_that_do_not_is_seen_as_it_is(raw):
    for _ in range(4):
        for headers in ([], ["x-more: 1"], ["connection: keep-alive"]):
            raw.say(request(b"hi", *headers))
            told = (await raw.answer()).json
            assert told["headers"] == ["host", "content-length", *(one.partition(":")[0] for one in headers)]


async def test_two_that_come_at_once_are_not_taken_for_each_other_later(raw):
    one, other = request(b"hi", "x-one: 1"), request(b"hi", "x-other: 2")
    raw.say(one, other)
    for name in ("x-one", "x-other"):
        assert name in (await raw.answer()).json["headers"]
    for data, name in ((one, "x-one"), (other, "x-other")) * 2:
        raw.say(data)
        assert name in (await raw.answer()).json["headers"]


async def test_repeats_that_come_at_once_are_answered_in_order(raw):
    raw.say(request(b"first"))
    await raw.answer()
    raw.say(*(request(b"%d" % n) for n in range(10)))
    for n in range(10):
        raw.say(request(b"late"))
        assert (await raw.answer()).json["body"] == str(n)
    assert [(await raw.answer()).json["body"] for _ in range(10)] == ["late"] * 10


# --- the same, seen from a house


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_leaves_nothing_that_only_the_garbage_collector_finds(house, stream):
    house.provider("main").always("hello")
    body = json.dumps({"model": "fast", "messages": [{"role": "user", "content": "hi"}], "stream": stream}).encode()
    async with house.serve() as url, connected(url) as raw:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                raw.ask(body, f"authorization: Bearer {house.key}")
                assert (await raw.answer()).status == 200
            await until(lambda: not house.app.world.calls)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = {type(one).__name__ for one in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not left & {"Call", "Incoming", "Turn", "Listening", "Flight", "Reader", "Stream", "HttpExchange"}


async def test_who_sends_ahead_and_leaves_frees_what_was_begun(house):
    row = await left_after(house, 2, Raw.leave)
    assert row.outcome == "client_left"


async def test_who_says_that_it_will_say_no_more_has_left(house):
    row = await left_after(house, 1, Raw.half_close)
    assert row.outcome == "client_left"


async def left_after(house: House, requests: int, leave: Any) -> Closed:
    """The row of the request that was being answered when its client left."""
    house.clock.hold()
    house.provider("main").always("hello world", between=1)
    async with house.serve() as url, connected(url) as raw:
        for _ in range(requests):
            body = {"model": "fast", "messages": [{"role": "user", "content": "hi"}], "stream": True}
            raw.ask(json.dumps(body).encode(), f"authorization: Bearer {house.key}")
        await raw.reader.readuntil(b"hello")
        leave(raw)
        await until(lambda: not house.app.world.flights)
        (row,) = await house.rows()
    return row
