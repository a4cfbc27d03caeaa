"""An experiment from a terminal: started, looked at, moved on, ended, and computed again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from click.testing import CliRunner, Result

from tests.house import House
from tidegate.cli import main
from tidegate.core.experiments import read

SPEC = {"name": "shorter", "route": "fast", "arms": [{"name": "a", "target": "spare/m"}], "ramp": ["20%", "50%"]}


async def run(url: str, house: House, *words: str) -> Result:
    asked = ["experiments", *words, "--url", url, "--key", house.key]
    return await asyncio.to_thread(CliRunner().invoke, main, asked)


async def test_it_is_started_looked_at_and_ended(house: House, tmp_path: Path) -> None:
    await house.app.gateway.experiments.desk.make(read(SPEC), "key")
    page = tmp_path / "shorter.html"
    async with house.serve() as url:
        started = await run(url, house, "start", "shorter", "--why", "too long")
        for number in range(40):
            await house.ask(user=f"user {number}")
        shown = await run(url, house, "show", "shorter")
        drawn = await run(url, house, "show", "shorter", "--html", str(page))
        advanced = await run(url, house, "advance", "shorter")
        wrong = await run(url, house, "advance", "shorter")
        promoted = await run(url, house, "promote", "shorter", "--arm", "a")
        taken_back = await run(url, house, "rollback", "shorter", "--why", "complaints")
        again = await run(url, house, "recompute", "shorter")
        stopped = await run(url, house, "stop", "shorter")
    assert started.output == "shorter: running, stage 1\nyou can: advance, promote, rollback, stop\n"
    assert shown.output.startswith("shorter: running at stage 1 of 2, 20 % of units\n  why: too long\n")
    assert "what would change this:" in shown.output and "error_rate" in shown.output
    assert drawn.exit_code == 0 and "Effects over time" in page.read_text()
    assert advanced.output.startswith("shorter: running, stage 2")
    assert wrong.exit_code == 1 and "it can: promote, rollback, stop" in wrong.output
    assert promoted.output.startswith("shorter: promoted") and taken_back.output == "shorter: rolled_back, stage 2\n"
    assert again.exit_code == 0 and "a person wanted it: rollback" in again.output
    assert stopped.exit_code == 1 and "it has ended; begin another one" in stopped.output


async def test_one_that_is_not_there_and_a_page_that_cannot_be_written_say_so(house: House, tmp_path: Path) -> None:
    await house.app.gateway.experiments.desk.make(read(SPEC), "key")
    async with house.serve() as url:
        absent = await run(url, house, "show", "longer")
        unwritten = await run(url, house, "show", "shorter", "--html", str(tmp_path / "no" / "page.html"))
    assert absent.exit_code == 1 and "there is no experiment 'longer'" in absent.output
    assert unwritten.exit_code == 1 and "cannot write" in unwritten.output
