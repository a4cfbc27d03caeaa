"""The newcomer's walk: open it, log in, ask, find the call, see what it cost."""

from __future__ import annotations

from tests.console.browser.visit import Visitor


def test_a_newcomer_asks_finds_the_call_and_sees_its_cost(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(visitor.house.url)  # the address that a start prints
    visitor.log_in()
    page.wait_for_selector("h1:has-text('Overview')")
    page.locator("nav").get_by_role("link", name="Playground").click()
    page.get_by_label("Message", exact=True).fill("Say hello.")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".cost:has-text('$')")
    shown = page.locator(".cost").inner_text()
    page.get_by_role("link", name="Look at this call").click()
    page.wait_for_selector("h1:has-text('One call')")
    assert shown != "$0" and page.get_by_text(f"· {shown}").count() == 1
    page.locator("nav").get_by_role("link", name="Requests").click()
    page.wait_for_selector(f"tbody tr:has-text('{shown}')")
    visitor.see_nothing_wrong()


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
