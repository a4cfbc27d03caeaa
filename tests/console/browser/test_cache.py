"""What was not bought again, and was it right?"""

from __future__ import annotations

from tests.console.browser.visit import Visitor

LONG = "Please tell me in a few simple words where on earth my brand new credit card is and when it will come to me"


def test_an_empty_page_teaches_and_a_hit_by_meaning_is_said_to_be_wrong(visitor: Visitor) -> None:
    page = visitor.came("/cache")
    page.wait_for_selector("text=No call has asked the cache")
    assert visitor.asked == ["GET /admin/cache"]
    visitor.see_nothing_wrong()

    visitor.house.ask(LONG, model="kept")
    hit = visitor.house.ask(LONG.lower(), model="kept")
    while visitor.house.call(f"/v1/requests/{hit}")["cache"] != "hit":  # what was bought is learned beside the loop
        hit = visitor.house.ask(LONG.lower(), model="kept")
    visitor.open("/cache")
    page.locator(f"a[href='/console/cache/{hit}']").wait_for()
    assert visitor.asked == ["GET /admin/cache"]
    visitor.see_nothing_wrong()
    page.locator(f"a[href='/console/cache/{hit}']").click()
    page.locator("pre.said").nth(2).wait_for()
    now, then = page.locator("pre.said").all_inner_texts()[:2]
    assert (now, then.lower()) == (LONG.lower(), LONG.lower())
    page.get_by_role("button", name="This was wrong").click()
    page.get_by_role("button", name="This was wrong").click()
    page.wait_for_selector("text=It was judged already")
    visitor.see_nothing_wrong()
