"""The newcomer's walk, from ./run: open the printed address, log in, ask, find the call, see what it cost.

The pictures of docs/guides/console.md are taken here: TIDEGATE_SCREENSHOTS=docs/guides/console.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.console.browser.visit import Visitor, serving
from tests.parts import ROOT

GUIDE = ROOT / "docs" / "guides" / "console.md"
CONFIG = """
providers:
  main:
    type: scripted
    price: {input: 0.15, output: 0.6}
    script: {text: "Hello! The tide comes in twice a day, and goes out as often."}
routes: {fast: {targets: [{provider: main, model: small}], store: {prompts: true, replies: true}}}
"""
QUESTION = "Say hello, and one thing about the tide."


@pytest.mark.skipif(os.name == "nt", reason="./run is started otherwise there")
def test_a_newcomer_asks_finds_the_call_and_sees_its_cost(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG, start=(str(ROOT / "run"),), key="") as house:
        context = browser.new_context(
            locale="en-GB", timezone_id="Europe/Berlin", viewport={"width": 1100, "height": 670}
        )
        visitor = Visitor(context, house)
        page = visitor.page
        page.goto(house.url)  # the address that a start prints
        visitor.picture("login")
        visitor.log_in()
        page.wait_for_selector("h1:has-text('Overview')")
        page.locator("nav").get_by_role("link", name="Playground").click()
        page.get_by_label("Message", exact=True).fill(QUESTION)
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(".cost:has-text('$')")
        shown = page.locator(".cost").inner_text()
        assert shown != "$0"
        visitor.picture("playground")
        page.locator("nav").get_by_role("link", name="Requests").click()
        page.wait_for_selector(f"tbody tr:has-text('{shown}')")
        visitor.picture("requests")
        page.locator("tbody tr a").first.click()
        page.wait_for_selector("h1:has-text('One call')")
        assert page.get_by_text(f"· {shown}").count() == 1
        visitor.picture("call")
        page.locator("nav").get_by_role("link", name="Overview").click()
        page.wait_for_selector("h1:has-text('Overview')")
        visitor.picture("overview")
        visitor.see_nothing_wrong()
        context.close()


def test_the_guide_shows_the_pictures_that_are_taken_here_and_they_are_small() -> None:
    taken = set(re.findall(r'picture\("(\w+)"\)', Path(__file__).read_text("utf-8")))
    shown = re.findall(r"!\[[^\]]+\]\(console/(\w+)\.png\)", GUIDE.read_text("utf-8"))
    assert set(shown) == taken
    assert sum((GUIDE.parent / "console" / f"{name}.png").stat().st_size for name in shown) < 300_000
