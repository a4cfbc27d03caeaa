"""How fast, how good and how dear: as text, and as a page that needs nothing else."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from pathlib import Path

from click.testing import CliRunner, Result

from tests.house import House
from tidegate.cli import main


async def run(house: House, *words: str, key: str = "") -> Result:
    async with house.serve() as url:
        asked = ["report", *words, "--url", url, "--key", key or house.key]
        return await asyncio.to_thread(CliRunner().invoke, main, asked)


async def test_a_report_has_a_line_for_each_number_that_is_known(house):
    house.provider("main").always("hi", usage={"prompt_tokens": 1500, "completion_tokens": 250})
    for user in ("ann", "bob"):
        await house.ask(user=user)
    done = await run(house)
    assert done.exit_code == 0, done.output
    told = {line[:36].strip(): line[36:].split() for line in done.output.splitlines()[1:]}
    assert told["Calls"][0] == "2" and told["Answered"][0] == "100.0%" and told["End users"][0] == "2"
    assert told["Cost"][0] == "$0.004000" and told["Calls"][1].endswith("█")
    assert "Sessions" in told and "Content, of those who said" not in told, "what nobody said is not shown as 0"


async def test_a_page_has_charts_and_fetches_nothing(house, tmp_path: Path):
    await house.ask()
    page = tmp_path / "month.html"
    done = await run(house, "--html", str(page))
    assert done.exit_code == 0, done.output
    seen: list[tuple[str, list[tuple[str, str | None]]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, attrs))

    Tags().feed(page.read_text())
    assert sum(tag == "figure" for tag, _ in seen) >= 8 and any(tag == "rect" for tag, _ in seen)
    assert not {tag for tag, _ in seen} & {"script", "link", "img", "iframe"}
    assert not [name for _, attrs in seen for name, _ in attrs if name in ("src", "href")]


async def test_a_page_that_cannot_be_written_says_why(house, tmp_path: Path):
    done = await run(house, "--html", str(tmp_path / "none" / "page.html"))
    assert done.exit_code == 1 and "cannot write" in done.output


async def test_nothing_that_happened_is_a_report_too(house):
    assert (await run(house)).exit_code == 0
