"""What is at the door besides calls: web pages of elsewhere, servers that ask, sockets that are none of ours."""

from __future__ import annotations

from typing import Any

import pytest

from tests.house import TWO_PROVIDERS

PAGE = "https://app.example.com"
OPEN = TWO_PROVIDERS + f"api: {{cors: ['{PAGE}', 'http://localhost:3000']}}\n"
ANY = TWO_PROVIDERS + "api: {cors: ['*']}\n"
PATHS = ["/v1/chat/completions", "/v1/models", "/admin/keys", "/api/chat", "/v1/requests/req_1", "/nothing"]
ALLOW = "access-control-allow-origin"


def preflight(origin: str) -> dict[str, Any]:
    headers = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "x-a"}
    return {"method": "OPTIONS", "body": b"", "headers": headers, "key": "none"}


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_that_is_allowed_may_ask_before_it_asks(build_house, path):
    house = await build_house(OPEN)
    reply = await house.begin(path=path, **preflight(PAGE)).reply()
    assert reply.status == 204 and not reply.body and "content-length" not in reply.headers
    assert reply.headers[ALLOW] == PAGE and reply.headers["vary"] == "origin"
    assert "POST" in reply.headers["access-control-allow-methods"]
    # `*` is every header but that of the key, which has to be named.
    assert reply.headers["access-control-allow-headers"] == "authorization, *"


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_to_it_can_be_read(build_house, path):
    house = await build_house(OPEN)
    for key in (house.key, "wrong"):
        for method in ("GET", "POST"):
            reply = await house.begin(path=path, method=method, key=key, headers={"origin": PAGE}).reply()
            assert (
                reply.headers[ALLOW] == PAGE
                and "x-tidegate-request-id" in reply.headers[ALLOW[:-13] + "-expose-headers"]
            )


@pytest.mark.parametrize("origin", ["https://evil.example.com", PAGE + ".evil.com", PAGE.upper(), "null", ""])
async def test_another_page_is_allowed_nothing(build_house, origin):
    house = await build_house(OPEN)
    for reply in (
        await house.ask(headers={"origin": origin}),
        await house.begin(path="/v1/chat/completions", **preflight(origin)).reply(),
    ):
        assert ALLOW not in reply.headers and reply.headers["vary"] == "origin"


async def test_a_star_allows_any(build_house):
    house = await build_house(ANY)
    reply = await house.ask(headers={"origin": "https://whoever.example"})
    assert reply.status == 200 and reply.headers[ALLOW] == "https://whoever.example"
    assert ALLOW not in (await house.ask()).headers


@pytest.mark.parametrize("path", PATHS)
async def test_without_configuration_no_page_is_allowed(house, path):
    reply = await house.begin(path=path, **preflight(PAGE)).reply()
    assert reply.status in (404, 405) and ALLOW not in reply.headers and "vary" not in reply.headers


async def test_a_plain_options_is_no_preflight(build_house):
    house = await build_house(OPEN)
    reply = await house.ask(method="OPTIONS", headers={"origin": PAGE})
    assert reply.status == 405 and reply.headers["allow"] == "POST"


async def spoken(app: Any, scope: dict[str, Any], *heard: dict[str, Any]) -> list[Any]:
    """What the application says to a server that tells it this."""
    said: list[Any] = []
    left = list(heard)

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    async def send(message: Any) -> None:
        said.append(message)

    await app(scope, receive, send)
    return said


async def test_a_server_that_starts_and_ends_it_hears_that_all_is_well(house):
    said = await spoken(house.app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert [message["type"] for message in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_websocket_is_refused(house):
    said = await spoken(house.app, {"type": "websocket", "path": "/v1/realtime"}, {"type": "websocket.connect"})
    assert said == [{"type": "websocket.close", "code": 1003}]
