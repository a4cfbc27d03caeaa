"""What clients and models say is text on every page: it runs nothing, asks for nothing, and breaks nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from tests.console.browser.test_every_page import NAMES
from tests.console.browser.visit import House, Visitor

CORPUS = (
    "<script>window.__wrong.push('ran');alert(1)</script>",
    "<img src=x onerror=\"window.__wrong.push('ran')\">",
    "<svg onload=\"window.__wrong.push('ran')\"><a href=\"javascript:window.__wrong.push('ran')\">x</a></svg>",
    "![image](http://127.0.0.1:9/leak.png?q=secret) [link](javascript:alert(1))",
    "\x1b[2J\x1b[31mred\x1b]8;;http://127.0.0.1:9\x07link\x1b]8;;\x07",
    "\u202etxt.exe \u2066isolate\u2069 \u200fmarks",
    "${alert(1)} {{constructor.constructor('alert(1)')()}} </template><iframe srcdoc='x'>",
    "W" * 95 + "\u0300" * 5,
    "'\"><style>*{display:none}</style><base href=//127.0.0.1:9><!--",
)
ALL = "\n".join(CORPUS)
HIDDEN = "\x1b\u202e\u2066\u2069\u200f"  # what turns a line around, or moves a cursor
MEGABYTE = 1_000_000


class Seeds(NamedTuple):
    call: str
    failed: str


@pytest.fixture(scope="module")
def seeds(house: House) -> Seeds:
    """Each of the corpus as the name of a key, as its tag and as an end user; all of it as prompt, reply and error."""
    for text in CORPUS:
        printable = "".join(one for one in text if one.isprintable())[:100]  # others are refused as a name
        made = house.call("/admin/keys", {"name": printable, "tags": [printable]})
        House(house.url, made["key"]).ask(text, "echo", user=text[:100])
    error = json.dumps({"error": {"message": ALL, "code": ALL, "type": ALL}})
    said = house.ask(ALL, "echo", user=ALL[:200], metadata={"script": {"text": ALL}})
    return Seeds(said, house.ask(ALL, "echo", metadata={"script": {"status": 400, "body": error}}))


@pytest.fixture(scope="module")
def onlooker(browser: Browser, house: House) -> Iterator[Visitor]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(10_000)
    found = Visitor(context, house)
    found.came(f"/{NAMES[0]}")
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


@pytest.mark.parametrize("name", NAMES)
def test_a_page_with_all_of_it_is_as_it_was(onlooker: Visitor, seeds: Seeds, name: str) -> None:
    onlooker.open(f"/{name}").wait_for_selector("main h1")
    all_is_text(onlooker)


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
