"""Calls in a terminal: a table, one with its waterfall, and those that end."""

from __future__ import annotations

import asyncio
import json
import sys

from click.testing import CliRunner, Result

from tests.house import TWO_PROVIDERS, House
from tidegate.cli import main


async def run(house: House, *words: str, key: str = "") -> Result:
    async with house.serve() as url:
        asked = ["requests", *words, "--url", url, "--key", key or house.key]
        return await asyncio.to_thread(CliRunner().invoke, main, asked)


async def test_a_table_has_a_line_for_each_call(house):
    house.provider("main").always("hi", usage={"prompt_tokens": 1500, "completion_tokens": 250})
    reply = await house.ask(user="ann")
    done = await run(house, "list", "--end-user", "ann")
    assert done.exit_code == 0, done.output
    head, line = done.output.splitlines()
    assert head.split() == ["at", "id", "route", "target", "outcome", "took", "tokens", "cost"]
    assert reply.id in line and "1,500→250" in line and "$0.002000" in line and "main/m" in line


async def test_nothing_found_says_nothing_and_is_no_mistake(house):
    done = await run(house, "list", "--end-user", "nobody")
    assert (done.exit_code, done.output) == (0, "")


async def test_pages_are_one_list(house, monkeypatch):
    ids = {(await house.ask()).id for _ in range(5)}
    monkeypatch.setattr(sys.modules["tidegate.cli.requests"], "PAGE", 2)
    done = await run(house, "list", "--json")
    assert {json.loads(line)["id"] for line in done.output.splitlines()} == ids
    assert len((await run(house, "list", "--json", "--most", "3")).output.splitlines()) == 3


async def test_one_call_is_shown_with_every_attempt(house):
    house.provider("main").says(status=503)
    house.provider("main").says("hello")
    reply = await house.ask()
    done = await run(house, "show", reply.id)
    assert done.exit_code == 0, done.output
    assert "outcome    ok (200)" in done.output and " a test\n" in done.output
    tries = [line for line in done.output.splitlines() if "main/m" in line and "answered" not in line]
    assert len(tries) == 2 and "503" in tries[0] and " again " in tries[1] and tries[1].endswith("ok 200")


async def test_a_call_that_is_not_there_is_told_in_a_line(house):
    done = await run(house, "show", "req_0")
    assert done.exit_code == 1 and "there is no request 'req_0'" in done.output


async def test_a_name_that_would_move_the_cursor_does_not(house):
    await house.ask(route="fast\x1b[2J")
    done = await run(house, "list")
    assert "\x1b" not in done.output and "\\x1b" in done.output


async def test_calls_are_told_as_they_end_until_the_gateway_leaves(house):
    await house.get("/admin/requests")  # which loads the pages
    async with house.serve() as url:
        asked = ["requests", "tail", "--json", "--seconds", "86400", "--url", url, "--key", house.key]
        heard = asyncio.create_task(asyncio.to_thread(CliRunner().invoke, main, asked))
        for _ in range(50):
            await house.ask(user="ann")
            await asyncio.sleep(0.02)  # time goes on only where there is nothing to do
    async with asyncio.timeout(20):
        lines = (await heard).output.splitlines()
    assert lines and {json.loads(line)["user"] for line in lines} == {"ann"}


async def test_two_answers_stand_side_by_side(build_house):
    kept = "    store: {prompts: true, replies: true}\n"
    other = "  other: {targets: [{provider: spare, model: n}]}\n"
    house = await build_house(TWO_PROVIDERS + kept + other)
    house.provider("main").says("from main\x1b[2J")
    house.provider("spare").says("from spare")
    done = await run(house, "replay", (await house.ask()).id, "--route", "other")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert next(line for line in lines if line.startswith("answered")).split() == ["answered", "main/m", "spare/n"]
    assert lines[-3:] == ["", "--- now", "from spare"] and "\x1b" not in done.output
    missing = await run(house, "replay", "req_0", "--route", "other")
    assert missing.exit_code == 1 and "there is no request 'req_0'" in missing.output
