"""What crosses the house in a head: an allow-list each way, as docs/guides/network.md has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.house import House
from tests.rawserver import Asked, Peer, Server, serving

CONFIG = """
providers:
  main: {{type: {dialect}, base_url: "{url}", keys: [sk-provider-key]}}
routes:
  fast: {{targets: [{{provider: main, model: m}}]}}
"""
ANSWER = b'{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
SENT = {
    "cookie": "session=1",
    "proxy-authorization": "Basic eDp5",
    "x-api-key": "other",
    "x-forwarded-for": "192.0.2.1",
    "x-forwarded-host": "evil.example",
    "x-forwarded-proto": "https",
    "x-real-ip": "192.0.2.1",
    "forwarded": "for=192.0.2.1",
    "via": "1.1 a",
    "origin": "https://evil.example",
    "referer": "https://evil.example/secret",
    "user-agent": "me/1.0",
    "accept-encoding": "gzip, br",
    "connection": "x-custom, keep-alive",
    "keep-alive": "timeout=5",
    "te": "trailers",
    "trailer": "x-a",
    "upgrade": "h2c",
    "http2-settings": "AAA",
    "expect": "x-nothing",
    "x-custom": "1",
    "x-tidegate-user": "bob",
    "x-tidegate-session": "s",
    "x-stainless-os": "Linux",
    "openai-organization": "org-1",
    "openai-project": "proj_1",
    "host": "evil.example",
    "x-http-method-override": "DELETE",
}
TOLD = {
    "set-cookie": "session=stolen",
    "server": "nginx/1.0",
    "x-powered-by": "PHP",
    "via": "1.1 inside",
    "location": "http://10.0.0.1/",
    "access-control-allow-origin": "*",
    "access-control-allow-credentials": "true",
    "strict-transport-security": "max-age=0",
    "content-security-policy": "default-src *",
    "x-frame-options": "ALLOWALL",
    "www-authenticate": "Basic",
    "alt-svc": 'h3=":443"',
    "refresh": "0; url=http://evil.example",
    "clear-site-data": "*",
    "openai-organization": "org-of-the-house",
    "anthropic-organization-id": "org-of-the-house",
    "cf-ray": "1",
    "x-tidegate-cost-usd": "0",
    "x-tidegate-request-id": "forged",
}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as made:
        yield made


def listening(server: Server, answer: bytes = ANSWER, *told: tuple[str, str]) -> list[Asked]:
    heard: list[Asked] = []
    told = told if "content-type" in dict(told) else (*told, ("content-type", "application/json"))
    head = "".join(f"{name}: {value}\r\n" for name, value in told)

    async def script(peer: Peer) -> None:
        while True:
            heard.append(await peer.request())
            peer.say(f"HTTP/1.1 200 OK\r\ncontent-length: {len(answer)}\r\n{head}\r\n".encode(), answer)

    server.script = script
    return heard


async def built(build_house: Any, server: Server, dialect: str) -> House:
    house: House = await build_house(CONFIG.format(dialect=dialect, url=server.url + "/v1" * (dialect == "openai")))
    return house


OURS = {"host", "content-length", "content-type", "accept-encoding", "x-tidegate-hop"}
GOOD_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("dialect", "path", "more"),
    [
        ("openai", "/v1/chat/completions", {"authorization", "openai-beta"}),
        ("openai", "/v1/anything/else", {"authorization", "openai-beta"}),
        ("anthropic", "/v1/chat/completions", {"x-api-key", "anthropic-version"}),
    ],
)
async def test_only_what_is_on_the_list_goes_to_a_provider(
    build_house: Any, server: Server, dialect: str, path: str, more: set[str]
):
    heard = listening(server)
    house = await built(build_house, server, dialect)
    fields = {"max_tokens": 5}
    await house.ask(path=path, stream=False, headers=SENT | {"openai-beta": "assistants=v2"}, **fields)
    asked = heard[0]
    names = {name.decode() for name in asked.headers}
    assert names == OURS | more
    assert asked.headers[b"host"] == server.url.removeprefix("http://").encode()
    assert asked.headers[b"accept-encoding"] == b"identity"
    said = b" ".join([asked.line, *asked.headers.values()])
    assert b"sk-provider-key" in said and house.key.encode() not in said and b"evil" not in said


async def test_a_trace_goes_on_if_it_is_one(build_house: Any, server: Server):
    heard = listening(server)
    house = await built(build_house, server, "openai")
    for parent in (GOOD_TRACE, "00-zz-zz-01", GOOD_TRACE + "-extra", ""):
        await house.ask(stream=False, headers={"traceparent": parent, "tracestate": "a=b"})
    assert [asked.headers.get(b"traceparent") for asked in heard] == [GOOD_TRACE.encode(), None, None, None]
    assert [asked.headers.get(b"tracestate") for asked in heard] == [b"tidegate=1,a=b", None, None, None]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/anything/else"])
async def test_only_what_is_on_the_list_comes_from_a_provider(build_house: Any, server: Server, path: str):
    listening(server, ANSWER, *TOLD.items(), ("x-ratelimit-limit-requests", "5"), ("request-id", "r1"))
    house = await built(build_house, server, "openai")
    reply = await house.ask(path=path, stream=False)
    assert reply.status == 200
    ours = {name for name in reply.headers if name.startswith("x-tidegate-")}
    expected = {"content-type", "content-length", "x-content-type-options", "request-id", "x-ratelimit-limit-requests"}
    expected |= {"content-security-policy"} if "anything" in path else set()
    assert set(reply.headers) - ours == expected
    assert "default-src *" not in reply.headers.values() and reply.headers["x-tidegate-request-id"] != "forged"


async def test_what_a_provider_keeps_is_nothing_that_a_browser_runs(build_house: Any, server: Server):
    """A file that somebody uploaded may be a page; it comes from our address, so it may do nothing there."""
    listening(server, b"<script>alert(1)</script>", ("content-type", "text/html"))
    house = await built(build_house, server, "openai")
    reply = await house.get("/v1/files/a/content", headers={"x-tidegate-route": "fast"})
    assert reply.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert reply.headers["x-content-type-options"] == "nosniff"


async def test_no_page_of_ours_runs_a_script_or_is_framed_or_sets_a_cookie(house: House):
    for path in ("/docs", "/openapi.json", "/health", "/ready", "/metrics", "/v1/models", "/admin/keys", "/nowhere"):
        reply = await house.get(path)
        assert reply.headers["x-content-type-options"] == "nosniff", path
        assert not {"set-cookie", "server", "x-powered-by", "access-control-allow-origin"} & set(reply.headers), path
    policy = (await house.get("/docs")).headers["content-security-policy"]
    for rule in ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
        assert rule in policy
    assert "script-src" not in policy and b"<script" not in (await house.get("/docs")).body
    assert (await house.get("/admin/keys")).headers["cache-control"] == "no-store"
    made = await house.ask(path="/admin/keys", body=b'{"name": "<script>"}')
    assert made.headers["cache-control"] == "no-store"
