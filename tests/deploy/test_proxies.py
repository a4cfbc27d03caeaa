"""Does a stream come event by event through what stands in front? The real nginx and Envoy, as deploy/ has them."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from tests.docs.test_pages import free_port
from tests.e2e.processes import KEY, PATIENCE_S, child, gateway
from tests.parts import ROOT, debian, envoy_binary, needs_envoy, program
from tests.rawserver import Peer, Server, serving

PROXIES = ROOT / "deploy" / "proxy"
WORDS = ("one", "two", "three", "four")
HOUSE = """
budgets: {{default_day: 0}}
limits: {{loops: {{policy: "off"}}}}
api: {{trusted_proxies: [127.0.0.1/32]}}
providers: {{main: {{type: openai, base_url: "{url}/v1", price: {{input: 1, output: 2}}}}}}
routes: {{fast: {{targets: [{{provider: main, model: m}}]}}}}
"""
QUESTION = json.dumps({"model": "fast", "stream": True, "messages": [{"role": "user", "content": "count"}]})


class Reluctant:
    """A provider that says its next word only when the client has heard the last one."""

    def __init__(self) -> None:
        self.heard = asyncio.Semaphore(0)

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for word in WORDS:
            peer.say(b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": {"content": word}}]}).encode())
            async with asyncio.timeout(PATIENCE_S):
                await self.heard.acquire()
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        peer.say(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(end).encode())
        peer.close()


def certified(folder: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    one = authority.issue_cert("127.0.0.1")
    one.private_key_pem.write_to_path(folder / "key.pem")
    with (folder / "cert.pem").open("wb") as file:
        file.write(b"".join(blob.bytes() for blob in one.cert_chain_pems))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting


def placed(name: str, folder: Path, port: int, tidegate: str) -> Path:
    """A file of deploy/proxy as it stands there, but for the ports and folders of this test."""
    text = (PROXIES / name).read_text()
    for ours, theirs in (
        ("8443", str(port)),
        ("8080", tidegate),
        ("/etc/tidegate", str(folder)),
        ("/run/nginx.pid", str(folder / "nginx.pid")),
    ):
        assert ours in text or "nginx" in ours
        text = text.replace(ours, theirs)
    (folder / name).write_text(text)
    return folder / name


@asynccontextmanager
async def in_front(name: str, folder: Path, port: int, tidegate: str) -> AsyncIterator[None]:
    file = str(placed(name, folder, port, tidegate))
    envoy = (str(envoy_binary()), "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "error")
    nginx = (str(program("nginx")), "-c", file, "-p", str(folder), "-g", "daemon off;")
    words = nginx if name.startswith("nginx") else envoy
    async with child(*words[1:], program=words[0]) as found:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                assert found.process.returncode is None, found.said
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
        try:
            yield
        finally:
            found.send(signal.SIGTERM)  # a kill would leave nginx's workers behind
            await found.ends()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.seen = reader, writer, b""

    def ask(self, line: str, body: str = "") -> None:
        head = f"host: gate.example\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
        self.writer.write(f"{line} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n{body}".encode())

    async def hears(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while text.encode() not in self.seen:
                more = await self.reader.read(65536)
                assert more, f"it ended without {text!r}: {self.seen!r}"
                self.seen += more


@asynccontextmanager
async def connected(port: int, trusting: ssl.SSLContext) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def house(name: str, folder: Path, provider: Server) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    trusting, port = certified(folder), free_port()
    async with gateway(folder, HOUSE.format(url=provider.url)) as tidegate:
        async with in_front(name, folder, port, tidegate.url.rpartition(":")[2]):
            yield port, trusting
        await tidegate.stop()


BOTH = [
    pytest.param("nginx.conf", marks=debian("nginx"), id="nginx"),
    pytest.param("envoy.yaml", marks=needs_envoy(), id="envoy"),
]


@pytest.mark.parametrize("name", BOTH)
async def test_a_stream_comes_event_by_event_and_metrics_do_not_leave(name: str, tmp_path: Path) -> None:
    provider = Reluctant()
    async with serving() as upstream:
        upstream.script = provider
        async with house(name, tmp_path, upstream) as (port, trusting):
            async with connected(port, trusting) as client:
                client.ask("POST /v1/chat/completions", QUESTION)
                for word in WORDS:
                    await client.hears(word)  # or the provider says no more
                    provider.heard.release()
                await client.hears("[DONE]")
                assert client.seen.startswith(b"HTTP/1.1 200")
            if name == "envoy.yaml":  # nginx lets this machine in
                async with connected(port, trusting) as stranger:
                    stranger.ask("GET /metrics")
                    await stranger.hears("HTTP/1.1 404")
