"""tidegate cache: what is said to a gateway that runs, and what is shown of its answers."""

from __future__ import annotations

import asyncio

import pytest
from click.testing import CliRunner

from tests.house import Build, House
from tests.stages.cache.test_cache import CACHED, cache_of
from tidegate.cli import main


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(CACHED)


async def said(house: House, *words: str, good: bool = True) -> str:
    async with house.serve() as url:
        run = ["cache", *words, "--url", url, "--key", house.key]
        result = await asyncio.to_thread(CliRunner().invoke, main, run)
    assert (result.exit_code == 0) is good, result.output
    return result.output


async def test_answers_are_dropped_by_what_they_belong_to(house: House):
    await house.ask()
    assert await said(house, "purge", "--route", "other") == "dropped 0 answers\n"
    assert await said(house, "purge", "--route", "fast") == "dropped 1 answers\n"
    house.app.world.closing.clear()
    assert cache_of(await house.ask())[0] == "miss"


@pytest.mark.parametrize("words", [(), ("--route", "a", "--all")])
async def test_a_purge_wants_to_know_what(house: House, words: tuple[str, ...]):
    assert "say what to drop" in await said(house, "purge", *words, good=False)


async def test_the_report_has_a_line_for_each_day_and_route(house: House):
    for _ in range(3):
        await house.ask()
    lines = (await said(house, "report")).splitlines()
    found = [(line.split()[1:3], int(line.split()[3])) for line in lines]
    assert sorted(found) == [(["fast", "hit"], 2), (["fast", "miss"], 1)]


async def test_of_what_was_never_given_nobody_can_say_that_it_was_wrong(house: House):
    assert "no route has a semantic cache" in await said(house, "wrong", "req_1", good=False)
