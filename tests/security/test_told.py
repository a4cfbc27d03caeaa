"""What is told to clients and written down: no key, no prompt, and nothing that a terminal or a parser would obey."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.house import House
from tests.rawserver import Server, always, serving
from tidegate.telemetry import logs
from tidegate.telemetry.logs import Log

KEY = "sk-provider-key-that-nobody-sees"
CONFIG = """
providers: {{main: {{type: openai, base_url: "{url}/v1", keys: [{key}]}}}}
routes: {{fast: {{targets: [{{provider: main, model: m}}]}}}}
"""
COMPLAINT = b'{"error":{"message":"bad key %b, see %b","type":"invalid_request_error","code":"c"}}' % (
    KEY.encode(),
    KEY.encode(),
)
CHUNK = b'{"id":"1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"hi"}}]}'


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as made:
        yield made


def whole(status: int, body: bytes, kind: str = "application/json") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def stream(*data: bytes) -> bytes:
    return whole(200, b"".join(b"data: %b\n\n" % one for one in data), "text/event-stream")


@pytest.mark.parametrize(
    "answer",
    [
        *(whole(status, COMPLAINT) for status in (400, 401, 403, 404, 422, 429, 500, 503)),
        whole(200, COMPLAINT),
        stream(COMPLAINT),
        stream(CHUNK, COMPLAINT),
        whole(500, KEY.encode(), "text/plain"),
        whole(400, b"<html>" + KEY.encode(), "text/html"),
    ],
    ids=[
        *("400", "401", "403", "404", "422", "429", "500", "503", "an error as a good answer"),
        *("an error as a stream", "an error in the middle of a stream", "text", "a page"),
    ],
)
async def test_errors_of_providers_are_cleaned_of_their_keys(
    build_house: Any, server: Server, capfd: pytest.CaptureFixture[str], answer: bytes
):
    server.script = always(answer)
    house: House = await build_house(CONFIG.format(url=server.url, key=KEY))
    reply = await house.ask(stream=b"event-stream" in answer)
    said = json.dumps([reply.headers, repr(reply.row)]).encode() + reply.body
    assert server.peers and KEY.encode() not in said
    assert (await house.get(f"/v1/requests/{reply.id}")).status == 200
    assert KEY.encode() not in (await house.get(f"/v1/requests/{reply.id}")).body
    assert KEY not in "".join(capfd.readouterr())


async def test_the_log_holds_no_prompt_no_answer_and_no_key(build_house: Any, capfd: pytest.CaptureFixture[str]):
    house: House = await build_house(
        "logs: {format: json}\nproviders: {main: {type: scripted}}\n"
        "routes: {fast: {targets: [{provider: main, model: m}]}}\n"
    )
    house.provider("main").says("the planted answer")
    for path in ("/v1/chat/completions", "/v1/completions"):
        await house.ask("the planted prompt", path=path)
    await house.ask("the planted prompt", key="tg_live_planted_key_000000")
    await house.ask("the planted prompt", route="the planted model")
    await house.ask(path="/api/chat", body=b'{"message": "the planted prompt"}')
    await house.ask(path="/admin/keys", body=b'{"name": "ci"}')
    house.provider("main").says(status=500, body="the planted error")
    await house.ask("the planted prompt")
    house.app.world.events.notice("last", {})
    said = ""
    while '"last"' not in said:
        await asyncio.sleep(0.01)
        said += capfd.readouterr().err
    assert said.count('"event":"call"') >= 5
    assert "planted" not in said and house.key not in said and "tg_live" not in said


HOSTILE = [
    'a\n{"event":"call","key":"forged"}',
    "a\r\nat=now event=forged",
    "a\x1b[2J\x1b]0;title\x07",
    "a\x9b31m\x85next",
    "a\u2028line\u2029paragraph",
    "a\u202egnp.exe\u2066",
    "a\u200b\ufeff\U000e0041",
    "a\x00\x7f",
    'a" key="forged',
]


@pytest.mark.parametrize("format", ["json", "human"])
@pytest.mark.parametrize("text", HOSTILE)
def test_log_injection(format: Any, text: str):
    """Whatever a client says, a line stays one line, and a terminal has nothing in it to obey."""
    out = io.StringIO()
    log = Log(logs.Config(format=format), out)
    log.notice("crash", {"path": text, "error": repr(text), "deep": {"inner": [text]}})
    log.close()
    (line,) = out.getvalue().split("\n")[:-1]
    assert line.isprintable()
    if format == "json":
        assert json.loads(line)["path"] == text


async def test_header_injection_by_the_name_of_a_model(house: House):
    """Names that clients choose come back in headers of ours."""
    for name in ("main/a\r\nset-cookie: x=1", "main/\u00fc\u2028", "main/" + "a" * 10_000, "main/a\0b"):
        reply = await house.ask(route=name)
        for value in reply.headers.values():
            assert value.isascii() and value.isprintable() and len(value) < 4096
        assert "set-cookie" not in reply.headers


async def test_event_injection_by_what_a_model_says(house: House):
    """Lines in an answer are text in a JSON string: they cannot end an event and begin another."""
    for path in ("/v1/chat/completions", "/v1/messages"):
        house.provider("main").says(['hi\n\ndata: {"error": {"message": "forged"}}\n\ndata: [DONE]\n\n\u2028\u0085'])
        reply = await house.ask(path=path, max_tokens=100)
        assert b"\ndata: [DONE]" not in reply.body.removesuffix(b"data: [DONE]\n\n")
        assert reply.status == 200 and reply.error is None and b"forged" in reply.body


async def test_an_error_of_ours_tells_nothing_of_the_inside(house: House, monkeypatch: pytest.MonkeyPatch):
    def breaks(*_: Any) -> None:
        raise RuntimeError("/etc/secret is at fault, at line 7")

    monkeypatch.setattr(type(house.app.gateway.routes), "match", breaks)
    reply = await house.ask()
    assert (reply.status, reply.error.code) == (500, "internal_error")
    for word in (b"secret", b"Traceback", b"RuntimeError", b".py", b"line"):
        assert word not in reply.body
