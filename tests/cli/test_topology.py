"""tidegate topology: who serves, whether they agree, and an exit code for those who watch."""

from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner, Result
from msgspec.structs import replace

from tests.house import TWO_PROVIDERS, Build, until
from tests.postgres import Server
from tidegate.cli import main


async def run(url: str, key: str, *words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, ["topology", *words, "--url", url, "--key", key])


async def test_one_alone_agrees_with_itself_and_writes_nothing(build_house: Build) -> None:
    house = await build_house(TWO_PROVIDERS)
    async with house.serve() as url:
        found = await run(url, house.key)
    assert found.exit_code == 0 and "1/1" in found.output and found.output.endswith("they agree\n")
    assert await house.app.presence._processes.seen() == []


async def test_several_that_share_a_database_know_of_each_other(build_house: Build, postgres: str) -> None:
    house = await build_house(f"storage: {{database: '{postgres}'}}\n{TWO_PROVIDERS}")
    presence = house.app.presence
    other = replace(presence._own, id="other", host="south", counts_in="valkey.south:6379", seen_ms=house.app.now_ms())
    await presence._processes.tell(other)
    async with house.serve() as url:
        found, whole = await run(url, house.key), json.loads((await run(url, house.key, "--json")).output)
    assert found.exit_code == 1 and "south 1/1" in found.output
    assert "name one server for all of them" in found.output
    assert [one["id"] for one in whole["processes"]] and len(whole["processes"]) == 2


async def test_what_differs_is_told_once_and_keeps_nobody_from_being_ready(build_house: Build, postgres: str) -> None:
    house = await build_house(f"storage: {{database: '{postgres}'}}\n{TWO_PROVIDERS}")
    presence, told = house.app.presence, list[str]()
    await presence._processes.tell(replace(presence._own, id="first", seen_ms=house.app.now_ms()))
    await presence.aclose()
    presence.start()  # as a second one
    await until(lambda: presence.differs)
    found = await house.get("/ready", key="none")
    said = "storage.valkey: not alike in all that serve; tidegate topology says where"
    assert (found.status, found.events[0]["differs"]) == (200, said)
    presence._notice = lambda name, fields: told.append(f"{name} {fields.get('error', '')}"[:42])
    other = replace(presence._own, id="other", host="south", keks=("k2",))
    for there in ([presence._own, other], [presence._own, other], [presence._own]):
        presence._compare(there)
    assert told == ["processes_differ vault.keys is not the sam", "processes_agree "]
    assert "differs" not in (await house.get("/ready", key="none")).events[0]


async def test_who_has_no_key_is_told_to_make_one() -> None:
    found = await asyncio.to_thread(CliRunner().invoke, main, ["topology"])
    assert found.exit_code == 1 and "a key is needed" in found.output


async def test_a_reload_needs_no_database_to_say_so(build_house: Build, postgres_server: Server) -> None:
    url = postgres_server.new_database()
    house = await build_house(f"storage: {{database: '{url}', database_timeout: 1s}}\n{TWO_PROVIDERS}")
    before = house.app.gateway
    await asyncio.to_thread(postgres_server.stop)
    await house.app.reload(house.app.config)
    assert house.app.gateway is not before
    await asyncio.to_thread(postgres_server.start)
