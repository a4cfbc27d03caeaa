"""What does somebody see who opens the console, and what does their browser hold against it?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, Request

KEY = "a-key-for-tests-and-nothing-else"  # TIDEGATE_ADMIN_KEY
PATIENCE_S = 20.0
ROOT = Path(__file__).parents[3]  # so that what tests plug in is found
WATCH = """
window.__wrong = []; window.__shift = 0;
document.addEventListener("securitypolicyviolation", (one) =>
  window.__wrong.push(`${one.violatedDirective}: ${one.blockedURI}`));
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.__shift += one.value;
}).observe({type: "layout-shift", buffered: true});
"""


class House:
    """A Tidegate in a process of its own, and how a client asks it."""

    def __init__(self, url: str, key: str = KEY, folder: Path | None = None) -> None:
        self.url = url
        self.folder = folder  # where it lives
        self.key = key

    def open(self, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=PATIENCE_S)

    def call(self, path: str, body: Any = None) -> Any:
        with self.open(path, body) as answer:
            return json.loads(answer.read())

    def ask(self, said: str = "hi", model: str = "fast", **fields: Any) -> str:
        """The id of the call."""
        body = {"model": model, "messages": [{"role": "user", "content": said}], **fields}
        with self.open("/v1/chat/completions", body) as answer:
            answer.read()
            return str(answer.headers["x-tidegate-request-id"])


@contextmanager
def serving(folder: Path, config: str) -> Iterator[House]:
    (folder / "tidegate.yaml").write_text(config)
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidegate.cli", "serve", "--port", "0", "--data-dir", str(folder / "data")],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "TIDEGATE_ADMIN_KEY": KEY, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not (found := re.search(r"answers on (http://\S+)", lines[-1] if lines else "")):
            lines.append(process.stdout.readline())
            assert lines[-1], f"it ended: {''.join(lines)}{log.read_text()}"
        yield House(found[1], folder=folder)
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
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)

    def _note(self, request: Request) -> None:
        path = request.url.removeprefix(self.house.url)
        if path.startswith("/console/api"):
            self.asked.append(f"{request.method} {path.removeprefix('/console/api')}")
        elif not path.startswith("/console") and path != "/":
            self.wrong.append(f"asked {request.url}")

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

    def see_nothing_wrong(self) -> None:
        """No violation of the policy, no error, nothing that moved by itself, nothing that keeps somebody out."""
        self.wrong += self.page.evaluate("window.__wrong")
        assert not self.wrong, "; ".join(self.wrong)
        assert self.page.evaluate("window.__shift") < 0.02
        serious = [
            one for one in Axe().run(self.page).response["violations"] if one["impact"] in ("serious", "critical")
        ]
        assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in serious] == []
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"it is {wide} px wider than the window"
