"""Who may ask, and how much."""

from __future__ import annotations

import re

from playwright.sync_api import Route

from tests.console.browser.visit import House, Visitor


def test_the_text_of_a_new_key_is_shown_once(visitor: Visitor) -> None:
    page = visitor.came("/keys")
    page.get_by_text("A new key").click()
    page.get_by_label("Name").fill("made here")
    page.get_by_role("button", name="Create").click()
    page.wait_for_selector("text=this once")
    assert (shown := re.search(r"tg_live_\w+", page.inner_text("main .command pre")))
    visitor.see_nothing_wrong()

    visitor.asked.clear()
    page.reload()
    page.get_by_role("link", name="made here").wait_for()
    assert shown[0] not in page.content() and visitor.asked == ["GET /admin/use"]


def test_a_key_is_disabled_and_enabled(visitor: Visitor) -> None:
    id = visitor.house.call("/admin/keys", {"name": "to be stopped"})["id"]
    page = visitor.came(f"/keys/{id}")
    assert visitor.asked == [f"GET /admin/keys/{id}"]
    page.get_by_role("button", name="Disable").click()
    page.get_by_role("button", name="Enable").wait_for()
    assert visitor.house.call(f"/admin/keys/{id}")["disabled_ms"]
    page.get_by_role("button", name="Enable").click()
    page.get_by_role("button", name="Disable").wait_for()
    visitor.see_nothing_wrong()


def test_a_key_that_is_stopped_for_a_loop_says_so(visitor: Visitor) -> None:
    id = visitor.house.call("/admin/keys", {"name": "asks itself"})["id"]
    page = visitor.came("/keys")

    def stopped(route: Route) -> None:  # here nobody is, for these tests repeat themselves
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"loop_ms": 1_800_000_000_000})

    page.route(f"**/admin/keys/{id}", stopped)
    visitor.open(f"/keys/{id}")
    page.get_by_role("status").get_by_text("a program that asks itself").wait_for()
    page.get_by_role("button", name="Resume after a loop").wait_for()
    visitor.see_nothing_wrong()


def test_what_is_used_is_shown_as_a_gauge_of_the_key_and_of_its_team(visitor: Visitor) -> None:
    bounds = {"limits": [{"of": "requests", "most": 5, "per_s": 3600}], "budgets": [{"usd": 900, "per": "day"}]}
    visitor.house.call("/admin/teams", {"id": "gauged", **bounds})
    made = visitor.house.call("/admin/keys", {"name": "nearly full", "team_id": "gauged", **bounds})
    for _ in range(4):
        House(visitor.house.url, made["key"]).ask()
    page = visitor.came("/keys")
    row = page.get_by_role("row").filter(has_text="nearly full").first
    row.get_by_text("4 of 5 (80 %)").wait_for()
    page.get_by_role("region", name="Team gauged").get_by_text("4 of 5 (80 %)").wait_for()
    visitor.see_nothing_wrong()
    row.get_by_role("link").click()
    page.get_by_role("region", name="Key nearly full").get_by_text("of $900").wait_for()
    visitor.see_nothing_wrong()
