"""Which calls were there, and what happened to one."""

from __future__ import annotations

import json

from tests.console.browser.visit import House, Visitor


def test_the_filter_bar_is_the_url_and_a_list_is_one_call(visitor: Visitor) -> None:
    visitor.house.ask("hello", model="fast")
    visitor.house.ask("hello", model="dear")
    page = visitor.came("/requests?route=dear")
    page.wait_for_selector("tbody tr")
    assert page.get_by_label("Route", exact=True).input_value() == "dear"
    assert {one.inner_text() for one in page.locator("tbody tr td:nth-child(2)").all()} == {"dear"}
    assert visitor.asked == ["GET /admin/requests?route=dear"]
    page.get_by_label("Route", exact=True).fill("fast")
    page.get_by_role("button", name="Find").click()
    page.wait_for_url("**/requests?route=fast")
    page.locator("tbody tr td:has-text('dear')").first.wait_for(state="detached")
    visitor.see_nothing_wrong()


def test_a_call_says_whose_key_it_was_by_its_name(visitor: Visitor) -> None:
    made = visitor.house.call("/admin/keys", {"name": "Ann's <b>notebook</b>"})
    id = House(visitor.house.url, made["key"]).ask("hello")
    page = visitor.came(f"/requests?key={made['id']}")
    row = page.locator("tbody tr", has=page.locator(f"a[href='/console/requests/{id}']"))
    row.get_by_text("Ann's <b>notebook</b>").wait_for()
    assert visitor.asked == [f"GET /admin/requests?key={made['id']}"]
    visitor.open(f"/requests/{id}")
    page.get_by_role("row", name="Key Ann's").wait_for()
    visitor.see_nothing_wrong()


def test_one_goes_through_the_list_with_keys_and_opens_a_call(visitor: Visitor) -> None:
    for _ in range(3):
        visitor.house.ask("hello")
    page = visitor.came("/requests")
    page.wait_for_selector("tbody tr")
    page.get_by_role("region", name="Calls, newest first").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/requests/req_*")
    page.wait_for_selector("text=What was done")


def test_pages_follow_each_other_and_nothing_moves_meanwhile(visitor: Visitor) -> None:
    ids = [visitor.house.ask("hello", **{"user": "pager"}) for _ in range(5)]
    page = visitor.came("/requests?end_user=pager&limit=2")
    page.wait_for_selector("tbody tr")
    assert page.locator("tbody tr").count() == 2
    visitor.house.ask("hello", user="pager")
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**after=*")
    page.wait_for_selector(f"tbody a[href='/console/requests/{ids[1]}']")
    shown = page.locator("tbody th a").evaluate_all("(links) => links.map((one) => one.pathname.split('/').pop())")
    assert shown == [ids[2], ids[1]]


def test_a_call_appears_while_one_watches(visitor: Visitor) -> None:
    page = visitor.came("/requests?live=1")
    page.wait_for_selector("text=Calls appear here")
    with page.expect_response(lambda answer: "tail" in answer.url):
        page.reload()
    page.wait_for_selector("text=Calls appear here")
    id = visitor.house.ask("hello")
    page.wait_for_selector(f"tbody a[href='/console/requests/{id}']")
    visitor.see_nothing_wrong()


def test_a_call_is_seen_judged_read_and_asked_again(visitor: Visitor) -> None:
    id = visitor.house.ask("what is asked", user="ann")
    page = visitor.came(f"/requests/{id}")
    page.wait_for_selector("text=first: main/m")
    assert visitor.asked == [f"GET /v1/requests/{id}"]
    page.get_by_label("Comment").fill("good enough")
    page.get_by_role("button", name="Good").click()
    page.wait_for_selector("text=Noted: Good")
    page.get_by_role("button", name="Show what was said").click()
    page.wait_for_selector("pre:has-text('what is asked')")
    page.get_by_label("Route, or provider/model").fill("dear")
    page.get_by_role("button", name="Ask again").click()
    page.wait_for_selector("h3:has-text('Now')")
    assert visitor.house.call(f"/v1/requests/{id}")["feedback"][0]["comment"] == "good enough"
    visitor.see_nothing_wrong()


def test_a_call_that_is_not_there_says_so(visitor: Visitor) -> None:
    page = visitor.came("/overview")
    page.goto(f"{visitor.house.url}/console/requests/req_none")
    page.wait_for_selector("text=there is no request 'req_none'")
    assert json.dumps(visitor.asked).count("req_none") == 1
