"""The first page: how it is going."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.console.browser.visit import Visitor, serving, window

ONE_ROUTE = """
providers: {main: {type: scripted, price: {input: 10, output: 20}}}
routes: {fast: {targets: [{provider: main, model: m}]}}
"""
DRAWN = """() => {
  const box = [...document.querySelectorAll("figure")].find((one) => one.textContent.includes("P95"));
  const canvas = box.querySelector("canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let blue = 0;
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 200 && data[at + 2] > data[at] + 80) blue += 1;
  return blue;
}"""


def test_it_shows_how_it_is_going_and_goes_on_by_itself(visitor: Visitor) -> None:
    visitor.house.ask("hello")
    page = visitor.came("/overview")
    page.wait_for_selector("text=as of 0 s ago")
    assert visitor.asked == ["GET /admin/overview/live"]
    visitor.see_nothing_wrong()


@pytest.mark.parametrize("width", [1100, 1280])
def test_a_single_call_is_seen_in_a_line_that_has_no_other(browser: Browser, tmp_path: Path, width: int) -> None:
    with serving(tmp_path, ONE_ROUTE) as house, window(browser, house) as visitor:
        visitor.page.set_viewport_size({"width": width, "height": 700})
        page = visitor.came("/overview")
        page.wait_for_selector("figure canvas")
        assert page.evaluate(DRAWN) == 0
        house.ask("hello")
        for _ in range(300):
            if page.evaluate(DRAWN) > 8:
                return
            page.wait_for_timeout(100)
        raise AssertionError("the call is in no chart")
