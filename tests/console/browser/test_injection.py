"""What clients and models say is text on every page: it runs nothing, asks for nothing, and breaks nothing."""

from __future__ import annotations

import pytest

from tests.console.browser.visit import Visitor

CORPUS = [
    "<script>window.__wrong.push('ran')</script>",
    "<img src=x onerror=\"window.__wrong.push('ran')\">",
    "<svg onload=\"window.__wrong.push('ran')\"><a href=\"javascript:window.__wrong.push('ran')\">x</a></svg>",
    "![image](http://127.0.0.1:9/leak.png?q=secret) [link](javascript:alert(1))",
    "\x1b[2J\x1b[31mred\x1b]8;;http://127.0.0.1:9\x07link\x1b]8;;\x07",
    "\u202etxt.exe \u2066isolate\u2069 \u200fmarks",
    "'\"><style>*{display:none}</style><base href=//127.0.0.1:9><!--",
]


@pytest.mark.parametrize("text", CORPUS, ids=["script", "img", "svg", "markdown", "ansi", "bidi", "markup"])
def test_what_comes_from_outside_is_text(visitor: Visitor, text: str) -> None:
    id = visitor.house.ask(text, user=text, model="echo")
    page = visitor.came(f"/requests/{id}")
    page.get_by_role("button", name="Show what was said").click()
    page.locator("pre.said").nth(1).wait_for()
    said = page.locator("pre.said").nth(1).inner_text()
    assert not any(one in said for one in "\x1b\u202e\u2066")
    for element in ("img", "script", "style", "base", "a[href^='javascript']", "main svg[onload]"):
        assert page.locator(f"main {element}").count() == 0
    visitor.open("/requests?route=echo")
    page.wait_for_selector("tbody tr")
    visitor.see_nothing_wrong()


def test_a_megabyte_of_text_is_shown_and_the_page_goes_on(visitor: Visitor) -> None:
    id = visitor.house.ask("<b>x</b> " * 116_000, model="echo")
    page = visitor.came(f"/requests/{id}")
    page.get_by_role("button", name="Show what was said").click()
    page.locator("pre.said").nth(1).wait_for()
    assert page.locator("pre.said").first.evaluate("(shown) => shown.textContent.length") > 1_000_000
    page.get_by_role("link", name="Overview").click()
    page.wait_for_selector("h1:has-text('Overview')")
    visitor.see_nothing_wrong()
