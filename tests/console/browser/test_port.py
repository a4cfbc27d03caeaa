"""A console on a port of its own: all of it is there, nothing of it on the API's port, and nothing else on its own."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Browser

from tests.console.browser.conftest import CONFIG
from tests.console.browser.visit import House, Visitor, serving


def told(house: House, path: str) -> str:
    """What is said where there is nothing."""
    with pytest.raises(HTTPError) as none:
        house.open(path)
    with none.value as answer:
        assert answer.code == 404
        return answer.read().decode()


def test_it_works_there_and_each_port_has_its_own(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, f"{CONFIG}console: {{port: 0}}\n") as house:
        found = re.search(r"in a browser:  (http://\S+)/console", house.said)
        assert found is not None and found[1] != house.url
        console = House(found[1])
        assert "console.port" in told(house, "/console") and "api.port" in told(console, "/v1/models")
        assert "api.port" in told(console, "/admin/keys") and "api.port" in told(console, "/metrics")
        context = browser.new_context()
        visitor = Visitor(context, console)
        page = visitor.came("/playground")
        page.get_by_label("Message", exact=True).fill("Say hello.")
        page.get_by_role("button", name="Ask").click()
        page.wait_for_selector(".cost:has-text('$')")
        page.get_by_role("link", name="Keys").click()
        page.wait_for_selector("h1:has-text('Keys')")
        visitor.see_nothing_wrong()
        context.close()
