"""What comes with an installed Tidegate, and whom it speaks to: what is locked, and who is configured."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.parts import ROOT

LOCK = ROOT / "requirements" / "base.txt"
PINS = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", LOCK.read_text("utf-8"), re.MULTILINE))
WATCH = """
import sys
def watch(event, args):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"):
        told = (event, *args[:1]) if event == "socket.getaddrinfo" else (event, args[1])
        print("socket:", *map(repr, told), file=sys.stderr, flush=True)
sys.addaudithook(watch)
from tidegate.cli import main
print("imported", file=sys.stderr, flush=True)
main(sys.argv[1:])
"""
CONFIG = """
providers: {main: {type: openai, base_url: "http://127.0.0.1:9/v1", keys: [k], models: [m]}}
"""


def test_nothing_in_the_base_runs_by_itself_when_python_starts():
    for name in PINS:
        try:
            found = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system
        assert [str(one) for one in found if str(one).endswith(".pth")] == [], name


def test_every_package_is_pinned_by_hash():
    blocks = re.split(r"\n(?=[A-Za-z0-9])", LOCK.read_text("utf-8"))
    assert len(blocks) == len(PINS) > 20
    assert [block.split("=")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_bill_of_materials_is_what_the_lock_says_and_the_same_each_time():
    command = [sys.executable, str(ROOT / "tools" / "sbom.py")]
    first, second = (subprocess.run(command, capture_output=True, check=True, timeout=20).stdout for _ in range(2))
    assert first == second
    made = json.loads(first)
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert {one["name"]: one["version"] for one in made["components"]} == PINS
    refs = [one["bom-ref"] for one in made["components"]]
    graph = {one["ref"]: one["dependsOn"] for one in made["dependencies"]}
    assert set(graph) == {*refs, made["metadata"]["component"]["bom-ref"]}
    assert any("pydantic" in one for one in graph[next(ref for ref in refs if "/fastapi@" in ref)])
    assert all(one["properties"] for one in made["components"])


def test_the_bill_of_a_folder_is_of_what_is_there_and_of_nothing_that_was_not_locked(tmp_path: Path):
    def installed(name: str, version: str) -> None:
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        licence = "License-Expression: MIT\n" if name == "click" else ""
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{licence}")

    installed("tidegate", "0.1.0")
    installed("click", PINS["click"])
    command = [sys.executable, str(ROOT / "tools" / "sbom.py"), "--image", "--installed", str(tmp_path)]
    (one,) = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=20).stdout)["components"]
    assert (one["name"], one["licenses"]) == ("click", [{"expression": "MIT"}])
    installed("left-pad", "1.0")
    said = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert said.returncode == 1 and "not what is locked: left-pad 1.0" in said.stderr


def test_a_wheel_that_is_built_twice_has_the_same_bytes(tmp_path: Path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-build-isolation", "--no-deps"]
    for name in ("one", "two"):
        words = [*pip, "--quiet", "--wheel-dir", str(tmp_path / name), str(ROOT)]
        subprocess.run(words, check=True, capture_output=True, timeout=120)
    (one,), (two,) = ((tmp_path / name).glob("*.whl") for name in ("one", "two"))
    assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(two.read_bytes()).digest()


def test_an_installed_tidegate_opens_no_socket_but_to_what_is_configured(tmp_path: Path):
    (tmp_path / "tidegate.yaml").write_text(CONFIG)
    log = tmp_path / "log"
    environment = {name: os.environ[name] for name in ("PATH",)} | {"TIDEGATE_ADMIN_KEY": "a-key-of-twenty-characters"}
    with log.open("wb") as out:
        serving = subprocess.Popen(
            [sys.executable, "-c", WATCH, "serve", "--port", "0"], cwd=tmp_path, env=environment, stderr=out, stdout=out
        )
        try:
            port = said(serving, log, r"answers on http://127\.0\.0\.1:(\d+)")
            ask = ["curl", "-s", "--max-time", "20", f"http://127.0.0.1:{port}/v1/chat/completions", "-d", BODY]
            head = ["-H", "authorization: Bearer a-key-of-twenty-characters", "-H", "content-type: application/json"]
            subprocess.run([*ask, *head], capture_output=True, check=True, timeout=30)
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(30) == 0, log.read_text()
        finally:
            serving.kill()
            serving.wait()
    opened = re.findall(r"^socket: (.*)$", log.read_text().partition("imported")[2], re.MULTILINE)
    assert "socket:" not in log.read_text().partition("imported")[0]
    assert any("('127.0.0.1', 9)" in one for one in opened), opened  # the provider that is configured
    # Servers of models are looked for on this machine at start, and nowhere else.
    assert [one for one in opened if "127.0.0.1" not in one and "::1" not in one] == []
    assert [one for one in opened if "bind" in one and "127.0.0.1" not in one] == []


BODY = '{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'


def said(process: subprocess.Popen[bytes], log: Path, pattern: str) -> str:
    until = time.monotonic() + 30
    while not (found := re.search(pattern, log.read_text())):
        assert process.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.05)
    return found[1]
