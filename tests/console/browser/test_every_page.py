"""What holds for every page of the console, whoever adds one: a page of the table in shell.py is in here by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from playwright.sync_api import Browser

from tests.console.browser.corpus import HIDDEN, Seeds
from tests.console.browser.visit import House, Visitor
from tests.console.test_files import MOST
from tidegate.console.shell import PAGES
from tidegate.core.limits import Role

NAMES = [page.name for page in PAGES]
INSIDE = ("requests/{call}", "requests/{failed}", "keys/{key}", "prompts/{prompt}")
PLACES = (*NAMES, *(place for place in INSIDE if place.partition("/")[0] in NAMES))
LOOKS: dict[str, dict[str, Any]] = {
    "light and wide": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark and narrow": {
        "color_scheme": "dark",
        "reduced_motion": "reduce",
        "viewport": {"width": 360, "height": 700},
    },
}
SCRIPTS = """performance.getEntriesByType("resource").filter((one) => one.initiatorType === "script")
  .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
MOVES = """[...document.querySelectorAll("*")].filter((one) => {
  const style = getComputedStyle(one);
  return style.animationName !== "none" || style.transitionDuration.split(", ").some((time) => time !== "0s");
}).map((one) => one.outerHTML.slice(0, 100))"""
# Marks what has had the focus; a control that has it and does not show it is as bad as one that is not reached.
FOLLOW = """() => {
  window.__reached = new Set();
  document.addEventListener("focusin", ({ target }) => {
    const style = getComputedStyle(target);
    window.__reached.add(target);
    if (style.outlineStyle === "none" && style.boxShadow === "none")
      window.__wrong.push(`the focus is not seen on ${target.outerHTML.slice(0, 100)}`);
  });
  document.body.tabIndex = -1;
  document.body.focus();
}"""
CONTROLS = """[...document.querySelectorAll("a[href], button, input, select, textarea, summary")].filter((one) =>
  !one.disabled && one.type !== "hidden" && one.checkVisibility()
  && !(one.type === "radio" && document.querySelector(`input[name="${one.name}"]:checked`) !== one))"""


@pytest.fixture(scope="module")
def there(house: House, seeds: Seeds) -> dict[str, str]:
    """Something for the pages to show, by what PLACES call it: what is hard to show."""
    house.ask("hello", "dear", user="someone")
    return seeds._asdict()


@pytest.fixture(scope="module", params=LOOKS)
def onlooker(
    request: pytest.FixtureRequest, browser: Browser, house: House, there: dict[str, str]
) -> Iterator[Visitor]:
    context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", **LOOKS[request.param])
    context.set_default_timeout(30_000)
    found = Visitor(context, house)
    found.came(f"/{NAMES[0]}")
    yield found
    context.close()


@pytest.mark.parametrize("place", PLACES)
def test_a_page_keeps_to_the_rules_of_the_house(onlooker: Visitor, there: dict[str, str], place: str) -> None:
    """No violation of the policy, nobody kept out, nothing that moves or is cut off, one call, few scripts."""
    onlooker.wrong.clear()
    onlooker.open("/" + place.format(**there)).wait_for_selector("main h1")
    onlooker.see_nothing_wrong()
    assert not any(one in onlooker.page.inner_text("body") for one in HIDDEN)
    assert onlooker.page.locator("main h1").count() == 1
    assert len(onlooker.asked) <= 1, onlooker.asked
    assert onlooker.page.evaluate(SCRIPTS) <= MOST
    if onlooker.page.evaluate("matchMedia('(prefers-reduced-motion: reduce)').matches"):
        assert onlooker.page.evaluate(MOVES) == []


@pytest.mark.parametrize("place", PLACES)
def test_the_keyboard_reaches_each_control_and_one_sees_it(visitor: Visitor, there: dict[str, str], place: str) -> None:
    page = visitor.came("/" + place.format(**there) + ("?limit=5" if place == "requests" else ""))
    page.wait_for_selector("main h1")
    page.evaluate(FOLLOW)
    controls = page.evaluate(f"{CONTROLS}.length")
    assert controls > len(NAMES)
    for _ in range(controls + page.locator("[tabindex='0']").count() + 2):
        page.keyboard.press("Tab")
    missed = page.evaluate(f"{CONTROLS}.filter((one) => !window.__reached.has(one)).map((one) => one.outerHTML)")
    assert missed == [] and page.evaluate("window.__wrong") == []


@pytest.mark.parametrize("role", get_args(Role))
def test_who_sees_a_page_may_see_what_is_on_it(visitor: Visitor, there: dict[str, str], role: Role) -> None:
    asked = {"name": f"one who is {role}", "role": role}
    if role == "manager":
        asked["team_id"] = visitor.house.call("/admin/teams", {"id": "managed", "name": "Managed"})["id"]
    made = visitor.house.call("/admin/keys", asked)
    visitor.open()
    page = visitor.log_in(made["key"])
    page.wait_for_selector("main h1")
    seen = page.locator("header nav a").evaluate_all("(links) => links.map((one) => one.pathname.split('/').pop())")
    assert seen == [one.name for one in PAGES if role in one.roles]
    for name in seen:
        page.locator(f"header nav a[href='/console/{name}']").click()
        page.wait_for_selector(f"header nav a[href='/console/{name}'][aria-current=page]")
        page.wait_for_selector("main h1")
        assert page.locator("main .notice").count() == 0, page.inner_text("main")
    visitor.see_nothing_wrong()
