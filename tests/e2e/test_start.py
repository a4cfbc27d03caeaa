"""How soon does it answer, and what does it touch on the way? The figures are printed and fail nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import Gateway, gateway

pytestmark = pytest.mark.timeout(300)

SCRIPTED = "providers: {main: {type: scripted}}\nroutes: {fast: {targets: [{provider: main, model: m}]}}\n"

# Tells of every socket, and of every file that is opened to be written, by appending to the file in WATCH.
WATCH = """
import os, sys
noted = os.open(os.environ["WATCH"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def watch(event, args):
    if event == "open":
        writes = (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writes:
            os.write(noted, f"{event} {args[0]}\\n".encode())
    elif event in ("socket.__new__", "socket.connect", "socket.sendto", "socket.getaddrinfo", "subprocess.Popen"):
        where = args[0] if event == "socket.getaddrinfo" else args[1]
        os.write(noted, f"{event} {where}\\n".encode())
sys.addaudithook(watch)
"""
IMPORT_ALL = """
import importlib, pkgutil, tidegate
for module in pkgutil.walk_packages(tidegate.__path__, "tidegate."):
    if not module.name.endswith(("__main__", "local.server", "embedder.quantise")):
        importlib.import_module(module.name)
        print(module.name)
"""
SERVE = "from tidegate.cli import main; main()"


def python(code: str, watched: Path) -> str:
    """What `code` prints, in a process of its own."""
    environment = {**os.environ, "WATCH": str(watched), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_at_import_no_socket_is_opened_and_no_file_written(tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    modules = python(WATCH + IMPORT_ALL, watched).split()
    assert {"tidegate.cli.serve", "tidegate.api.admin", "tidegate.providers.openai"} <= set(modules)
    assert watched.read_text() == ""
    python(WATCH + "import socket; socket.socket().close(); open(os.devnull, 'w').close()", watched)
    assert [line.split()[0] for line in watched.read_text().splitlines()] == ["socket.__new__", "open"]


def test_how_long_an_import_takes(tmp_path: Path) -> None:
    timed = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"
    for name in ("tidegate", "tidegate.cli"):
        took = sorted(float(python(timed.format(name), tmp_path / "watched")) for _ in range(3))
        print(f"\nimport {name}: {took[1] * 1000:.0f} ms (median of 3)", end="")


async def test_how_long_the_first_answer_takes_and_that_nothing_outside_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCH", str(tmp_path / "watched"))
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    for code in ("", WATCH):
        began = time.monotonic()
        async with gateway(tmp_path, SCRIPTED, python=("-c", code + SERVE)) as tidegate:
            ready = time.monotonic() - began
            assert (await tidegate.ask()).status == 200
            took, rss = time.monotonic() - began, resident_mib(tidegate)
            await tidegate.stop()
        if not code:
            print(f"\nfrom spawn: healthy after {ready:.2f} s, answer after {took:.2f} s, then {rss} MiB resident")
    seen = [line.split(" ", 1) for line in (tmp_path / "watched").read_text().splitlines()]
    assert any(event == "socket.connect" for event, _ in seen)
    asked = {where for event, where in seen if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo")}
    assert not [where for where in asked if "127.0.0.1" not in where and "::1" not in where]
    written = {where for event, where in seen if event == "open"}
    assert not [path for path in written if not path.startswith((str(tmp_path), "/dev/null"))]


def resident_mib(tidegate: Gateway) -> str:
    status = Path(f"/proc/{tidegate.pid}/status")
    if not status.exists():
        return "?"
    fields: dict[str, Any] = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return str(int(fields["VmRSS"].split()[0]) // 1024)
