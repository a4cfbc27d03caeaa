"""One browser and one running Tidegate for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.console.browser.corpus import Seeds, seeded
from tests.console.browser.visit import House, Visitor, serving, window
from tests.parts import debian

CONFIG = """
audit: {enabled: true, checkpoint: 1s}
limits: {loops: {policy: "off"}}
budgets: {default_day: 0}
cache: {embedder: "tests.stages.cache.words:Words", timeout: 5s}
providers:
  main: {type: scripted, price: {input: 1000, output: 2000}}
  mirror: {type: scripted, price: {input: 10, output: 20}}
  spare: {type: scripted, price: {input: 3000, output: 6000}}
routes:
  fast: {targets: [{provider: main, model: m}], store: {prompts: true, replies: true}}
  echo: {targets: [{provider: mirror, model: m}], store: {prompts: true, replies: true}}
  dear: {targets: [{provider: spare, model: m}]}
  kept:
    targets: [{provider: mirror, model: m}]
    cache: {semantic: {max_error: 2%, checks: 0%, twice: 0%}}
    store: {prompts: true, replies: true}
"""
LAB = """
limits: {loops: {policy: "off"}}
budgets: {default_day: 0}
audit: {enabled: true, checkpoint: 1s}
experiments: {look_every: 200ms}
providers:
  good: {type: scripted, price: {input: 10, output: 20}}
  worse: {type: scripted, price: {input: 10, output: 20}, script: {status: 400}}
routes:
  fast: {targets: [{provider: good, model: m}]}
"""
ARGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker(debian("chromium"))


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("console"), CONFIG) as found:
        yield found


@pytest.fixture(scope="package")
def seeds(house: House) -> Seeds:
    """What would break a page, if it could."""
    return seeded(house)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        yield found
        found.close()


@pytest.fixture
def visitor(browser: Browser, house: House) -> Iterator[Visitor]:
    with window(browser, house) as found:
        yield found


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One that tries things, and keeps an audit log."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "tidegate.canary.yaml").write_text(LAB.replace("output: 20", "output: 30"))
    with serving(folder, LAB) as found:
        yield found


@pytest.fixture
def guest(browser: Browser, lab: House) -> Iterator[Visitor]:
    with window(browser, lab, 30_000) as found:
        yield found
