"""Alerts and the log's level from a terminal."""

from __future__ import annotations

import asyncio

from click.testing import CliRunner, Result

from tests.house import TWO_PROVIDERS, House
from tests.telemetry.receiver import receiving
from tidegate.cli import main


async def run(url: str, house: House, *words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, [*words, "--url", url, "--key", house.key])


async def test_who_is_told_is_listed_tested_and_silenced(build_house):
    async with receiving("/hook?token=hidden") as (heard, url):
        house = await build_house(f'alerts: {{webhooks: [{{url: "{url}", secret: s}}]}}\n{TWO_PROVIDERS}')
        async with house.serve() as gateway:
            tested = await run(gateway, house, "alerts", "test")
            silenced = await run(gateway, house, "alerts", "silence", "loop_stopped", "--for", "2h")
            house.app.world.events.notice("loop_stopped", {"key": "k"})
            listed = await run(gateway, house, "alerts", "list")
            ended = await run(gateway, house, "alerts", "silence", "loop_stopped", "--end")
            heard.answers = [500]
            failed = await run(gateway, house, "alerts", "test")
    assert tested.exit_code == 0 and "taken" in tested.output and len(heard.heard) == 2
    assert "nobody is told of loop_stopped until 2026-" in silenced.output
    assert "silenced: loop_stopped until" in listed.output and "silenced  Tidegate: loop_stopped" in listed.output
    assert "hidden" not in listed.output, "whoever knows the address may write there"
    assert ended.output == "loop_stopped is told of again\n"
    assert failed.exit_code == 1 and "not taken: it answers 500" in failed.output


async def test_the_level_of_the_log_is_changed_for_a_while(house):
    async with house.serve() as gateway:
        first = await run(gateway, house, "logs", "level")
        second = await run(gateway, house, "logs", "level", "debug", "--for", "10m")
        third = await run(gateway, house, "logs", "level", "--reset")
        wrong = await run(gateway, house, "logs", "level", "loud")
    assert first.output == "info, as it is configured\n"
    assert second.output.startswith("debug until 2026-")
    assert third.output == "info, as it is configured\n"
    assert wrong.exit_code == 2
