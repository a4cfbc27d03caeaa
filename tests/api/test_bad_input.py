"""What is sent that should not be? Over real sockets: the status, words that help, and a connection as it was told."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, redirect_stderr
from typing import Any

import pytest
import pytest_asyncio

from tests.api.rawclient import Answer, Raw, connected
from tests.clock import now_s
from tests.house import TWO_PROVIDERS, House, lived_in
from tidegate.core.ports import Closed

CONFIG = (
    TWO_PROVIDERS.replace("{calls: false}", "{calls: true, format: json}")
    + "api: {max_body: 64KiB, max_head: 8KiB, head_timeout: 700ms, body_timeout: 700ms}\n"
)
MESSAGES: Any = [{"role": "user", "content": "hi"}]
GOOD = json.dumps({"model": "fast", "messages": MESSAGES}).encode()


pytestmark = pytest.mark.asyncio(loop_scope="module")


class Door:
    """A connection to a house that is served, and a key."""

    def __init__(self, house: House, url: str, raw: Raw) -> None:
        self.house = house
        self.url = url
        self.raw = raw
        self.key = f"authorization: Bearer {house.key}"

    def ask(self, body: bytes = GOOD, *headers: str, **where: str) -> None:
        self.raw.ask(body, self.key, *headers, **where)

    async def said(self, *parts: bytes) -> Answer:
        self.raw.say(*parts)
        return await self.raw.answer()

    async def row(self, answer: Answer) -> Closed | None:
        return await self.house.app.world.ledger.find(answer.headers["x-tidegate-request-id"])

    async def stays_open(self) -> None:
        self.ask()
        assert (await self.raw.answer()).status == 200

    async def is_closed(self, answer: Answer) -> None:
        assert answer.headers["connection"] == "close"
        assert await self.raw.rest() == b""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[House, str]]:
    """One for all tests here, for they must not harm each other. What it writes has no trace, no key and no crash."""
    log = io.StringIO()
    async with AsyncExitStack() as stack:
        with redirect_stderr(log):
            house = await stack.enter_async_context(lived_in(CONFIG, tmp_path_factory.mktemp("house")))
        yield house, await stack.enter_async_context(house.serve())
    written = log.getvalue()
    assert '"event":"call"' in written
    assert not any(word in written for word in ("Traceback", "crash", "tg_"))


@pytest_asyncio.fixture(loop_scope="module")
async def door(served: tuple[House, str]) -> AsyncIterator[Door]:
    house, url = served
    async with connected(url) as raw:
        yield Door(house, url, raw)


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "fast", "messages": MESSAGES, **fields}).encode()


def with_text(text: bytes) -> bytes:
    """A body with these very bytes for what is said."""
    return GOOD.replace(b'"hi"', b'"%b"' % text)


# --- the body: what it says

WRONG_BODIES = {
    "empty": (b"", None, "not JSON"),
    "no JSON": (b"hello", None, "not JSON"),
    "cut off": (GOOD[:-5], None, "not JSON"),
    "two values": (GOOD + GOOD, None, "not JSON"),
    "zipped, but not said so": (gzip.compress(GOOD), None, "UTF-8"),
    "a list": (b"[]", None, "object"),
    "null": (b"null", None, "object"),
    "no model": (json.dumps({"messages": MESSAGES}).encode(), "model", "model"),
    "a model that is no text": (body(model=5), "model", "model: Expected `str`"),
    "no messages": (b'{"model":"fast"}', "messages", "at least one"),
    "empty messages": (body(messages=[]), "messages", "at least one"),
    "messages that are text": (body(messages="hi"), "messages", "Expected `array"),
    "a message that is text": (body(messages=["hi"]), "messages[0]", "Expected `object"),
    "a message of nobody": (body(messages=[*MESSAGES, {"content": "hi"}]), "messages[1].role", "role"),
    "content that is a number": (body(messages=[{"role": "user", "content": 5}]), "messages[0].content", "got `int`"),
    "stream: text": (body(stream="yes"), "stream", "bool"),
    "n: text": (body(n="3"), "n", "int"),
    "n: none": (body(n=0), "n", "between 1 and 128"),
    "n: many": (body(n=10**30), "n", ""),
    "temperature: text": (body(temperature="hot"), "temperature", "float"),
    "tools: an object": (body(tools={"name": "f"}), "tools", "array"),
    "stream_options: a number": (body(stream=True, stream_options=1), "stream_options", "object"),
    "a key twice": (GOOD[:-1] + b',"model":"spare"}', "model", "twice"),
    "a key twice, once escaped": (GOOD[:-1] + b',"m\\u006fdel":"spare"}', "model", "twice"),
    "NaN": (GOOD[:-1] + b',"temperature":NaN}', None, "not JSON"),
    "Infinity": (GOOD[:-1] + b',"logit_bias":{"5":-Infinity}}', None, "not JSON"),
    "a comment": (b"// hi\n" + GOOD, None, "not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, None, "not JSON"),
    "bad UTF-8": (with_text(b"\xff"), None, "UTF-8"),
    "overlong UTF-8": (with_text(b"\xc0\xaf"), None, "UTF-8"),
    "a surrogate in UTF-8": (with_text(b"\xed\xa0\x80"), None, "UTF-8"),
    "half a surrogate pair": (with_text(b"\\ud800"), None, "not JSON"),
    "bad UTF-8 where nobody looks": (GOOD[:-1] + b',"x":"\xff"}', None, "UTF-8"),
    "a line break in a text": (with_text(b"a\nb"), None, "not JSON"),
    "10,000 deep in a message": (
        b'{"model":"fast","messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "messages[0]",
        "Expected `object",
    ),
    "10,000 deep where nobody looks": (GOOD[:-1] + b',"x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001, None, "deep"),
    "10,000 deep where anything goes": (
        GOOD[:-1] + b',"metadata":{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
        None,
        "deep",
    ),
}


@pytest.mark.parametrize("case", WRONG_BODIES)
async def test_a_body_that_cannot_be_understood_is_refused_with_where_and_why(door, case):
    sent, param, words = WRONG_BODIES[case]
    door.ask(sent)
    answer = await door.raw.answer()
    assert answer.status == 400
    assert answer.error["code"] == "invalid_request" and answer.error["param"] == param
    assert words in answer.error["message"]
    await door.stays_open()


@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        (b"hello", 400, "invalid_request"),
        (body(n=0), 400, "invalid_request"),
        (body(model="x"), 404, "model_not_found"),
    ],
)
async def test_such_a_call_has_its_row(door, sent, status, error):
    door.ask(sent)
    row = await door.row(await door.raw.answer())
    assert (row.outcome, row.status, row.error, row.cost_nusd) == ("refused", status, error, 0)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("fsat", "did you mean 'fast'?"),
        ("xyz", "there are: fast"),
        ("", "there are: fast"),
        ("main/", "no model 'main/'"),
        ("main/" + "m" * 10_000, "no model 'main/mmm"),
    ],
)
async def test_an_unknown_model_is_told_the_nearest(door, model, words):
    door.ask(body(model=model))
    answer = await door.raw.answer()
    assert answer.status == 404 and (answer.error["code"], answer.error["param"]) == ("model_not_found", "model")
    assert words in answer.error["message"] and len(answer.body) < 1_000
    await door.stays_open()


@pytest.mark.parametrize("name", ["m\r\nx-injected: 1", "m\n", "m\0", "größer", "\U0001f30a"])
async def test_a_model_that_a_header_could_not_carry_does_no_harm_there(door, name):
    door.ask(body(model=f"main/{name}"))
    answer = await door.raw.answer()
    assert answer.status == 200 and answer.json["model"] == name
    assert "x-injected" not in answer.headers and answer.headers["x-tidegate-route"].startswith("main/")
    await door.stays_open()


# --- the body: how it comes


async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(door):
    door.ask(b"", "content-length: 65537")
    answer = await door.raw.answer()
    assert answer.status == 413 and answer.error["code"] == "request_too_large"
    assert "larger than 65536 bytes (api.max_body)" in answer.error["message"]
    door.raw.half_close()
    await door.is_closed(answer)


async def test_who_sends_a_large_body_to_its_end_still_hears_that_it_is_too_large(door):
    """Closed at once, the connection would be reset under the sender and the answer lost."""
    large = bytes(20_000_000)
    door.ask(large)
    await door.raw.writer.drain()
    answer = await door.raw.answer()
    assert answer.status == 413
    await door.is_closed(answer)


async def test_a_chunked_body_is_refused_when_it_has_become_too_large(door):
    door.ask(b"", "transfer-encoding: chunked")
    for _ in range(17):
        door.raw.say(b"1000\r\n", b" " * 0x1000, b"\r\n")
    answer = await door.raw.answer()
    assert answer.status == 413 and answer.error["code"] == "request_too_large"
    door.raw.half_close()
    await door.is_closed(answer)


async def test_a_body_of_just_the_allowed_size_is_taken(door):
    door.ask(GOOD + b" " * (65_536 - len(GOOD)))
    assert (await door.raw.answer()).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "zstd", "x" * 1_000])
async def test_a_compressed_body_is_refused(door, encoding):
    door.ask(gzip.compress(GOOD), f"content-encoding: {encoding}")
    answer = await door.raw.answer()
    assert answer.status == 415 and answer.error["code"] == "unsupported_media_type"
    assert "compressed" in answer.error["message"] and "send it plain" in answer.error["message"]
    await door.is_closed(answer)


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "application/xml"]
)
async def test_a_body_of_another_kind_is_told_what_to_send(door, kind):
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{door.key}\r\ncontent-type: {kind}\r\n"
    answer = await door.said(head.encode(), b"content-length: 3\r\n\r\na=b")
    assert answer.status == 415
    assert "'Content-Type: application/json'" in answer.error["message"] and kind[:10] in answer.error["message"]
    await door.is_closed(answer)


async def test_a_body_without_a_kind_is_taken_for_json(door):
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{door.key}\r\ncontent-length: {len(GOOD)}\r\n\r\n"
    assert (await door.said(head.encode(), GOOD)).status == 200


async def test_a_body_that_does_not_come_is_not_waited_for(door):
    door.ask(GOOD[:10], f"content-length: {len(GOOD)}")
    answer = await door.raw.answer()
    assert answer.status == 408 and answer.error["code"] == "request_timeout"
    assert "within 0.7 s (api.body_timeout)" in answer.error["message"]
    door.raw.half_close()
    await door.is_closed(answer)
    row = await door.row(answer)
    assert (row.outcome, row.status) == ("refused", 408)


async def test_a_client_that_leaves_within_its_body_is_no_failure_of_ours(door):
    before = len(await door.house.rows())
    door.ask(GOOD[:10], f"content-length: {len(GOOD)}", "x-tidegate-user: leaver")
    await asyncio.sleep(0.02)
    door.raw.leave()
    async with asyncio.timeout(30):
        while len(rows := await door.house.rows()) == before:
            await asyncio.sleep(0.005)
    assert [(row.outcome, row.status, row.user) for row in rows[before:]] == [("client_left", 499, "leaver")]


# --- who asks, and for what


@pytest.mark.parametrize(
    "header",
    [
        "x-nothing: 1",
        "authorization: Bearer tg_test_wrong",
        "authorization: Bearer",
        "authorization: Basic dTpw",
        "authorization: Bearer " + "x" * 5_000,
        "authorization: Bearer tg_\xe9\xff_\x80",
        "x-api-key: tg_live_0_0_0",
    ],
)
async def test_without_a_good_key_nothing_is_read_and_nobody_asked(door, header):
    door.raw.ask(GOOD, header)
    answer = await door.raw.answer()
    assert answer.status == 401 and answer.error["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer" and "tidegate keys create" in answer.error["message"]
    assert "x-tidegate-target" not in answer.headers and await door.row(answer) is None
    await door.is_closed(answer)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/chat/completions/", "/V1/models", "/v1/../health", "//health", "/%00"]
)
async def test_a_wrong_path_is_told_where_calls_go(door, path):
    door.ask(path=path)
    answer = await door.raw.answer()
    assert answer.status == 404 and answer.error["code"] == "not_found"
    assert "/v1/chat/completions" in answer.error["message"]
    await door.is_closed(answer)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/completions", "POST"),
        ("DELETE", "/v1/models/fast", "GET"),
        ("OPTIONS", "/v1/models", "GET"),
        ("POST", "/health", "GET"),
        ("TRACE", "/metrics", "GET"),
        ("PATCH", "/admin/keys", "GET, POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_one(door, method, path, allow):
    door.raw.ask(b"", door.key, method=method, path=path)
    answer = await door.raw.answer()
    assert answer.status == 405 and answer.error["code"] == "method_not_allowed"
    assert answer.headers["allow"] == allow and allow in answer.error["message"]
    await door.stays_open()


# --- the head

LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"

BROKEN_HEADS = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": bytes.fromhex("16030100ba010000b60303") + bytes(100),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9": b"GET /health HTTP/9.1\r\nhost: a\r\n\r\n",
    "a method nobody knows": b"BREW /pot HTTP/1.1\r\nhost: a\r\n\r\n",
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nhost: a\r\n\r\n",
    "a path that is none": b"GET health HTTP/1.1\r\nhost: a\r\n\r\n",
    "a path of other letters": "GET /grüße HTTP/1.1\r\nhost: a\r\n\r\n".encode(),
    "CR in a header": LINE + b"host: a\r\nx-a: b\rx-injected: c\r\n\r\n",
    "LF in a header's name": LINE + b"host: a\r\nx-a\n: b\r\n\r\n",
    "NUL in a header": LINE + b"host: a\r\nx-a: b\0c\r\n\r\n",
    "a folded header": LINE + b"host: a\r\nx-a: b\r\n c\r\n\r\n",
    "a space before the colon": LINE + b"host: a\r\ncontent-length : 3\r\n\r\nabc",
    "a header without a colon": LINE + b"host: a\r\nnonsense\r\n\r\n",
    "two content-lengths": LINE + b"host: a\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde",
    "two content-lengths alike": LINE + b"host: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    "a list of content-lengths": LINE + b"host: a\r\ncontent-length: 3, 3\r\n\r\nabc",
    "a negative content-length": LINE + b"host: a\r\ncontent-length: -3\r\n\r\nabc",
    "a content-length without end": LINE + b"host: a\r\ncontent-length: " + b"9" * 40 + b"\r\n\r\n",
    "content-length and chunks": LINE + b"host: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and content-length": LINE + b"host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
    "an unknown transfer-encoding": LINE + b"host: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, but not last": LINE + b"host: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "two hosts": LINE + b"host: a\r\nhost: b\r\n\r\n",
    "no host": LINE + b"x-a: b\r\n\r\n",
}


@pytest.mark.parametrize("case", BROKEN_HEADS)
async def test_a_head_that_is_no_http_is_refused_and_the_connection_closed(door, case):
    answer = await door.said(BROKEN_HEADS[case])
    assert answer.status == 400 and answer.error["code"] == "invalid_request"
    assert "Host" in answer.error["message"] if "host" in case else "RFC 9112" in answer.error["message"]
    await door.is_closed(answer)


async def test_a_client_of_http_1_0_needs_no_host(door):
    answer = await door.said(b"GET /health HTTP/1.0\r\n\r\n")
    assert answer.status == 200
    await door.is_closed(answer)


async def test_an_absolute_address_is_understood(door):
    answer = await door.said(b"GET http://elsewhere/health?x=1 HTTP/1.1\r\nhost: a\r\n\r\n")
    assert answer.status == 200 and answer.json["status"] == "healthy"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: a\r\nx-a: " + b"x" * 10_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: a\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
        b"GET /health HTTP/1.1\r\nhost: a\r\nx-a: " + b"x" * 1_000_000,
        b"x" * 1_000_000,
    ],
    ids=["a long address", "a long header", "many headers", "a header without an end", "a word without an end"],
)
async def test_a_head_without_measure_is_refused(door, head):
    answer = await door.said(head)
    if head.startswith(b"x"):
        assert answer.status == 400
    else:
        assert answer.status == 431 and answer.error["code"] == "headers_too_large"
        assert "larger than 8192 bytes (api.max_head)" in answer.error["message"]
    await door.is_closed(answer)


async def test_a_head_of_nearly_the_allowed_size_is_taken_however_it_is_cut(door):
    head = b"GET /health HTTP/1.1\r\nhost: a\r\nx-a: " + b"x" * 8_000 + b"\r\n\r\n"
    for size in (len(head), 1_000, 7):
        for at in range(0, len(head), size):
            door.raw.say(head[at : at + size])
            await asyncio.sleep(0)
        assert (await door.raw.answer()).status == 200


async def test_a_head_that_does_not_come_is_not_waited_for(door):
    began = now_s()
    answer = await door.said(b"GET /health HTTP/1.1\r\nhost: ")
    assert answer.status == 408 and answer.error["code"] == "request_timeout"
    assert "within 0.7 s (api.head_timeout)" in answer.error["message"]
    await door.is_closed(answer)
    assert 0.6 < now_s() - began < 3


async def test_a_head_that_drips_is_not_waited_for_either(door):
    async def drip() -> None:
        door.raw.say(b"GET /health HTTP/1.1\r\nhost: a\r\n")
        while True:
            door.raw.say(b"a: b\r\n")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    try:
        assert (await door.raw.answer()).status == 408
    finally:
        dripping.cancel()


async def test_the_second_head_of_a_connection_has_its_time_too(door):
    await door.stays_open()
    await asyncio.sleep(0.8)  # longer than a head may take, and nothing is begun
    await door.stays_open()
    assert (await door.said(b"GET /hea")).status == 408


async def test_a_connection_that_never_says_a_word_is_closed_without_one(door):
    assert await door.raw.rest() == b""


async def test_nothing_that_comes_after_a_body_counts_as_a_header(door):
    trailers = b"0\r\n%b\r\nx-tidegate-user: mallory\r\n\r\n" % door.key.encode()
    door.raw.ask(b"", "transfer-encoding: chunked")
    answer = await door.said(b"%x\r\n%b\r\n" % (len(GOOD), GOOD), trailers)
    assert answer.status == 401
    async with connected(door.url) as raw:
        raw.ask(b"", door.key, "transfer-encoding: chunked")
        raw.say(b"%x\r\n%b\r\n" % (len(GOOD), GOOD), trailers)
        answer = await raw.answer()
    assert answer.status == 200 and (await door.row(answer)).user is None


@pytest.mark.parametrize("endless", [b"a: b\r\n" * 5_000, b"a: " + b"b" * 1_000_000], ids=["many", "long"])
async def test_trailers_without_measure_are_refused(door, endless):
    door.ask(b"", "transfer-encoding: chunked")
    answer = await door.said(b"%x\r\n%b\r\n" % (len(GOOD), GOOD), b"0\r\n", endless)
    assert answer.status == 431
    await door.is_closed(answer)


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-1\r\n", b"5\r\nabcdefgh\r\n", b"5\nabcde\r\n", b"f" * 17 + b"\r\n"])
async def test_chunks_that_are_none_are_refused(door, chunk):
    door.ask(b"", "transfer-encoding: chunked")
    answer = await door.said(chunk)
    assert answer.status == 400 and "RFC 9112" in answer.error["message"]
    await door.is_closed(answer)


async def test_a_chunk_extension_without_an_end_is_refused(door):
    door.ask(b"", "transfer-encoding: chunked")
    answer = await door.said(b"5;a=" + b"b" * 1_000_000)
    assert answer.status == 431


# --- more than one thing at once


async def test_requests_that_are_sent_ahead_are_answered_in_order(door):
    for n in range(5):
        door.ask(body(messages=[{"role": "user", "content": f"number-{n}"}]))
    for n in range(5):
        answer = await door.raw.answer()
        assert answer.json["choices"][0]["message"]["content"].endswith(f"number-{n}")


async def test_what_is_wrong_behind_a_request_is_never_taken_for_its_answer(door):
    door.ask()
    door.raw.say(b"garbage\r\n\r\n")
    said = await door.raw.rest()
    assert said == b"" or said.startswith(b"HTTP/1.1 200")


async def test_an_upgrade_is_passed_over(door):
    """Java's client offers HTTP/2 with its first request."""
    door.ask(GOOD, "connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAEAAEAAAAIAAAABAAMAAABk")
    assert (await door.raw.answer()).status == 200
    await door.stays_open()


async def test_a_websocket_is_not_to_be_had(door):
    door.raw.ask(
        b"",
        door.key,
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        method="GET",
        path="/v1/realtime",
    )
    assert (await door.raw.answer()).status == 404


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(door):
    door.raw.ask(b"", door.key, "expect: 100-continue", f"content-length: {len(GOOD)}")
    assert (await door.raw.answer()).status == 100
    assert (await door.said(GOOD)).status == 200


async def test_or_that_it_need_not(door):
    door.raw.ask(b"", door.key, "expect: 100-continue", "content-length: 1000000")
    answer = await door.raw.answer()
    assert answer.status == 413
    door.raw.half_close()
    await door.is_closed(answer)


async def test_no_answer_to_head_has_a_body(door):
    door.raw.ask(b"", method="HEAD", path="/nothing")
    assert (await door.raw.answer(head=True)).status == 404
    door.raw.ask(b"", method="HEAD", path="/health")
    assert (await door.raw.answer(head=True)).status == 200
    await door.stays_open()
