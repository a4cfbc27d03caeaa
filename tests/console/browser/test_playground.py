"""One question to one route, or to two."""

from __future__ import annotations

from tests.console.browser.visit import Visitor


def test_two_routes_answer_side_by_side(visitor: Visitor) -> None:
    page = visitor.came("/playground?route=fast&second=dear")
    assert visitor.asked == ["GET /v1/models"]
    page.get_by_label("Message", exact=True).fill("Say hello.")
    page.get_by_role("button", name="Ask").click()
    page.locator(".cost:has-text('$')").nth(1).wait_for()
    assert page.locator(".answer h2").all_inner_texts() == ["fast", "dear"]
    visitor.see_nothing_wrong()


def test_what_is_no_json_is_told_before_anything_is_asked(visitor: Visitor) -> None:
    page = visitor.came("/playground")
    page.get_by_text("More parameters").click()
    page.get_by_label("Tools, as JSON").fill("{")
    page.get_by_role("button", name="Ask").click()
    page.wait_for_selector("text=this is no JSON")
    assert visitor.asked == ["GET /v1/models"]
