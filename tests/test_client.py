"""A program fetches its prompts, remembers them, and goes on while the gateway is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.house import House
from tidegate.client import Client, Prompt, TidegateRefused


class At:
    """A gateway that can be left, and a client of it."""

    def __init__(self, house: House, stack: AsyncExitStack, url: str) -> None:
        self.house = house
        self._stack = stack
        self.client = Client(url, house.key)

    async def prompt(self, *words: Any, **options: Any) -> Prompt:
        return await asyncio.to_thread(self.client.prompt, *words, **options)

    async def keep(self, *labels: str, **said: Any) -> None:
        body = json.dumps({"id": "greet", "labels": labels, **said}).encode()
        assert (await self.house.begin(path="/v1/prompts", body=body).reply()).status == 201

    async def goes_away(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def at(house: House) -> AsyncIterator[At]:
    async with AsyncExitStack() as stack:
        at = At(house, stack, await stack.enter_async_context(house.serve()))
        await at.keep("production", template="Hello {{user.name}} \\{{x}}")
        yield at


async def test_it_is_what_production_says_and_is_filled_here(at: At) -> None:
    found = await at.prompt("greet")
    assert (found.version, found.is_fallback) == (1, False)
    assert found.text(user={"name": "{{Ann}}"}) == "Hello {{Ann}} {{x}}"
    with pytest.raises(ValueError, match=r"'user.name' is not given; there are: name"):
        found.text(name="x")
    assert found.named(user={"name": "Ann"}) == {"id": "greet", "version": 1, "variables": {"user": {"name": "Ann"}}}


async def test_messages_and_sections_are_rendered_by_the_gateway(at: At) -> None:
    await at.keep(
        "staging", messages=[{"role": "system", "content": "{{#names}}{{.}};{{/names}}"}], parameters={"n": 1}
    )
    found = await at.prompt("greet", label="staging")
    assert found.parameters == {"n": 1}
    said = await asyncio.to_thread(found.chat, names=["a", "b"])
    assert said == [{"role": "system", "content": "a;b;"}]


async def test_it_is_remembered_for_its_time_and_a_version_for_ever(at: At) -> None:
    assert (await at.prompt("greet", ttl=60)).version == (await at.prompt("greet", version=1)).version == 1
    await at.keep("production", template="Hi")
    assert (await at.prompt("greet", ttl=60)).version == 1
    fresh = At(at.house, AsyncExitStack(), at.client._url)
    assert (await fresh.prompt("greet", ttl=0)).version == 2
    await at.keep("production", template="Hey")
    assert (await fresh.prompt("greet", ttl=0)).version == 3
    assert (await fresh.prompt("greet", version=2)).text() == "Hi"


async def test_while_the_gateway_is_away_it_is_what_it_was_or_the_fallback(at: At) -> None:
    await at.prompt("greet", ttl=0)
    await at.goes_away()
    assert (await at.prompt("greet", ttl=0)).version == 1
    spare = await at.prompt("other", fallback="Say {{word}}")
    assert spare.is_fallback and spare.text(word="wow") == "Say wow"
    with pytest.raises(ValueError, match="the gateway was away"):
        spare.named(word="wow")
    with pytest.raises(TidegateRefused, match="is it running"):
        await at.prompt("other")


async def test_a_prompt_that_is_not_there_is_no_reason_for_the_fallback(at: At) -> None:
    with pytest.raises(TidegateRefused, match="did you mean 'greet'") as wrong:
        await at.prompt("gret", fallback="x")
    assert wrong.value.status == 404
