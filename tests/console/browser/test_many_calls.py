"""A month of calls: each list is one question to the API, and one goes deep without seeing a call twice.

With a million: TIDEGATE_MILLION=1, or ./run bench console.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from bench import console, screen
from bench.console import Asked
from bench.report import Report
from bench.weather import KEY
from playwright.sync_api import Browser

MILLION = "TIDEGATE_MILLION" in os.environ
pytestmark = pytest.mark.timeout(1200 if MILLION else 60)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Tidegate that has one behind it."""
    folder = tmp_path_factory.mktemp("month")
    with ExitStack() as undo:  # the browser keeps this thread's event loop
        thread = undo.enter_context(ThreadPoolExecutor(1))
        served = thread.submit(console.serving, folder, 1_000_000 if MILLION else 30_000, None, undo).result()
        yield console.address(served)


def test_each_list_is_one_question_and_pages_follow_each_other(browser: Browser, month: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    seen = screen.seen(context, Asked(month, KEY, {"keys": "keys"}, console.LISTS, 3 if MILLION else 1, 5))
    found = Report("console", True, {}, {}, {}, limits=console.LIMITS)
    console.take(found, seen)
    context.close()
    found.judge()
    assert set(found.figures) >= set(console.LIMITS)
    assert {row["what"] for row in found.rows} == {"page: keys", *console.LISTS}
    if MILLION:
        print(console.said(found))
        assert "missed" not in found.verdicts.values()


def test_going_deep_shows_no_call_twice(browser: Browser, month: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    one = screen.Screen(context, month)
    one.log_in(KEY)
    one.look(console.MONTH, screen.ROWS)
    shown = one.rows()
    for _ in range(5):
        one.older()
        shown += one.rows()
    assert len(shown) == len(set(shown)) == 300
    context.close()
