"""Who could answer, when nobody was configured?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tidegate import config
from tidegate.providers import scripted
from tidegate.providers.discovery import VENDORS, Server, servers, vendors


@asynccontextmanager
async def answers(answer: bytes) -> AsyncIterator[Server]:
    """Somebody on this machine who says just this, whatever he is asked."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(say, "127.0.0.1", 0)
    try:
        yield Server("somebody", listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await listening.wait_closed()


def models(*rows: dict[str, str]) -> bytes:
    body = json.dumps({"object": "list", "data": rows}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + body


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_a_key_in_the_environment_is_a_provider_that_can_be_configured(vendor):
    environment = {vendor.keys[-1]: "sk-secret"}
    (found,) = vendors(environment)
    assert found.name == vendor.name and found.why == f"{vendor.keys[-1]} is set"
    built = config.parse("", environment, found=[found]).providers
    assert list(built) == [vendor.name, "local"]
    assert "sk-secret" not in config.shown(config.parse("", environment, found=[found]))


def test_no_key_and_an_empty_key_are_no_provider():
    assert vendors({}) == []
    assert vendors({"OPENAI_API_KEY": "  "}) == []


async def test_a_server_of_models_is_found_with_its_models_and_costs_nothing():
    async with answers(models({"id": "llama3"}, {"id": "phi"})) as here:
        (found,) = await servers([here])
    assert found.settings["models"] == ["llama3", "phi"]
    assert found.settings["price"] == "own_hardware"
    assert found.why == f"it answers on port {here.port}"


async def test_our_own_scripted_server_is_found():
    server = scripted.Server(scripted.Script())
    try:
        port = int((await server.start(0)).rsplit(":", 1)[1].split("/")[0])
        assert [found.name for found in await servers([Server("ours", port)])] == ["ours"]
    finally:
        await server.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        models({"id": "fast", "owned_by": "tidegate"}),
        models(),
        b"HTTP/1.1 200 OK\r\n\r\n<html>a web page</html>",
        b"HTTP/1.1 404 Not Found\r\n\r\n{}",
        b'HTTP/1.1 200 OK\r\n\r\n{"data": 3}',
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 600_000,
    ],
    ids=["a Tidegate", "no models", "a page", "404", "odd JSON", "ssh", "nothing", "too much"],
)
async def test_whoever_is_no_server_of_models_is_passed_over(answer):
    async with answers(answer) as here:
        assert await servers([here]) == []


async def test_a_server_that_says_nothing_costs_a_third_of_a_second_and_no_more():
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(never, "127.0.0.1", 0)
    silent = Server("silent", listening.sockets[0].getsockname()[1])
    async with asyncio.timeout(3):
        assert await servers([silent]) == []
    listening.close()


def test_what_is_configured_is_not_added_to():
    text = "providers: {main: {type: scripted}}"
    assert list(config.parse(text, {}, found=vendors({"OPENAI_API_KEY": "sk"})).providers) == ["main"]
