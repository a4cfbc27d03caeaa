"""Between a client and a provider of one dialect every byte passes as it came, but for the name of the model."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests import rawserver
from tests.e2e.processes import Answer, Gateway, gateway
from tests.rawserver import Asked, Peer, Server

pytestmark = pytest.mark.timeout(300)

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
NOT_WHOLE = {"no-done", "error-in-the-middle", "anthropic-error-in-the-middle", "anthropic-no-stop"}
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
HOUSE = """
logs: {calls: false}
limits: {loops: {policy: "off"}}
budgets: {default_day: 0}
upstream: {retry: {tries: 1}}
providers:
  openai: {type: openai, base_url: "URL/v1", keys: [a-key-of-the-provider], price: own_hardware}
  anthropic: {type: anthropic, base_url: "URL", keys: [a-key-of-the-provider], price: own_hardware}
routes:
  by-openai: {targets: [{provider: openai, model: "the provider's \\u00b7 model"}]}
  by-anthropic: {targets: [{provider: anthropic, model: "the provider's \\u00b7 model"}]}
"""
SPLICED = '"the provider\'s · model"'.encode()


class Recorder:
    """A provider that keeps what it is asked, and says `reply`."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.reply = b""
        self.kind = b""
        self.cuts = random.Random(7)

    async def __call__(self, peer: Peer) -> None:
        while True:
            self.asked.append(await peer.request())
            peer.say(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % self.kind)
            await peer.dictate(*(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self._pieces()), b"0\r\n\r\n")

    def _pieces(self) -> list[bytes]:
        """Cut anywhere: in the middle of a line, of a word, of a letter."""
        marks = [0, *sorted(self.cuts.sample(range(1, len(self.reply)), 12)), len(self.reply)]
        return [self.reply[start:end] for start, end in itertools.pairwise(marks)]


@asynccontextmanager
async def between(folder: Path) -> AsyncIterator[tuple[Gateway, Recorder]]:
    recorder = Recorder()
    server: Server
    async with rawserver.serving() as server:
        server.script = recorder
        async with gateway(folder, HOUSE.replace("URL", server.url)) as tidegate:
            yield tidegate, recorder
            await tidegate.stop()


async def asked(tidegate: Gateway, dialect: str, body: bytes, path: str = "", **headers: str) -> Answer:
    return await tidegate.begin(path or PATHS[dialect], body=body, headers=headers).answer()


def transcripts(kind: str) -> list[tuple[str, Path]]:
    found = [path for path in sorted(TRANSCRIPTS.glob(f"*.{kind}")) if path.stem not in NOT_WHOLE]
    messages = ("anthropic", "llama-cpp-messages")
    return [("anthropic" if path.stem.startswith(messages) else "openai", path) for path in found]


async def test_streams_pass_as_they_came(tmp_path: Path) -> None:
    async with between(tmp_path) as (tidegate, recorder):
        recorder.kind = b"text/event-stream; charset=utf-8"
        for dialect, path in transcripts("sse"):
            recorder.reply = path.read_bytes()
            usage = b'"stream_options":{"include_usage":true},' if dialect == "openai" else b'"max_tokens":9,'
            body = b'{"model":"by-%b","stream":true,%b"messages":[{"role":"user","content":"hi"}]}'
            where = "/v1/completions" if path.stem == "openai-complete" else ""
            if where:
                body = body.replace(b'"messages":[{"role":"user","content":"hi"}]', b'"prompt":"hi"')
            answer = await asked(tidegate, dialect, body % (dialect.encode(), usage), where)
            assert (answer.status, answer.body) == (200, recorder.reply), path.name
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert len(recorder.asked) >= 25


async def test_whole_replies_pass_as_they_came(tmp_path: Path) -> None:
    async with between(tmp_path) as (tidegate, recorder):
        recorder.kind = b"application/json"
        for dialect, path in transcripts("json"):
            recorder.reply = path.read_bytes()
            body = b'{"model":"by-%b","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}' % dialect.encode()
            where = "/v1/completions" if path.stem == "openai-complete" else ""
            if where:
                body = body.replace(b'"messages":[{"role":"user","content":"hi"}]', b'"prompt":"hi"')
            answer = await asked(tidegate, dialect, body, where)
            assert (answer.status, answer.body) == (200, recorder.reply), path.name


# As no encoder would write it: blanks, escapes, numbers with exponents, keys that nobody knows, an inner "model".
ODD = b"""
 {"a_field_of_tomorrow" :{"model": "by-openai", "deep":[1E2,-0,1.50,"\\u0041\\/\xc3\xa9"]} ,"max_tokens":\t16,
  "messages":[ {"content":"Gr\\u00fc\\u00dfe \\ud83c\\udf0a","role":"user","who":null} ],"model"  :"by-DIALECT"
 , "temperature":1e-1}\r\n"""


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_a_body_passes_as_it_came_but_for_the_name_of_the_model(tmp_path: Path, dialect: str) -> None:
    async with between(tmp_path) as (tidegate, recorder):
        body = ODD.replace(b"DIALECT", dialect.encode())
        recorder.kind = b"application/json"
        recorder.reply = (TRANSCRIPTS / f"{dialect}-{'chat' if dialect == 'openai' else 'text'}.json").read_bytes()
        answer = await asked(tidegate, dialect, body, PATHS[dialect] + "?beta=true&x=%2F+%C3%A9%20")
        assert answer.status == 200, answer.body
        (request,) = recorder.asked
        before, _, after = body.rpartition(b'"by-%b"' % dialect.encode())
        assert request.body == before + SPLICED + after
        assert request.line.split()[1] == PATHS[dialect].encode() + b"?beta=true&x=%2F+%C3%A9%20"
        secret = request.headers[b"x-api-key" if dialect == "anthropic" else b"authorization"]
        assert secret.removeprefix(b"Bearer ") == b"a-key-of-the-provider"
        assert b"a-key-for-tests" not in b"".join(request.headers.values())
