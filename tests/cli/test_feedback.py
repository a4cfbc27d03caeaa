"""What an answer was worth, said in a terminal."""

from __future__ import annotations

import asyncio

from click.testing import CliRunner, Result

from tests.house import House
from tidegate.cli import main


async def run(house: House, *words: str) -> Result:
    async with house.serve() as url:
        return await asyncio.to_thread(CliRunner().invoke, main, [*words, "--url", url, "--key", house.key])


async def test_an_opinion_is_said_and_shown_with_its_call(house):
    reply = await house.ask()
    said = await run(house, "feedback", reply.id, "--down", "--label", "wrong_language", "--not-completed")
    assert said.exit_code == 0, said.output
    shown = await run(house, "requests", "show", reply.id)
    assert "user       says: score 0.0, label wrong_language, task_completed False" in shown.output


async def test_what_is_refused_is_told_in_a_line(house):
    refused = await run(house, "feedback", "req_0", "--up")
    assert refused.exit_code == 1 and "there is no request 'req_0'" in refused.output
