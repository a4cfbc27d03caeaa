"""How long does somebody wait at the screen? From going to a page of the console to its first paint and to its rows.

A browser that has kept nothing, so that each look brings the scripts, too. Wants Playwright and Debian's chromium;
run as a program it reads what is asked for on standard input, and prints what was found, both as JSON.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from playwright.sync_api import BrowserContext, Page, Request, sync_playwright

from bench.console import Asked, Look, Seen

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
CHROMIUM = "/usr/bin/chromium"
ARGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
# What is in the document when a frame begins is on the screen when the next one does.
SHOWN = """(awaited) => new Promise((done) => {
  const look = () => requestAnimationFrame(() =>
    document.querySelector(awaited) ? requestAnimationFrame(() => done(performance.now())) : look());
  look();
})"""
PAINTED = """() => new Promise((done) => new PerformanceObserver((list) => {
  for (const one of list.getEntriesByName("first-contentful-paint")) done(one.startTime);
}).observe({type: "paint", buffered: true}))"""
OLDER = """() => new Promise((done) => {
  const older = document.querySelector(".pager a:last-child"), first = "main tbody th a";
  const before = document.querySelector(first).href, began = performance.now();
  const look = () => requestAnimationFrame(() =>
    document.querySelector(first)?.href === before
      ? look() : requestAnimationFrame(() => done(performance.now() - began)));
  older.click();
  look();
})"""
ROWS = "main tbody tr, main .empty"


class Screen:
    """`calls`: of the API, since the page was gone to."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self._page: Page = context.new_page()
        self._url = url
        self.calls: list[str] = []
        self._page.on("request", self._note)
        context.new_cdp_session(self._page).send("Network.setCacheDisabled", {"cacheDisabled": True})

    def _note(self, request: Request) -> None:
        if "/console/api/" in request.url:
            self.calls.append(request.url)

    def log_in(self, key: str) -> None:
        self._page.goto(f"{self._url}/console/keys")
        self._page.fill("#key", key)
        self._page.get_by_role("button").click()
        self._page.wait_for_selector("main h1")

    def look(self, path: str, awaited: str) -> Look:
        """Raises RuntimeError when that took more than one call."""
        self.calls.clear()
        self._page.goto(f"{self._url}/console/{path}", wait_until="commit")
        shown_ms = self._page.evaluate(SHOWN, awaited)
        if len(self.calls) != 1:
            raise RuntimeError(f"{path}: a page asks once, and this one did {len(self.calls)} times: {self.calls}")
        return Look(self._page.evaluate(PAINTED), shown_ms)

    def older(self) -> float:
        """How long it took until the rows of the next page were there; those of a list that has one."""
        return float(self._page.evaluate(OLDER))

    def rows(self) -> list[str]:
        """The calls that are shown, by their addresses."""
        links: list[str] = self._page.locator("main tbody th a").evaluate_all("(all) => all.map((one) => one.href)")
        return links


@contextmanager
def chromium() -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser.new_context(viewport={"width": 1280, "height": 800})
        browser.close()


def seen(context: BrowserContext, asked: Asked) -> Seen:
    screen = Screen(context, asked.url)
    screen.log_in(asked.key)
    found = Seen({}, {}, [])
    for _ in range(asked.rounds):
        for there, paths, awaited in ((found.pages, asked.pages, "main h1"), (found.lists, asked.lists, ROWS)):
            for name, path in paths.items():
                there.setdefault(name, []).append(screen.look(path, awaited))
        screen.look(next(iter(asked.lists.values())), ROWS)
        found.deep_ms += [screen.older() for _ in range(asked.deep)]
    return found


def wait_for_all(most_s: float) -> None:
    """So that what Chromium's processes used is what this one's children used: they leave those who made them."""
    until = time.monotonic() + most_s
    while time.monotonic() < until:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            time.sleep(0.01)


def main() -> Any:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with chromium() as context:
        found = seen(context, msgspec.json.decode(sys.stdin.buffer.read(), type=Asked))
    wait_for_all(5)
    return found


if __name__ == "__main__":
    print(msgspec.json.encode(main()).decode())
