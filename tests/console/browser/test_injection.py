"""What clients and models say is text on every page: it runs nothing, asks for nothing, and breaks nothing.

That lists of it break no page, test_every_page.py sees: its pages are full of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from tests.console.browser.corpus import ALL, HIDDEN, Seeds
from tests.console.browser.visit import House, Visitor

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def onlooker(browser: Browser, house: House) -> Iterator[Visitor]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(30_000)
    found = Visitor(context, house)
    found.came("/keys")
    yield found
    context.close()


def all_is_text(onlooker: Visitor, *, missing: bool = False) -> None:
    """`missing`: something was asked for that is not there, which browsers note."""
    if missing:
        onlooker.wrong = [one for one in onlooker.wrong if "404" not in one]
    said = onlooker.page.inner_text("body")
    assert not any(one in said for one in HIDDEN)
    onlooker.see_nothing_wrong()


def test_what_was_said_in_a_call_is_text(onlooker: Visitor, seeds: Seeds) -> None:
    page = onlooker.open(f"/requests/{seeds.call}")
    page.get_by_role("button", name="Show what was said").click()
    page.locator("pre.said").nth(1).wait_for()
    for said in page.locator("pre.said").all_inner_texts():
        assert "onerror=" in said and "<!--" in said
    all_is_text(onlooker)


def test_what_a_provider_said_of_an_error_is_text(onlooker: Visitor, seeds: Seeds) -> None:
    page = onlooker.open(f"/requests/{seeds.failed}")
    page.wait_for_selector("main .bad")
    all_is_text(onlooker)


def test_what_is_asked_and_answered_in_the_playground_is_text(onlooker: Visitor) -> None:
    page = onlooker.open("/playground?route=echo&second=" + quote(ALL, safe=""))
    page.get_by_label("Message", exact=True).fill(ALL)
    page.get_by_role("button", name="Ask").click()
    page.locator(".cost:has-text('$')").first.wait_for()
    page.locator(".answer .notice").wait_for()  # there is no such route as the second
    all_is_text(onlooker, missing=True)


@pytest.mark.parametrize("place", ["requests/{}", "requests?route={}&end_user={}", "keys/{}", "{}"])
def test_an_address_that_somebody_sends_is_text(onlooker: Visitor, place: str) -> None:
    onlooker.open("/" + place.replace("{}", quote(ALL[:250], safe="")))
    onlooker.page.wait_for_selector("main .notice, main .empty")
    all_is_text(onlooker, missing=True)


def test_a_megabyte_is_shown_in_part_and_the_page_goes_on(onlooker: Visitor) -> None:
    long = "<b>x</b> " * (MEGABYTE // 9 + 1)
    id = onlooker.house.ask(long, "echo", metadata={"script": {"text": long}})
    page = onlooker.open(f"/requests/{id}")
    page.get_by_role("button", name="Show what was said").click()
    page.locator("pre.said").nth(1).wait_for()
    lengths = "(all) => all.map((one) => one.textContent.length)"
    assert max(page.locator("pre.said").evaluate_all(lengths)) < 30_000
    all_is_text(onlooker)
    page.get_by_role("button", name="Show all").last.click()
    page.get_by_role("button", name="Show all").nth(1).wait_for(state="detached")
    assert max(page.locator("pre.said").evaluate_all(lengths)) >= MEGABYTE
    page.get_by_role("link", name="Overview").click()
    page.wait_for_selector("h1:has-text('Overview')")
