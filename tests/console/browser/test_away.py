"""A store that is away: what was last known is shown and says how old it is; what was never known says what to do."""

from __future__ import annotations

from pathlib import Path

from bench.postgres import Server
from playwright.sync_api import Browser, Page

from tests.console.browser.conftest import CONFIG
from tests.console.browser.visit import Visitor, serving

STALE = "aside:has-text('What you see is what was last known')"


def go(page: Page, name: str) -> None:
    page.locator("header nav").get_by_role("link", name=name).click()
    page.wait_for_selector(f"main h1:has-text('{name}'), main .notice")


def test_what_was_seen_stays_says_how_old_it_is_and_is_new_again(
    browser: Browser, tmp_path: Path, postgres_server: Server
) -> None:
    storage = f"storage: {{database: '{postgres_server.new_database()}', database_timeout: 2s}}\n"
    with serving(tmp_path, f"{CONFIG}{storage}") as house:
        context = browser.new_context()
        visitor = Visitor(context, house)
        id = house.ask("hello")
        page = visitor.came("/requests")
        page.wait_for_selector(f"tbody a[href='/console/requests/{id}']")
        go(page, "Keys")
        page.get_by_text("A new key").click()
        page.get_by_label("Name").fill("half of a name")

        postgres_server.stop()
        page.get_by_role("button", name="Create").click()
        page.wait_for_selector("form .notice:has-text('The store is away')")
        assert page.get_by_label("Name").input_value() == "half of a name"
        go(page, "Requests")
        page.wait_for_selector(STALE)
        assert page.locator(f"tbody a[href='/console/requests/{id}']").count() == 1
        page.get_by_label("Route", exact=True).fill("never asked for")
        page.get_by_role("button", name="Find").click()
        page.wait_for_selector("section.notice:has-text('tidegate doctor says what is wrong')")
        page.go_back()
        page.wait_for_selector(STALE)

        postgres_server.start()
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(STALE, state="detached", timeout=30_000)  # by itself, where that was too soon
        assert page.locator(f"tbody a[href='/console/requests/{id}']").count() == 1
        visitor.wrong = [one for one in visitor.wrong if "503" not in one]
        visitor.see_nothing_wrong()
        context.close()
