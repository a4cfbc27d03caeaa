"""What was used, as a table in the terminal."""

from __future__ import annotations

import asyncio
import csv
import io
import sys

import pytest
from click.testing import CliRunner, Result

from tests.house import House
from tidegate.cli import main
from tidegate.cli.usage import BARS, sparkline


async def run(house: House, *words: str, key: str = "") -> Result:
    async with house.serve() as url:
        asked = ["usage", *words, "--url", url, "--key", key or house.key]
        return await asyncio.to_thread(CliRunner().invoke, main, asked)


async def test_a_table_has_a_row_for_each_the_dearest_first_and_their_sum(house):
    house.provider("main").always("hi", usage={"prompt_tokens": 1500, "completion_tokens": 250})
    for user in ("ann", "bob", "bob"):
        await house.ask(user=user)
    done = await run(house, "--by", "end_user", "--since", "2d")
    assert done.exit_code == 0, done.output
    head, bob, ann, whole = done.output.splitlines()
    assert head.split() == ["end_user", "calls", "errors", "input", "output", "cost"]
    assert bob.split()[:6] == ["bob", "2", "0", "3,000", "500", "$0.004000"]
    assert ann.split()[:6] == ["ann", "1", "0", "1,500", "250", "$0.002000"]
    assert whole.split()[:6] == ["all", "3", "0", "4,500", "750", "$0.006000"]
    assert bob.split()[6] == "▁▁█"


async def test_a_key_that_may_not_see_all_is_told_how_to_see_its_own(house):
    text, _ = await house.app.gateway.auth.create("another", "test", admin=False)
    await house.ask(key=text)
    refused = await run(house, key=text)
    assert refused.exit_code == 1 and "tidegate usage --own" in refused.output
    own = await run(house, "--own", key=text)
    assert own.output.splitlines()[1].split()[0] == "1"


async def test_nothing_used_is_a_table_too(house):
    done = await run(house)
    assert done.output.splitlines()[1].split()[:5] == ["0", "0", "0", "0", "$0.000000"]


async def test_a_csv_has_every_line_and_one_head(house, monkeypatch):
    for n in range(5):
        await house.ask(user=f"u{n}")
    monkeypatch.setattr(sys.modules["tidegate.cli.usage"], "PAGE", 2)
    done = await run(house, "--by", "end_user", "--csv")
    rows = list(csv.reader(io.StringIO(done.output)))
    assert [row[1] for row in rows] == ["end_user", "u0", "u1", "u2", "u3", "u4"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--by", "teem"), "there is no 'teem'"),
        (("--since", "yesterday"), "how long ago, such as 7d"),
        (("--zone", "Mars"), "no time zone 'Mars'"),
    ],
)
async def test_what_makes_no_sense_is_told_in_a_line(house, words, said):
    done = await run(house, *words)
    assert done.exit_code == 1 and said in done.output and "Traceback" not in done.output


def test_without_a_key_it_says_what_to_do(monkeypatch):
    for name in ("TIDEGATE_KEY", "TIDEGATE_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(main, ["usage"])
    assert done.exit_code == 1 and "a key is needed" in done.output


def test_a_sparkline_is_as_high_as_its_highest_and_never_too_long():
    assert sparkline([0, 1, 7, 14]) == BARS[0] + BARS[0] + BARS[3] + BARS[7]
    assert sparkline([0, 0]) == BARS[0] * 2 and sparkline([]) == ""
    assert len(sparkline([1] * 1000)) == 40
