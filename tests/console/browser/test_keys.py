"""Who may ask, and how much."""

from __future__ import annotations

import re

from tests.console.browser.visit import Visitor


def test_the_text_of_a_new_key_is_shown_once(visitor: Visitor) -> None:
    page = visitor.came("/keys")
    page.get_by_text("A new key").click()
    page.get_by_label("Name").fill("made here")
    page.get_by_role("button", name="Create").click()
    page.wait_for_selector("text=this once")
    assert (shown := re.search(r"tg_live_\w+", page.inner_text("main .command pre")))
    visitor.see_nothing_wrong()

    page.reload()
    page.get_by_role("link", name="made here").wait_for()
    assert shown[0] not in page.content()


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
