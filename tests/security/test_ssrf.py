"""Nobody makes Tidegate ask what it should not: by a name, an address, a redirect or a document from outside."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.house import House
from tests.rawserver import Server, always, failure, nothing_left, serving, whole
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Request, Timeouts, Transport
from tidegate.providers.openai import Config as OpenAIConfig
from tidegate.providers.openai import OpenAI
from tidegate.providers.transport import Config, HttpTransport
from tidegate.providers.transport.aiohttp import AiohttpTransport

ADAPTERS = {"own": HttpTransport, "aiohttp": AiohttpTransport}
Names = dict[str, list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """What a name means: the first address now, the others when it is asked again."""
    known: Names = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host not in known:
            return real(host, port, *rest, **options)
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        means = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (means, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with nothing_left(), serving() as made:
        yield made


@pytest.fixture
async def provider() -> AsyncIterator[Server]:
    """For a house, which is still there when this has gone."""
    async with serving() as made:
        yield made


@pytest.fixture(params=ADAPTERS)
async def adapter(request: pytest.FixtureRequest) -> type[HttpTransport] | type[AiohttpTransport]:
    return ADAPTERS[request.param]


@pytest.fixture
async def transport(adapter: Any) -> AsyncIterator[Transport]:
    made = adapter(Config())
    yield made
    await made.aclose()


def asking(url: str, **more: Any) -> Request:
    return Request("GET", url, (), b"", Timeouts(connect=2), **more)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
async def test_ssrf_a_public_name_does_not_lead_to_a_private_address(
    names: Names, server: Server, transport: Transport, address: str
):
    names["api.example.com"] = [address]
    error = await failure(transport.send(asking(f"http://api.example.com:{server.port}/")))
    assert (error.kind, error.sent) == ("connect", False)
    assert "put api.example.com into transport.private_hosts" in str(error) and address not in str(error)
    assert server.peers == []


async def test_ssrf_by_dns_rebinding(names: Names, server: Server, transport: Transport):
    """The address that was looked at is the one that is connected to: a name is asked once."""
    names["api.example.com"] = ["192.0.2.1", "127.0.0.1"]
    await failure(transport.send(asking(f"http://api.example.com:{server.port}/")))
    assert server.peers == []
    names["api.example.com"] = ["127.0.0.1", "8.8.8.8"]
    error = await failure(transport.send(asking(f"http://api.example.com:{server.port}/")))
    assert "transport.private_hosts" in str(error) and server.peers == []


async def test_a_name_that_is_allowed_leads_there(names: Names, server: Server, adapter: Any):
    names["models.example.com"] = ["127.0.0.1"]
    transport = adapter(Config(private_hosts=("*.example.com",)))
    assert await whole(transport.send(asking(f"http://models.example.com:{server.port}/"))) == b"ok"
    await transport.aclose()


@pytest.mark.parametrize("name", ["ollama", "vllm.models.svc.cluster.local", "localhost"])
async def test_a_name_that_can_only_be_private_leads_there(
    names: Names, server: Server, transport: Transport, name: str
):
    names[name] = ["127.0.0.1"]
    assert await whole(transport.send(asking(f"http://{name}:{server.port}/"))) == b"ok"


async def test_ssrf_a_cloud_s_metadata_is_asked_by_no_name(names: Names, transport: Transport):
    names["metadata.google.internal"] = ["169.254.169.254"]
    for host in ("metadata.google.internal", "169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"):
        assert "transport.private_hosts" in str(await failure(transport.send(asking(f"http://{host}/latest"))))


async def test_ssrf_what_somebody_outside_names_is_nothing_private(names: Names, server: Server, transport: Transport):
    names["ollama"] = ["127.0.0.1"]
    for host in ("127.0.0.1", "ollama", "localhost"):
        error = await failure(transport.send(asking(f"http://{host}:{server.port}/", foreign=True)))
        assert "transport.private_hosts" in str(error)
    assert server.peers == []
    assert await whole(transport.send(asking(f"{server.url}/"))) == b"ok", "what is configured is asked all the same"
    await failure(transport.send(asking(f"{server.url}/", foreign=True)))
    assert len(server.peers) == 1


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1%2f.example.com", "a%2F.example.com", "a b", "a\\b"],
)
async def test_ssrf_no_odd_spelling_of_a_host_is_asked(transport: Transport, host: str):
    with pytest.raises(ValueError):
        transport.send(asking(f"http://{host}/"))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://a/", "http://", "//a/v1", "a/v1", "http://u:p@a/v1"])
def test_ssrf_a_base_url_that_is_none_is_told_at_the_start(url: str):
    with pytest.raises(ConfigError, match=r"providers\.main\.base_url: URL"):
        OpenAI("main", OpenAIConfig(base_url=url), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_ssrf_no_redirect_is_followed_and_no_key_goes_elsewhere(build_house: Any, provider: Server, status: int):
    async with serving() as elsewhere:
        location = f"http://127.0.0.1:{elsewhere.port}/v1/chat/completions".encode()
        provider.script = always(b"HTTP/1.1 %d Go\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % (status, location))
        house: House = await build_house(
            f"providers: {{main: {{type: openai, base_url: '{provider.url}/v1', keys: [sk-secret]}}}}\n"
            "routes: {fast: {targets: [{provider: main, model: m}]}}\n"
        )
        for stream in (True, False):
            reply = await house.ask(stream=stream)
            assert reply.status == 502 and location.decode() not in json.dumps(reply.events)
        assert (await house.get("/v1/vector_stores/a")).status in (400, 502)
        assert elsewhere.peers == []


@pytest.mark.parametrize("path", ["/v1%2F.evil.example/x", "/v1%2f@evil.example/x", "/v1/..%2f..%2fx", "/v1/%2e%2e/x"])
async def test_ssrf_no_path_of_a_client_changes_the_host(build_house: Any, path: str):
    """A base URL without a path is where what a client asks for could become part of the host."""
    asked: list[Any] = []
    house: House = await build_house(
        "providers: {main: {type: openai, base_url: 'http://models', keys: [sk-secret]}}\n"
        "routes: {fast: {targets: [{provider: main, model: m}]}}\n"
    )
    real = house.app.world.transport.send

    def send(request: Request) -> Any:
        exchange = real(request)
        asked.append(request.url)
        return exchange

    house.app.world.transport.send = send  # type: ignore[method-assign]
    async with house.serve() as url:
        at = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(*at)
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {house.key}\r\nconnection: close\r\n"
        body = '{"model": "main/m"}'
        writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        answer = await reader.read()
        writer.close()
    assert int(answer.split()[1]) in (400, 404), answer
    assert all(url.startswith("http://models/") for url in asked)
