"""Where does everything meet?"""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.house import TWO_PROVIDERS, Asking, unbounded, until
from tidegate import config
from tidegate.app import build
from tidegate.core.errors import ConfigError
from tidegate.providers.transport.aiohttp import AiohttpTransport


def changed(house, *pairs: tuple[str, str]) -> config.Config:
    text = TWO_PROVIDERS
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    given = {"TIDEGATE_API_PORT": "0", "TIDEGATE_STORAGE_DATA_DIR": house.app.config.storage.data_dir}
    return unbounded(config.parse(text, given), text)


async def test_a_new_route_can_be_asked_for_after_a_reload(house):
    assert (await house.ask(route="quick")).status == 404
    await house.app.reload(changed(house, ("fast:", "quick:")))
    assert (await house.ask(route="quick")).status == 200
    assert (await house.ask(route="fast")).status == 404


async def test_a_call_under_way_finishes_as_it_began(house):
    house.provider("main").says(["one ", "two"], between=60.0)
    house.clock.hold()
    asking = house.begin(stream=True)
    await asking.heard("one")
    before = house.provider("main")
    await house.app.reload(changed(house, ("{input: 1, output: 2}", "{input: 7, output: 7}")))
    assert house.provider("main") is not before
    await house.clock.advance(600.0)
    reply = await asking.reply()
    assert reply.text == "one two" and reply.row.outcome == "ok"
    assert reply.row.attempts[0].price["rates"] == {"input": 1_000_000_000, "output": 2_000_000_000}
    await until(lambda: not before.address)  # what the old configuration had is ended, now that nobody uses it


async def test_so_does_one_whose_body_is_still_on_its_way(house, monkeypatch):
    more = asyncio.Event()

    class Slow(Asking):
        async def _receive(self):
            message = await super()._receive()
            await more.wait()
            return message

    monkeypatch.setattr("tests.house.Asking", Slow)
    asking = house.begin()
    await until(lambda: house.app.world.calls)
    before = house.provider("main")
    await house.app.reload(changed(house, ("{input: 1, output: 2}", "{input: 7, output: 7}")))
    more.set()
    reply = await asking.reply()
    assert reply.attempts == ["main: ok"] and reply.row.attempts[0].price["rates"]["input"] == 1_000_000_000
    await until(lambda: not before.address)


async def test_a_provider_that_did_not_change_is_kept(house):
    before = house.app.gateway.providers["spare"]
    await house.app.reload(changed(house, ("{input: 1, output: 2}", "{input: 7, output: 7}")))
    assert house.app.gateway.providers["spare"] is before
    assert house.app.gateway.world is house.app.world


@pytest.mark.parametrize(
    "wrong", [("provider: spare", "provider: spar"), ("targets:", "aliases: [fast]\n    targets:")]
)
async def test_a_bad_configuration_changes_nothing_and_says_why(house, wrong):
    before = house.app.gateway
    with pytest.raises(ConfigError, match=r"spar|taken"):
        await house.app.reload(changed(house, wrong))
    assert house.app.gateway is before
    assert (await house.ask()).status == 200


async def test_what_the_house_is_built_on_cannot_change_while_it_serves(house):
    text = TWO_PROVIDERS + "api: {port: 1}\n"
    with pytest.raises(ConfigError, match="api: cannot change while serving"):
        await house.app.reload(config.parse(text, {}))


async def test_ten_reloads_under_load_and_no_call_fails_or_waits(house):
    slowest = 0.0
    stop = False

    async def client() -> int:
        nonlocal slowest
        calls = 0
        while not stop:
            began = time.perf_counter()
            reply = await house.ask(stream=calls % 2 == 0)
            slowest = max(slowest, time.perf_counter() - began)
            assert reply.status == 200 and not reply.error, reply.body
            calls += 1
        return calls

    clients = [asyncio.create_task(client()) for _ in range(8)]
    for turn in range(10):
        await asyncio.sleep(0.03)
        if turn % 3 == 2:
            with pytest.raises(ConfigError):
                await house.app.reload(changed(house, ("provider: spare", "provider: spar")))
        else:
            price = f"{{input: {turn + 1}, output: 2}}"
            await house.app.reload(changed(house, ("{input: 1, output: 2}", price)))
    stop = True
    calls = sum(await asyncio.gather(*clients))
    print(f"\n{calls} calls over ten reloads, the slowest {slowest * 1000:.0f} ms")
    assert len(await house.rows()) == calls


async def test_when_the_house_cannot_be_built_nothing_is_left_running(tmp_path):
    (tmp_path / "tidegate.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    given = {"TIDEGATE_STORAGE_DATA_DIR": str(tmp_path)}
    before = asyncio.all_tasks()
    with pytest.raises(ConfigError, match=r"tidegate\.sqlite"):
        await build(config.parse(TWO_PROVIDERS, given), given)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    "key", ["short", "with blanks in it, so it cannot be sent", "schlüssel-mit-umlauten-und-länge"]
)
async def test_an_admin_key_of_the_environment_that_is_weak_or_cannot_be_sent_is_refused(tmp_path, key):
    given = {"TIDEGATE_STORAGE_DATA_DIR": str(tmp_path), "TIDEGATE_ADMIN_KEY": key}
    with pytest.raises(ConfigError, match="TIDEGATE_ADMIN_KEY: at least 20"):
        await build(config.parse(TWO_PROVIDERS, given), given)


async def test_a_house_asks_its_providers_by_aiohttp_when_told_to(build_house):
    house = await build_house("transport: {kind: aiohttp}\nproviders: {main: {type: scripted}}\nlogs: {calls: false}")
    assert isinstance(house.app.world.transport, AiohttpTransport)
    for stream in (False, True):
        house.provider("main").says("hello there")
        assert (await house.ask("hi", model="main/m", stream=stream)).text == "hello there"


async def test_processes_count_together_where_a_valkey_is_configured(build_house, valkey):
    house = await build_house(f"storage: {{valkey: '{valkey.url}', valkey_timeout: 5s}}\n{TWO_PROVIDERS}")
    assert await house.app.world.counters.lease("probe", "house", 10)
    assert b"tidegate:lease:probe" in valkey.ask("KEYS", "*")


async def test_a_valkey_that_is_not_there_keeps_nobody_from_starting(build_house):
    house = await build_house(f"storage: {{valkey: 'valkey://127.0.0.1:1'}}\n{TWO_PROVIDERS}")
    assert (await house.ask("hi")).status == 200


async def test_a_url_that_is_none_is_refused_at_the_start(build_house):
    with pytest.raises(ConfigError, match=r"storage\.valkey: a URL is needed"):
        await build_house(f"storage: {{valkey: 'localhost'}}\n{TWO_PROVIDERS}")
