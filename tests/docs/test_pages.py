"""Does every page lead where it says? What a page shows is done here, word by word, and nothing else.

A mark stands above each block of a page that a person could copy:

    <!-- file: NAME -->      written into the reader's folder
    <!-- serve -->           started, and left running until the page serves again or ends
    <!-- run -->             must end well; of each `…` in it, what an earlier block has printed
    <!-- shown -->           is what one sees, or a piece of a file; a reason may follow: <!-- shown: why -->

A piece of a configuration is read as one, whatever its mark.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.parts import ROOT, debian, local_model
from tidegate.config import Config, parse

GENERATED = ROOT / "docs" / "reference"
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if GENERATED not in page.parents)
BLOCK = re.compile(r"^(?:<!-- (\w+)(?:: ([^\n]*))? -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COPIED = ("sh", "yaml", "python", "json")  # languages that a reader copies
PATIENCE_S = 60
PORT = "8080"


class Block(NamedTuple):
    mark: str
    word: str
    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1] or "", found[2] or "", found[3], found[4], text.count("\n", 0, found.start()) + 1)
        for found in BLOCK.finditer(text)
    ]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_of_every_block_that_can_be_copied_a_page_says_whether_it_is_run(page: Path) -> None:
    unmarked = [f"{name(page)}:{one.line}" for one in blocks(page) if one.language in COPIED and not one.mark]
    assert not unmarked
    assert {one.mark for one in blocks(page)} <= {"", "file", "serve", "run", "shown"}


LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")
LINKING = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])


@pytest.mark.parametrize("page", LINKING, ids=name)
def test_what_a_page_points_to_is_there(page: Path) -> None:
    assert [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()] == []


ENV = re.compile(r"env:(\w+)")
VALUES = {"DATABASE_URL": "postgresql://user@127.0.0.1:9/name", "HTTPS_PROXY": "http://127.0.0.1:9"}
SHOWN = [(page, one) for page in PAGES for one in blocks(page) if one.language == "yaml"]


@pytest.mark.parametrize(("page", "block"), SHOWN, ids=[f"{name(page)}:{one.line}" for page, one in SHOWN])
def test_what_is_shown_of_a_configuration_can_stand_in_one(
    page: Path, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for one in blocks(page):
        if one.mark == "file" and one.language == "python":  # a plugin of the reader's
            monkeypatch.delitem(sys.modules, Path(one.word).stem, raising=False)
            Path(one.word).write_text(one.text, encoding="utf-8")
    tree = yaml.safe_load(block.text)
    assert set(tree) <= set(Config.__struct_fields__), "no configuration: mark it as something else than yaml"
    variables = {
        name: VALUES.get(name, f"{name.lower()}-of-thirty-two-characters-at-least") for name in ENV.findall(block.text)
    }
    named = set(re.findall(r"provider: ([\w-]+)|: ([\w-]+)/", block.text))
    missing = {name for names in named for name in names if name} - set(tree.get("providers", {}))
    tree["providers"] = tree.get("providers", {}) | {name: {"type": "scripted"} for name in missing}
    parse(yaml.safe_dump(tree), variables)


@debian("curl")
@local_model()
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(one.mark in ("run", "serve") for one in blocks(page))], ids=name
)
def test_a_page_leads_where_it_says(page: Path, tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        for block in blocks(page):
            reader.follow(block)


class Reader:
    """Somebody in a folder of their own, with Tidegate installed and this page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = str(free_port())
        self.printed = ""
        self.server: subprocess.Popen[bytes] | None = None
        self.log = folder / "server.log"
        self.env = {
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TIDEGATE_API_PORT": self.port,
            "TIDEGATE_URL": f"http://127.0.0.1:{self.port}",
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def follow(self, block: Block) -> None:
        text = block.text.replace(f":{PORT}", f":{self.port}").replace(".venv/bin/tidegate", "tidegate")
        text = re.sub(r"^\./run\b", "tidegate serve", text, flags=re.MULTILINE)
        if block.mark == "file":
            (self.folder / block.word).write_text(text, encoding="utf-8")
        elif block.mark == "serve":
            self.stop()
            self.serve(text.strip())
        elif block.mark == "run":
            self.run(self.filled(text), block.line)

    def filled(self, text: str) -> str:
        """With what was printed before in place of what a page cannot know: `req_019…` is a request id from above."""
        for start in set(re.findall(r"([\w-]*)…", text)):
            prefix = start[:4] if start else ""
            seen = re.findall(rf"\b{re.escape(prefix)}[\w-]+", self.printed)
            assert prefix and seen, f"nothing that begins as {start!r} was printed before: {self.printed[-2000:]}"
            text = text.replace(f"{start}…", max(seen, key=len))
        return text

    def run(self, text: str, line: int) -> None:
        done = subprocess.run(
            ["sh", "-ec", text], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=PATIENCE_S
        )
        said = f"line {line}: {text}\n{done.stdout}\n{done.stderr}\n{self.log_text()}"
        assert done.returncode == 0, said
        assert not re.search(r"^HTTP/1.1 [45]|^\{\"error\"|^\{\"type\":\"error\"", done.stdout, re.MULTILINE), said
        self.printed += done.stdout
        exports = re.findall(r"^export (.+)$", text, re.MULTILINE)
        for assigned in " ".join(exports).split():
            key, _, value = assigned.partition("=")
            self.env[key] = re.sub(r"\$(\w+)", lambda found: self.env.get(found[1], ""), value)

    def serve(self, command: str) -> None:
        with self.log.open("wb") as out:
            self.server = subprocess.Popen(
                ["sh", "-c", f"exec {command}"], cwd=self.folder, env=self.env, stdout=out, stderr=out
            )
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and not self.ready():
            assert self.server.poll() is None, self.log_text()
            time.sleep(0.1)
        self.printed += self.log_text()
        if key := re.search(r"tg_live_\w+", self.log_text()):
            self.env["TIDEGATE_KEY"] = key[0]

    def ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            try:
                assert self.server.wait(PATIENCE_S) == 0, self.log_text()
            finally:
                self.server.kill()
            self.server = None


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


def free_port() -> int:
    with listening() as port:
        return port
