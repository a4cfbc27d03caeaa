"""The SDKs of both vendors, their own retries off, and answers that break off: a part of the matrix of faults."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from tests import faults
from tests.house import Build, House
from tests.parts import client, client_python
from tests.rawserver import serving

SCRIPT = Path(__file__).with_name("broken_streams.py")
Dialect = Literal["openai", "anthropic"]
DIALECTS: tuple[Dialect, ...] = ("openai", "anthropic")
BROKEN = ("cut", "connection_reset", "half_close", "malformed_frame", "error_frame", "garbage_body", "wrong_dialect")

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def house(build_house: Build) -> AsyncIterator[House]:
    """A route for each fault, moment and dialect of the provider: cut-after-openai; `…-alone` has no other target."""
    providers, routes = [], []
    async with AsyncExitStack() as stack:
        for fault in BROKEN:
            for after in (False, True):
                for dialect in DIALECTS:
                    server = await stack.enter_async_context(serving())
                    server.script = faults.script(fault, dialect, stream=True, after=after)
                    url = server.url + ("/v1" if dialect == "openai" else "")
                    name = f"{fault}-{'after' if after else 'before'}-{dialect}"
                    main = f"{{provider: {name}, model: m}}"
                    providers.append(f'  {name}: {{type: {dialect}, base_url: "{url}"}}')
                    routes.append(f"  {name}: {{targets: [{main}, {{provider: spare, model: m, order: 2}}]}}")
                    routes.append(f"  {name}-alone: {{targets: [{main}]}}")
        yield await build_house(
            "logs: {calls: false}\nupstream: {retry: {tries: 2}}\nproviders:\n  spare: {type: scripted}\n"
            + "\n".join([*providers, "routes:", *routes])
        )


class Told(NamedTuple):
    text: str
    error: str | None
    code: str | None


async def told(house: House, sdk: Dialect, models: list[str]) -> dict[str, Told]:
    """What the SDK made of a streamed answer of each model."""
    house.provider("spare").always("from the spare")
    async with house.serve() as url:
        environment = {**os.environ, "URL": url, "KEY": house.key}
        done = await asyncio.to_thread(
            subprocess.run,
            [client_python(sdk), SCRIPT, sdk],
            input=json.dumps([(model, True) for model in models]),
            capture_output=True,
            text=True,
            env=environment,
            timeout=100,
        )
    assert done.returncode == 0, done.stderr
    return dict(zip(models, (Told(**one) for one in json.loads(done.stdout)), strict=True))


def named(moment: str, ending: str = "") -> list[str]:
    return [f"{fault}-{moment}-{dialect}{ending}" for fault in BROKEN for dialect in DIALECTS]


SDKS = [pytest.param(sdk, marks=client(sdk)) for sdk in DIALECTS]


@pytest.mark.parametrize("sdk", SDKS)
async def test_what_breaks_before_the_first_event_is_not_noticed(house: House, sdk: Dialect) -> None:
    heard = await told(house, sdk, named("before"))
    assert set(heard.values()) == {("from the spare", None, None)}


@pytest.mark.parametrize("sdk", SDKS)
async def test_where_nobody_is_left_the_sdk_raises_what_it_raises_for_a_server_that_fails(
    house: House, sdk: Dialect
) -> None:
    heard = await told(house, sdk, named("before", "-alone"))
    assert set(heard.values()) == {("", "InternalServerError", "upstream_failed")}


@pytest.mark.parametrize("sdk", SDKS)
async def test_what_breaks_after_it_is_raised_once_what_came_was_heard(house: House, sdk: Dialect) -> None:
    heard = await told(house, sdk, named("after"))
    for model, said in heard.items():
        assert (said.text, said.code) == ("hel", "upstream_cut_off"), model
        assert said.error in ("APIError", "APIStatusError", "InternalServerError"), model
