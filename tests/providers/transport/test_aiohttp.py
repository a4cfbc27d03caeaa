"""aiohttp's way: through a proxy, and what it must not do of itself. The rest is in tests/contracts/transport."""

from __future__ import annotations

import asyncio
import base64
import ssl
import sys
from collections.abc import AsyncIterator

import pytest
import trustme

from tests.rawserver import OK, Asked, Peer, Script, Server, always, failure, nothing_left, post, serving, silent, whole
from tidegate import config, plugins
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Request
from tidegate.core.values import Secret
from tidegate.providers.transport import Config
from tidegate.providers.transport.aiohttp import AiohttpTransport

pytestmark = pytest.mark.timeout(15)


def through(proxy: Server, *, credentials: str = "", **settings: object) -> AiohttpTransport:
    url = f"http://{credentials}127.0.0.1:{proxy.port}"
    return AiohttpTransport(Config(proxy=Secret(url), **settings))  # type: ignore[arg-type]


def tunnel(asked: list[Asked]) -> Script:
    """What an HTTP proxy does with CONNECT."""

    async def splice(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    async def script(peer: Peer) -> None:
        request = await peer.request()
        asked.append(request)
        host, _, port = request.line.split(b" ")[1].rpartition(b":")
        reader, writer = await asyncio.open_connection(host.decode(), int(port))
        peer.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(splice(peer.reader, writer), splice(reader, peer.writer))
        finally:
            writer.transport.abort()

    return script


@pytest.fixture
async def proxy() -> AsyncIterator[Server]:
    async with nothing_left(), serving() as made:
        yield made


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncIterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with serving(context) as made:
        yield made


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


# --- through a proxy


async def test_a_provider_is_reached_through_a_tunnel_that_sees_nothing_of_the_call(
    proxy: Server, server: Server, ca_file: str
) -> None:
    connects: list[Asked] = []
    proxy.script = tunnel(connects)
    transport = through(proxy, credentials="me:secret@", ca_file=ca_file)
    for _ in range(3):
        assert await whole(transport.send(post(server))) == b"ok"
    [connect] = connects  # one connection, used again
    assert connect.line == b"CONNECT 127.0.0.1:%d HTTP/1.1" % server.port
    headers = {name.lower(): value for name, value in connect.headers.items()}
    assert headers[b"proxy-authorization"] == b"Basic " + base64.b64encode(b"me:secret")
    assert b"authorization" not in headers
    await transport.aclose()


async def test_a_certificate_is_verified_through_the_tunnel_too(proxy: Server, server: Server) -> None:
    proxy.script = tunnel([])
    transport = through(proxy)
    error = await failure(transport.send(post(server)))
    assert (error.kind, error.sent) == ("tls", False)
    await transport.aclose()


async def test_what_is_not_encrypted_is_asked_of_the_proxy_itself(proxy: Server) -> None:
    seen: list[Asked] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        peer.say(OK)

    proxy.script = script
    transport = through(proxy)
    assert await whole(transport.send(Request("POST", "http://models.test:81/v1/chat?a=%2F", (), b"{}"))) == b"ok"
    assert seen[0].line == b"POST http://models.test:81/v1/chat?a=%2F HTTP/1.1"
    assert seen[0].headers[b"host"] == b"models.test:81"
    await transport.aclose()


async def test_a_proxy_that_refuses_is_named_and_nothing_was_sent(proxy: Server, server: Server) -> None:
    proxy.script = always(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
    transport = through(proxy)
    error = await failure(transport.send(post(server)))
    assert (error.kind, error.sent) == ("connect", False)
    assert "the proxy answered 407" in str(error)
    assert not server.peers
    await transport.aclose()


async def test_a_proxy_that_does_not_answer_is_a_timeout_and_leaves_nothing(proxy: Server, server: Server) -> None:
    proxy.script = silent
    transport = through(proxy, credentials="me:secret@")
    error = await failure(transport.send(post(server, connect=0.1)))
    assert (error.kind, error.sent) == ("timeout", False)
    assert "through the proxy 127.0.0.1" in str(error)
    assert "secret" not in str(error)
    await transport.aclose()


async def test_a_proxy_that_is_not_there_is_an_error(server: Server) -> None:
    async with serving() as gone:
        transport = through(gone, credentials="me:secret@")
        gone.listener.close()
        error = await failure(transport.send(post(server)))
    assert (error.kind, error.sent) == ("connect", False)
    assert "secret" not in str(error)
    await transport.aclose()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_no_proxy_is_found_by_itself(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    async with nothing_left(), serving() as plain:
        transport = AiohttpTransport()
        assert await whole(transport.send(post(plain))) == b"ok"
        await transport.aclose()


# --- what aiohttp would do of itself


async def test_what_was_said_unasked_is_not_taken_for_an_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(OK)
        await told.wait()
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")

    told = asyncio.Event()
    async with nothing_left(), serving() as server:
        server.script = script
        transport = AiohttpTransport()
        assert await whole(transport.send(post(server))) == b"ok"
        told.set()
        await asyncio.sleep(0.02)
        server.script = always(OK)
        assert await whole(transport.send(post(server))) == b"ok"
        assert len(server.peers) == 2
        await transport.aclose()


async def test_neither_cookies_nor_redirects_nor_compression_are_dealt_with() -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nset-cookie: a=b\r\ncontent-encoding: gzip\r\n"
    seen: list[Asked] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            peer.say(moved + b"content-length: 4\r\n\r\nraw!")

    async with nothing_left(), serving() as server:
        server.script = script
        transport = AiohttpTransport()
        for _ in range(2):
            exchange = transport.send(post(server))
            assert (await exchange.head()).status == 302
            assert await whole(exchange) == b"raw!"
        assert not [asked for asked in seen if b"cookie" in {name.lower() for name in asked.headers}]
        assert {b"user-agent", b"accept"} & {name.lower() for name in seen[0].headers} == set()
        await transport.aclose()


async def test_progress_with_a_large_body_puts_the_first_byte_off() -> None:
    async def script(peer: Peer) -> None:
        for _ in range(9):
            await peer.reader.readexactly(2_000_000)
            await asyncio.sleep(0.1)
        await peer.reader.read(65536)
        peer.say(OK)

    async with nothing_left(), serving() as server:
        server.script = script
        transport = AiohttpTransport()
        assert await whole(transport.send(post(server, bytes(18_000_000), first_byte=0.6))) == b"ok"
        await transport.aclose()


async def test_a_header_that_is_not_text_is_refused_by_its_name() -> None:
    transport = AiohttpTransport()
    with pytest.raises(ValueError, match=r"header b'x-secret' cannot be sent: its value is not UTF-8") as refused:
        transport.send(Request("GET", "http://127.0.0.1:9/", ((b"x-secret", b"\xff"),)))
    assert "xff" not in str(refused.value)
    await transport.aclose()


# --- chosen by the configuration


def test_without_the_extra_the_start_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "tidegate.providers.transport.aiohttp")
    with pytest.raises(ConfigError, match=r"needs the extra aiohttp: pip install 'tidegate\[aiohttp\]'"):
        plugins.find("transports", "aiohttp")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{proxy: 'http://p:1'}", "tidegate.yaml:1: transport.proxy: our own transport goes through no proxy"),
        ("{kind: aiohttp, proxy: 'me:pw@p'}", "transport.proxy: must be like http://HOST:PORT"),
        ("{kind: aiohttp, proxy: 'https://me:pw@p:1'}", "transport.proxy: must be like http://HOST:PORT"),
        ("{kind: aiohttp, proxy: ''}", "transport.proxy: is empty"),
        ("{kind: aoihttp}", "transport.kind: cannot be 'aoihttp'; did you mean 'aiohttp'?"),
    ],
)
def test_a_proxy_that_cannot_be_is_told_without_its_password(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        config.parse(f"transport: {text}", {})
    assert message in str(wrong.value)
    assert "pw" not in str(wrong.value)


def test_a_proxy_may_come_from_the_environment_and_is_not_shown() -> None:
    text = "transport: {kind: aiohttp, proxy: env:HTTPS_PROXY}"
    found = config.parse(text, {"HTTPS_PROXY": "http://me:pw@proxy.test:3128"})
    assert found.transport.proxy == Secret("http://me:pw@proxy.test:3128", "env:HTTPS_PROXY")
    assert "pw" not in config.shown(found)
