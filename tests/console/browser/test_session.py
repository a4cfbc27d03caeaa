"""Logging in, staying, and being asked again without losing what was typed."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.console.browser.visit import House, Visitor


def test_one_logs_in_and_out_without_scripts(browser: Browser, house: House) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{house.url}/console/overview")
    page.get_by_label("A key").fill("tg_live_wrong")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("text=this API key is not valid")
    page.get_by_label("A key").fill(house.key)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("nav a[aria-current=page]:has-text('Overview')")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_selector("text=A key, or a token")
    context.close()


def test_a_session_that_ends_while_one_types_loses_nothing(visitor: Visitor) -> None:
    page = visitor.came("/playground")
    page.get_by_label("Message", exact=True).fill("half of a thought")
    visitor.context.clear_cookies()
    page.get_by_role("button", name="Ask").click()
    page.wait_for_selector("dialog:has-text('Your session has ended')")
    page.locator("dialog").get_by_label("A key").fill(visitor.house.key)
    page.locator("dialog").get_by_role("button", name="Log in").click()
    page.wait_for_selector(".cost:has-text('$')")
    assert page.get_by_label("Message", exact=True).input_value() == "half of a thought"
    visitor.wrong = [one for one in visitor.wrong if "401" not in one]
    visitor.see_nothing_wrong()
