"""What does somebody see who opens the console, and what does their browser hold against it?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request

KEY = "a-key-for-tests-and-nothing-else"  # TIDEGATE_ADMIN_KEY
PATIENCE_S = 30.0
ROOT = Path(__file__).parents[3]  # so that what tests plug in is found
WATCH = """
window.__wrong = []; window.__shift = 0; window.__moved = [];
document.addEventListener("securitypolicyviolation", (one) =>
  window.__wrong.push(`${one.violatedDirective}: ${one.blockedURI}`));
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    if (one.hadRecentInput) continue;
    window.__shift += one.value;
    window.__moved.push({by: one.value, what: one.sources.map(({node}) => node?.outerHTML?.slice(0, 80) ?? "")});
  }
}).observe({type: "layout-shift", buffered: true});
// Nothing that could run, be asked for or change the page is ever put into it: not by us, and so by nobody.
const BAD = "script, iframe, object, embed, img, base, link, style, meta, form[action^='http'], a[href^='javascript']";
document.addEventListener("DOMContentLoaded", () => new MutationObserver((changes) => {
  for (const {addedNodes} of changes)
    for (const one of addedNodes)
      if (one.matches?.(BAD) || one.querySelector?.(BAD)) window.__wrong.push(`put in: ${one.outerHTML.slice(0, 200)}`);
}).observe(document, {subtree: true, childList: true}));
"""


class House:
    """A Tidegate in a process of its own, and how a client asks it."""

    def __init__(self, url: str, key: str = KEY, said: str = "", folder: Path | None = None) -> None:
        """`said`: with its start. `folder`: where it lives."""
        self.url = url
        self.folder = folder
        self.key = key
        self.said = said

    def open(self, path: str, body: Any = None, method: str | None = None) -> Any:
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.urlopen(
            urllib.request.Request(self.url + path, data, headers, method=method), timeout=PATIENCE_S
        )

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        with self.open(path, body, method) as answer:
            return json.loads(answer.read())

    def status(self, path: str) -> int:
        try:
            answer = self.open(path)
        except HTTPError as refused:
            answer = refused
        with answer:
            return int(answer.status)

    def ask(self, said: str = "hi", model: str = "fast", **fields: Any) -> str:
        """The id of the call, which may have failed."""
        body = {"model": model, "messages": [{"role": "user", "content": said}], **fields}
        try:
            answer = self.open("/v1/chat/completions", body)
        except HTTPError as refused:
            answer = refused
        with answer:
            answer.read()
        return str(answer.headers["x-tidegate-request-id"])


@contextmanager
def serving(
    folder: Path, config: str, start: Sequence[str] = ("-m", "tidegate.cli", "serve"), key: str = KEY
) -> Iterator[House]:
    """`start`: what Python is told; `key`: the admin key, and without one that of the first start."""
    (folder / "tidegate.yaml").write_text(config)
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *start, "--port", "0", "--data-dir", str(folder / "data")],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "TIDEGATE_ADMIN_KEY": key, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while "It serves" not in (lines[-1] if lines else ""):
            lines.append(process.stdout.readline())
            assert lines[-1], f"it ended: {''.join(lines)}{log.read_text()}"
        said = "".join(lines)
        address, printed = re.search(r"answers on (http://\S+)", said), re.search(r"this once:  (\S+)", said)
        assert address is not None
        yield House(address[1], key or (printed[1] if printed else ""), said, folder)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


class Visitor:
    """One window of a browser, in which one looks at the console."""

    def __init__(self, context: BrowserContext, house: House) -> None:
        self.house = house
        self.context = context
        self.page: Page = context.new_page()
        self.asked: list[str] = []  # of the API, by the page
        self.wrong: list[str] = []
        self.page.add_init_script(WATCH)
        self.page.on("request", self._note)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)

    def _note(self, request: Request) -> None:
        path = request.url.removeprefix(self.house.url)
        if path.startswith("/console/api"):
            self.asked.append(f"{request.method} {path.removeprefix('/console/api')}")
        elif not path.startswith("/console") and path != "/":
            self.wrong.append(f"asked {request.url}")

    def _dialog(self, dialog: Dialog) -> None:
        self.wrong.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: str = "") -> Page:
        self.asked.clear()
        self.page.goto(f"{self.house.url}/console{path}")
        return self.page

    def log_in(self, key: str | None = None) -> Page:
        self.page.get_by_label("A key").fill(self.house.key if key is None else key)
        self.page.get_by_role("button", name="Log in").click()
        return self.page

    def came(self, path: str = "") -> Page:
        """Logged in, at this page."""
        self.open(path)
        self.log_in()
        self.page.wait_for_selector("h1")
        return self.page

    def picture(self, name: str) -> None:
        """For the guide, when they are asked for: TIDEGATE_SCREENSHOTS=docs/guides/console."""
        if folder := os.environ.get("TIDEGATE_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder, f"{name}.png"), animations="disabled", caret="hide")

    def see_nothing_wrong(self) -> None:
        """No violation of the policy, no error, nothing that moved by itself, nothing that keeps somebody out."""
        self.wrong += self.page.evaluate("window.__wrong.splice(0)")
        assert not self.wrong, "; ".join(self.wrong)
        moved = self.page.evaluate("window.__moved.filter((one) => one.by > 0.001)")
        assert self.page.evaluate("window.__shift") < 0.02, f"moved by itself: {moved}"
        found = Axe().run(self.page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert not serious, [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in serious]
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"it is {wide} px wider than the window"


@contextmanager
def window(browser: Browser, house: House, patience_ms: int = 30_000) -> Iterator[Visitor]:
    context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(patience_ms)
    yield Visitor(context, house)
    context.close()
