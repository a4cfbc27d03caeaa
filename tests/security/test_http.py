"""Requests within requests, and clients that take their time: HTTP as somebody would bend it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.api.listening import Told, serving
from tests.api.rawclient import Raw, connected
from tidegate import api
from tidegate.core.values import Duration, Size

CONFIG = api.Config(
    port=0,
    max_head=Size(4096),
    max_body=Size(10_000),
    head_timeout=Duration(0.2),
    body_timeout=Duration(0.2),
    send_timeout=Duration(0.2),
)
HEAD = b"POST /first HTTP/1.1\r\nhost: a\r\n"
INNER = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"

SMUGGLED = {
    "CL and TE": HEAD + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "CL twice": HEAD + b"content-length: 0\r\ncontent-length: 36\r\n\r\n",
    "CL twice alike": HEAD + b"content-length: 0\r\ncontent-length: 0\r\n\r\n",
    "CL as a list": HEAD + b"content-length: 0, 36\r\n\r\n",
    "CL with a sign": HEAD + b"content-length: +0\r\n\r\n",
    "CL in hex": HEAD + b"content-length: 0x0\r\n\r\n",
    "CL with a blank": HEAD + b"content-length: 0 0\r\n\r\n",
    "TE twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "TE disguised": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE with a control": HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "TE before a colon": HEAD + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "TE folded": HEAD + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a header folded": HEAD + b"x-a: b\r\n content-length: 36\r\n\r\n",
    "a bare LF": HEAD.replace(b"\r\n", b"\n") + b"content-length: 0\n\n",
    "a bare CR": HEAD + b"x-a: b\rcontent-length: 36\r\n\r\n",
    "NUL": HEAD + b"x-a: \0\r\n\r\n",
    "a chunk with a sign": CHUNKED + b"+0\r\n\r\n",
    "a chunk in 0x": CHUNKED + b"0x0\r\n\r\n",
    "a chunk beyond 64 bits": CHUNKED + b"10000000000000000\r\n\r\n",
    "a chunk without its end": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "a chunk ended by LF": CHUNKED + b"1\na\n0\n\n",
    "a negative chunk": CHUNKED + b"-1\r\n\r\n",
    "two hosts": HEAD + b"host: b\r\ncontent-length: 0\r\n\r\n",
}


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def raw(told: Told) -> AsyncIterator[Raw]:
    async with serving(told, CONFIG) as url, connected(url) as raw:
        yield raw


@pytest.mark.parametrize("case", SMUGGLED)
async def test_request_smuggling(told: Told, raw: Raw, case: str):
    """What two readers could read in two ways is refused, and what stands behind it is never heard."""
    raw.say(SMUGGLED[case], INNER)
    answer = await raw.answer()
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert answer.headers["connection"] == "close"
    assert b"smuggled" not in await raw.rest()
    assert told.begun <= 1, "the first may have begun, when what is wrong stands in its body"


async def test_request_smuggling_by_a_trailer(told: Told, raw: Raw):
    raw.say(CHUNKED, b"0\r\nhost: evil\r\nauthorization: x\r\n\r\n")
    assert (await raw.answer()).json["headers"] == ["host", "transfer-encoding"]
    raw.say(CHUNKED, b"0\r\ncontent-length: 36\r\n\r\n", INNER)
    assert b"smuggled" not in await raw.rest()


def posted(path: str, *headers: str, body: bytes = b"{}") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: a", *headers, f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_request_confusion_by_a_head_that_was_said_before(raw: Raw):
    """What is not parsed again means what it meant itself, and not what came in the same breath."""
    first, second = posted("/first", "x-first: 1"), posted("/second", "x-second: 1")
    for said in (first + second, first, second, first, second + first, second, first + first, second):
        raw.say(said)
        for one in (said[at : at + 12] for at in range(len(said)) if said.startswith(b"POST ", at)):
            told = (await raw.answer()).json
            name = "first" if b"first"[:4] in one else "second"
            assert told["path"] == f"/{name}" and f"x-{name}" in told["headers"], (said, told)


async def test_request_confusion_by_half_a_request_before_one_that_was_said_before(raw: Raw):
    """What has begun goes on, whatever comes then looks like."""
    said = posted("/first")
    for sent in (said, said + b"P"):
        raw.say(sent)
        assert (await raw.answer()).json["path"] == "/first"
    raw.say(said)
    assert (await raw.answer()).status == 400


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /" + b"a" * 5000, 431, "headers_too_large"),
        (HEAD + b"x-a: " + b"a" * 1_000_000, 431, "headers_too_large"),
        (HEAD + b"a: b\r\n" * 5000, 431, "headers_too_large"),
        (CHUNKED + b"1;" + b"a" * 1_000_000, 431, "headers_too_large"),
        (CHUNKED + b"0\r\n" + b"a: b\r\n" * 5000, 431, "headers_too_large"),
    ],
    ids=["a line", "a header", "many headers", "a chunk's extension", "trailers"],
)
async def test_a_head_has_a_bound_wherever_it_stands(raw: Raw, sent: bytes, status: int, code: str):
    raw.say(sent)
    answer = await raw.answer()
    assert (answer.status, answer.error["code"]) == (status, code)


async def test_slowloris_in_the_head(told: Told, raw: Raw):
    answering = asyncio.ensure_future(raw.answer())
    for byte in HEAD:
        raw.say(bytes([byte]))
        await asyncio.sleep(0.02)
        if answering.done():
            break
    answer = await answering
    assert (answer.status, answer.error["code"]) == (408, "request_timeout")
    assert told.begun == 0


async def test_slowloris_in_the_body(build_house):
    house = await build_house(
        "api: {body_timeout: 200ms}\nproviders: {main: {type: scripted}}\n"
        "routes: {fast: {targets: [{provider: main, model: m}]}}\n"
    )
    async with house.serve() as url, connected(url) as raw:
        raw.ask(b"{", f"authorization: Bearer {house.key}", "content-length: 1000")
        answer = asyncio.ensure_future(raw.answer())
        while not answer.done():
            raw.say(b" ")
            await asyncio.sleep(0.02)
        assert (answer.result().status, answer.result().error["code"]) == (408, "request_timeout")
    assert not house.provider("main").requests


def test_slow_readers() -> None:
    """In tests/api/test_crowd.py: test_who_does_not_read_counts_as_gone."""
