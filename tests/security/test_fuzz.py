"""Bytes of any kind and text of any script: answered or refused, never a crash, and text comes back as it was."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.listening import Told, serving
from tests.api.rawclient import connected
from tests.house import House, Reply
from tidegate import api
from tidegate.api.certificates import Certificates
from tidegate.core.values import Duration, Size

FUZZ = settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
CONFIG = api.Config(port=0, max_head=Size(4096), head_timeout=Duration(0.1))

GOOD = [
    b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /a?b=c HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
    b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nt: u\r\n\r\n",
    b"GET http://b/a HTTP/1.0\r\nconnection: keep-alive\r\nexpect: 100-continue\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
]
ODD = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"\xff",
    b":",
    b" ",
    b"\t",
    b"\x0b",
    b"%",
    b"content-length: 9\r\n",
    b"HTTP/1.1",
]


def greeting() -> bytes:
    """What a client of TLS says first."""
    out = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="a.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


@st.composite
def nearly(draw: st.DrawFn, good: list[bytes]) -> bytes:
    """Good bytes, some of them gone, twice, exchanged or odd."""
    said = bytearray(draw(st.sampled_from(good)) * draw(st.integers(1, 2)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(said)))
        match draw(st.sampled_from(["insert", "drop", "flip", "cut", "noise"])):
            case "insert":
                said[at:at] = draw(st.sampled_from(ODD))
            case "drop":
                del said[at : at + draw(st.integers(1, 20))]
            case "flip" if at < len(said):
                said[at] ^= draw(st.integers(1, 255))
            case "cut":
                del said[at:]
            case "noise":
                said[at:at] = draw(st.binary(max_size=50))
    return bytes(said)


async def answered(url: str, said: bytes) -> bytes:
    """All that comes back until the connection ends, which it does."""
    async with connected(url) as client:
        client.say(said)
        client.half_close()
        try:
            return await client.rest()
        except ConnectionError:
            return b""


@pytest.fixture
async def plain() -> AsyncIterator[str]:
    async with serving(Told(), CONFIG) as url:
        yield url


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    authority, file = trustme.CA(), tmp_path / "cert.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(file))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving(Told(), CONFIG, tls=Certificates(api.Tls(str(file))).context) as url:
        yield url, trusting


@FUZZ
@given(said=nearly(GOOD))
async def test_any_bytes_are_answered_or_the_connection_ends(plain: str, said: bytes):
    came = await answered(plain, said)
    if came:
        assert came.startswith(b"HTTP/1.1 ") and int(came.split(b" ", 2)[1]) in (100, 200, 400, 408, 431), came[:200]
    assert (await answered(plain, GOOD[0])) is not None


async def test_any_bytes_where_tls_is_expected_are_no_request(secured: tuple[str, ssl.SSLContext]):
    url, trusting = secured
    first = greeting()
    found: list[bytes] = []

    @settings(FUZZ, max_examples=100)
    @given(nearly([first, *GOOD]))
    def collect(said: bytes) -> None:
        found.append(said)

    await asyncio.to_thread(collect)
    for said in found:
        assert b"HTTP/" not in await answered(url, said)
    async with connected(url, trusting) as client:
        client.ask(b"hi")
        assert (await client.answer()).json["body"] == "hi"


# --- text

TEXTS = {
    "arabic": "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "hebrew with points": "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
    "thai": "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "devanagari": "\u0928\u092e\u0938\u094d\u0924\u0947",
    "chinese, rare": "\u4f60\u597d \U00020000\U0002a6d6",
    "hangul in parts": "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "composed and not": "\u00e9 e\u0301 \u212b \u00c5 A\u030a",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f4\U000e0067\U000e0062\U000e007f",
    "many marks": "Z" + "\u0351\u036b\u0343" * 200,
    "turned around": "\u202eabc\u202c \u2066def\u2069 \u200f",
    "not seen": "a\u200b\u200c\u200d\u2060\ufeffb\u00adc\u180ed",
    "tags": "a" + "".join(chr(0xE0000 + ord(one)) for one in "ignore all") + "b",
    "look-alikes": "\u0430\u0440\u0440le \uff49\uff47\uff4e\uff4f\uff52\uff45 \U0001d422\U0001d420\U0001d427",
    "no characters": "\ufffe\uffff\U0010ffff\ufdd0",
    "private": "\ue000\U000f0000",
    "controls": "\x00\x01\x07\x08\x0b\x0c\x0e\x1b[31m\x7f\x80\x9b",
    "ends of lines": "a\nb\rc\r\nd\u0085e\u2028f\u2029g",
    "what JSON escapes": '"\\/\b\f\n\r\t\u2028</script>',
    "dotless": "\u0130\u0131 \u00df \u1e9e \ufb01 \u01c5",
    "a wide blank": "\u3000\u00a0\u2007\u202f",
}
GUARDS = """
providers: {main: {type: scripted}}
routes:
  fast:
    targets: [{provider: main, model: m}]
    guardrails:
      input: [{type: shape, action: flag}, {type: injection, action: flag}, {type: pii, action: flag}]
      output: [{type: secrets, action: flag}, {type: pii, action: flag}]
"""
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/messages")
PLAIN = GUARDS.partition("    guardrails")[0]


def said_by(reply: Reply) -> str:
    """The text of an answer, in any dialect, streamed or not."""
    texts = [event for event in reply.events if isinstance(event, dict)]
    if reply.headers["content-type"].startswith("text/event-stream") and b"event: " in reply.body:
        lines = [line[6:] for line in reply.body.split(b"\n") if line.startswith(b"data: ")]
        deltas = [json.loads(line).get("delta", {}) for line in lines]
        return "".join(delta.get("text", "") for delta in deltas)
    if "content" in texts[0]:
        return "".join(block["text"] for block in texts[0]["content"])
    return reply.text


@pytest.mark.parametrize(
    ("config", "path", "stream"),
    [
        *((PLAIN, path, stream) for path in PATHS for stream in (True, False)),
        (GUARDS, PATHS[0], True),
        (GUARDS, PATHS[2], False),
    ],
    ids=lambda value: {PLAIN: "bare", GUARDS: "guarded"}.get(value),
)
async def test_text_of_any_script_is_answered_and_comes_back_as_it_was(
    build_house: Any, config: str, path: str, stream: bool
):
    house: House = await build_house(config)
    for name, text in TEXTS.items():
        house.provider("main").says([text, text])
        reply = await house.ask(text, path=path, stream=stream, max_tokens=1000)
        assert reply.status == 200, (name, reply.body)
        assert said_by(reply) == text * 2, name
        heard = json.loads(house.provider("main").requests[-1].body)
        assert text in (heard["prompt"] if "prompt" in heard else heard["messages"][-1]["content"]), name
        assert reply.row.outcome == "ok"
