"""Who did what, and whether anybody has changed it since."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Browser

from tests.console.browser.conftest import CONFIG
from tests.console.browser.visit import Visitor, serving, window


def test_an_act_is_found_its_proof_kept_and_the_log_verified(guest: Visitor, tmp_path: Path) -> None:
    guest.house.call("/admin/keys", {"name": "<b>made</b> for the audit"})
    page = guest.came("/audit?what=key_created")
    page.wait_for_selector("td:has-text('key_created')")
    assert guest.asked == ["GET /admin/audit?what=key_created&limit=50"]
    assert page.get_by_label("What (", exact=False).first.input_value() == "key_created"
    page.get_by_role("button", name="Verify the log").click()
    page.wait_for_selector("text=It is what was signed.")
    guest.see_nothing_wrong()

    page.locator("tbody th a").first.click()
    page.wait_for_selector("pre:has-text('key_created')")
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download the proof").click()
    downloaded.value.save_as(tmp_path / "proof.json")
    assert {"entry", "proof", "checkpoint"} <= json.loads((tmp_path / "proof.json").read_text()).keys()
    guest.see_nothing_wrong()


def test_a_search_is_the_url_and_what_is_not_there_teaches_on_a_small_screen(guest: Visitor) -> None:
    guest.page.set_viewport_size({"width": 360, "height": 700})
    page = guest.came("/audit")
    page.wait_for_selector("tbody tr")
    guest.see_nothing_wrong()
    page.get_by_label("Who").fill("nobody at all")
    page.get_by_role("button", name="Find").click()
    page.wait_for_url("**/audit?who=nobody+at+all")
    page.wait_for_selector("text=No entry fits.")
    guest.see_nothing_wrong()


def test_where_no_log_is_kept_it_says_how(browser: Browser, tmp_path: Path) -> None:
    text = CONFIG.replace("audit: {enabled: true", "audit: {enabled: false")
    with serving(tmp_path, text) as house, window(browser, house) as visitor:
        visitor.came("/audit").wait_for_selector("text=No audit log is kept.")
