"""The first page: how it is going."""

from __future__ import annotations

from tests.console.browser.visit import Visitor


def test_it_shows_how_it_is_going_and_goes_on_by_itself(visitor: Visitor) -> None:
    visitor.house.ask("hello")
    page = visitor.came("/overview")
    page.wait_for_selector("text=as of 0 s ago")
    assert visitor.asked == ["GET /admin/overview/live"]
    visitor.see_nothing_wrong()
