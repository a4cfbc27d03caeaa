"""Experiments from a terminal."""

from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner, Result

from tests.house import House
from tidegate.cli import main

SHORTER = """
name: shorter
route: fast
arms: [{name: b, target: spare/n}]
ramp: [5%, 100%]
primary: {metric: satisfaction, margin: 0.05}
"""


async def run(url: str, house: House, *words: str) -> Result:
    told = ["experiments", *words, "--url", url, "--key", house.key]
    return await asyncio.to_thread(CliRunner().invoke, main, told)


async def test_one_is_made_listed_looked_at_and_put_away(house, tmp_path):
    file = tmp_path / "shorter.yaml"
    file.write_text(SHORTER)
    async with house.serve() as url:
        empty = await run(url, house, "list")
        made = await run(url, house, "new", str(file))
        again = await run(url, house, "new", str(file))
        listed = await run(url, house, "list")
        all_of_it = await run(url, house, "list", "--json")
        unit = await run(url, house, "assign", "shorter", "--user", "ann")
        gone = await run(url, house, "archive", "shorter")
        archived = await run(url, house, "list", "--all")
    assert "nothing is tried" in empty.output
    assert made.exit_code == 0 and "know that primary.metric: nothing is known of satisfaction" in made.output
    assert "tidegate experiments start shorter" in made.output
    assert again.exit_code == 1 and "there is an experiment 'shorter' already" in again.output
    assert listed.output.startswith("shorter") and "draft" in listed.output
    assert json.loads(all_of_it.output)[0]["spec"]["ramp"] == [0.05, 1.0]
    assert unit.output.startswith("ann: takes no part; the experiment is draft; running, it would have ")
    assert "its decisions stay" in gone.output and "archived" in archived.output


async def test_what_cannot_be_read_or_is_wrong_says_so(house, tmp_path):
    files = {"list.yaml": "- a", "broken.yaml": "{", "wrong.yaml": SHORTER.replace("fast", "fats")}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    async with house.serve() as url:
        said = {name: (await run(url, house, "new", str(tmp_path / name))).output for name in files}
        nobody = await run(url, house, "assign", "shorter")
    assert "must be keys and values" in said["list.yaml"] and "cannot be read" in said["broken.yaml"]
    assert "route: no model 'fats'; did you mean 'fast'?" in said["wrong.yaml"]
    assert nobody.exit_code == 1 and "say whom" in nobody.output
