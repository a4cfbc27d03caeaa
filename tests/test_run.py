"""`run`: what it says when something is in its way. The way itself is walked by newcomer.py."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.parts import ROOT

RUN = ROOT / "run"


@pytest.fixture
def run(tmp_path: Path) -> ModuleType:
    """The file as a module, for a project that lies in `tmp_path`."""
    shutil.copy(RUN, tmp_path / "run")
    loader = SourceFileLoader("run_under_test", str(tmp_path / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def ask(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(RUN), *args], capture_output=True, text=True, timeout=20)


def test_where_all_must_be_there_the_same_files_draw_the_same(run: ModuleType, monkeypatch: pytest.MonkeyPatch):
    def git(*words: str) -> None:
        by = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        subprocess.run(["git", *by, *words], cwd=run.ROOT, check=True, capture_output=True)

    git("init", "--quiet")
    git("add", "run")
    git("commit", "--quiet", "--message", "one")
    monkeypatch.delenv("TIDEGATE_CI", raising=False)
    assert run.drawn() == ()
    monkeypatch.setenv("TIDEGATE_CI", "1")
    (first,) = run.drawn()
    assert re.fullmatch(r"--hypothesis-seed=\d+", first)
    git("commit", "--quiet", "--allow-empty", "--message", "the same files")
    assert run.drawn() == (first,)
    (run.ROOT / "more").write_text("more")
    git("add", "more")
    git("commit", "--quiet", "--message", "others")
    assert run.drawn() != (first,)


def test_an_old_python_can_read_it_and_says_what_is_needed():
    ast.parse(RUN.read_text(encoding="utf-8"), feature_version=(3, 7))
    old = "import sys; sys.version_info = (3, 9, 2, 'final', 0); exec(compile(open(sys.argv[1]).read(), 'run', 'exec'))"
    said = subprocess.run([sys.executable, "-c", old, str(RUN)], capture_output=True, text=True, timeout=20)
    assert said.returncode == 1
    assert said.stderr.startswith("Tidegate needs Python 3.11 or newer; this is ")


def test_help_shows_every_verb_with_an_example():
    said = ask("--help")
    assert said.returncode == 0
    for verb in ("test", "check", "docs", "bench", "prices", "lock"):
        assert f"./run {verb}" in said.stdout


def test_an_unknown_verb_names_those_there_are_and_where_tidegates_own_are():
    said = ask("keys")
    assert said.returncode == 1
    assert "no 'keys' here, only serve, test, check, docs, prices, lock" in said.stderr
    assert str(Path(".venv", "bin", "tidegate")) + " keys" in said.stderr or os.name == "nt"


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (
            "Collecting anyio==4.16.0\nWARNING: Retrying (Retry(total=4)) after connection broken by "
            "'NewConnectionError'\nERROR: No matching distribution found for anyio==4.16.0",
            "could not fetch anyio==4.16.0: no way to the package index; check the network",
        ),
        ("ERROR: No matching distribution found for uvloop==0.23.0", "there is no uvloop==0.23.0 for this Python"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
        ("Error: [Errno 13] Permission denied: '/x/.venv'", "cannot write below"),
        ("Collecting a==1\nERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "a==1: what came is not what the lock file"),
        ("The virtual environment was not created because ensurepip is not available", "apt-get install python3-venv"),
        ("something else entirely", "could not install:\nsomething else entirely"),
    ],
)
def test_what_stands_in_the_way_is_explained(run: ModuleType, output: str, says: str):
    assert says in str(run.explained(output))


@pytest.mark.parametrize("verb", ["test", "check"])
def test_tests_and_checks_see_the_extras_and_whoever_serves_does_not_need_them(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
):
    filled: list[str] = []
    run.fill = lambda venv, name, *_, **__: filled.append(name) if venv == run.VENV else None
    run.become = lambda *_: None
    run.install_embedder = run.install_console = lambda: None
    run.subprocess = SimpleNamespace(call=lambda command: 0)
    monkeypatch.chdir(tmp_path)
    for name in ("TIDEGATE_MATRIX", "TIDEGATE_CI"):
        monkeypatch.delenv(name, raising=False)
    run.serve([])
    assert filled == ["base", "local"]
    with suppress(SystemExit):
        getattr(run, verb)([])
    assert filled[4] == "extras"  # before what is held to its versions
    assert "test" in filled[5:]


def test_what_pyproject_calls_an_extra_is_locked_for_the_tests():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    lock = (ROOT / "requirements" / "extras.txt").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    wanted = {re.split(r"[\[<>=]", one)[0] for name, extra in told.items() if name != "deep-pii" for one in extra}
    assert wanted <= locked


def test_nothing_is_installed_twice(run: ModuleType, tmp_path: Path):
    ran: list[list[str]] = []
    run.attend = lambda command: ran.append(list(command))
    run.make = lambda venv: venv.mkdir(exist_ok=True)
    lock = tmp_path / "lock.txt"
    lock.write_text("a==1\n")
    for _ in range(3):
        run.fill(run.VENV, "part", [run.locked(lock)], made_of=[lock])
    assert len(ran) == 1
    lock.write_text("a==2\n")
    run.fill(run.VENV, "part", [run.locked(lock)], made_of=[lock])
    assert len(ran) == 2
    assert "--require-hashes" in ran[1]


def test_what_was_interrupted_is_done_again(run: ModuleType, tmp_path: Path):
    def interrupted(command: list[str]) -> None:
        raise KeyboardInterrupt

    run.make = lambda venv: venv.mkdir(exist_ok=True)
    lock = tmp_path / "lock.txt"
    lock.write_text("a==1\n")
    run.attend = interrupted
    with pytest.raises(KeyboardInterrupt):
        run.fill(run.VENV, "part", [run.locked(lock)], made_of=[lock])
    ran: list[list[str]] = []
    run.attend = lambda command: ran.append(list(command))
    run.fill(run.VENV, "part", [run.locked(lock)], made_of=[lock])
    assert len(ran) == 1


def test_without_a_build_of_the_local_model_the_rest_is_installed(
    run: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def nothing_for_us(command: list[str]) -> None:
        raise run.NoWheel("there is no xllamacpp for this Python and this machine")

    run.make = lambda venv: venv.mkdir(exist_ok=True)
    run.attend = nothing_for_us
    lock = tmp_path / "lock.txt"
    lock.write_text("xllamacpp==1\n")
    run.fill(run.VENV, "local", [run.locked(lock)], made_of=[lock], optional=True)
    assert "going on without it: there is no xllamacpp" in capsys.readouterr().err
    with pytest.raises(run.NoWheel):
        run.fill(run.VENV, "base", [run.locked(lock)], made_of=[lock])


def test_an_environment_that_somebody_else_made_is_left_alone(run: ModuleType):
    run.VENV.mkdir()
    (run.VENV / "theirs").touch()
    with pytest.raises(run.Failed, match=r"was not made by \./run"):
        run.make(run.VENV)
    assert (run.VENV / "theirs").exists()


def test_an_environment_is_made_anew_when_its_folder_has_moved(run: ModuleType):
    made: list[list[str]] = []

    def make_venv(command: list[str]) -> None:
        made.append(list(command))
        python = Path(run.program("python"))
        python.parent.mkdir()
        python.symlink_to(sys.executable)

    run.attend = make_venv
    run.make(run.VENV)
    run.make(run.VENV)
    assert len(made) == 1
    (run.VENV / "made-by-run").write_text("/elsewhere/.venv /usr/bin/python3\n")
    run.make(run.VENV)
    assert len(made) == 2


def test_a_python_without_ensurepip_is_told_what_to_install(run: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(run.Failed, match="apt-get install python3-venv"):
        run.make(run.VENV)
    assert not run.VENV.exists()


def test_the_locks_pin_everything_by_hash_and_name_no_address():
    locks = [*(ROOT / "requirements").rglob("*.txt"), ROOT / "src/tidegate/providers/local/requirements.txt"]
    assert len(locks) >= 6
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        pins = [line for line in text.splitlines() if line and line[0] not in " #"]
        assert all("==" in pin for pin in pins), lock
        assert text.count("--hash=sha256:") >= len(pins), lock
        assert "://" not in text, lock
        assert not any(pin.startswith("-") for pin in pins), lock
        assert str(ROOT) not in text, lock


def test_the_base_is_small():
    base = (ROOT / "requirements" / "base.txt").read_text(encoding="utf-8")
    assert sum("==" in line and not line.startswith((" ", "#")) for line in base.splitlines()) <= 35
