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


def test_an_edit_goes_on_where_it_was_when_the_session_has_ended(visitor: Visitor) -> None:
    page = visitor.came("/keys")
    page.get_by_text("A new key").click()
    page.get_by_label("Name").fill("made by two sessions")
    page.get_by_label("Role").select_option("viewer")
    page.get_by_label("Good for").fill("90d")
    visitor.context.clear_cookies()
    page.get_by_role("button", name="Create").click()
    dialog = page.locator("dialog:has-text('Your session has ended')")
    dialog.get_by_label("A key").fill("tg_live_wrong")
    dialog.get_by_role("button", name="Log in").click()
    dialog.get_by_text("this API key is not valid").wait_for()
    page.keyboard.press("Escape")
    dialog.get_by_label("A key").fill(visitor.house.key)
    dialog.get_by_role("button", name="Log in").click()
    page.wait_for_selector("text=this once")
    assert (page.get_by_label("Name").input_value(), page.get_by_label("Role").input_value()) == (
        "made by two sessions",
        "viewer",
    )
    assert page.get_by_label("Good for").input_value() == "90d"
    made = [one for one in visitor.house.call("/admin/keys") if one["name"] == "made by two sessions"]
    assert [one["role"] for one in made] == ["viewer"]
    visitor.wrong = [one for one in visitor.wrong if "401" not in one]
    visitor.see_nothing_wrong()


def test_who_may_not_see_a_page_is_told_so_and_what_to_do(visitor: Visitor) -> None:
    made = visitor.house.call("/admin/keys", {"name": "a member", "role": "member"})
    visitor.open("/targets")
    page = visitor.log_in(made["key"])
    page.wait_for_selector("main .notice:has-text('tidegate keys change')")
    assert page.locator("main table").count() == 0 and page.locator("nav a[href$='/targets']").count() == 0
    visitor.wrong = [one for one in visitor.wrong if "403" not in one]
    visitor.see_nothing_wrong()


def test_who_may_no_longer_do_it_is_told_and_keeps_what_was_typed(visitor: Visitor) -> None:
    made = visitor.house.call("/admin/keys", {"name": "an admin for now", "role": "admin"})
    visitor.open("/keys")
    page = visitor.log_in(made["key"])
    page.get_by_text("A new key").click()
    page.get_by_label("Name").fill("never made")
    visitor.house.call(f"/admin/keys/{made['id']}", {"role": "viewer"}, method="PATCH")
    own = House(visitor.house.url, made["key"])
    while own.status("/admin/targets") != 403:  # a key is looked up anew within a second
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Create").click()
    page.wait_for_selector("form .notice:has-text('tidegate keys change')")
    assert page.get_by_label("Name").input_value() == "never made"
    visitor.wrong = [one for one in visitor.wrong if "403" not in one]
    visitor.see_nothing_wrong()
