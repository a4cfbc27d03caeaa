"""Where do the others live? Each in an environment of its own, filled once with what its lock names.

The locks lie in bench/environments, the environments in .venvs beside the code. A lock is made by

    uv pip compile --python-version 3.11 --generate-hashes --no-header NAME.in [--override NAME.override]
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from bench.procs import Unavailable

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "bench" / "environments"
INSTALL_S = 900


class Installed(NamedTuple):
    packages: int
    megabytes: float


def python(name: str) -> Path:
    """The Python of the environment that `NAME.txt` fills. Raises Unavailable."""
    lock, home = LOCKS / f"{name}.txt", ROOT / ".venvs" / f"bench-{name}"
    found = home / "bin" / "python"
    flags = ("--require-hashes", "--no-deps", "--only-binary", ":all:")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--python", str(found), "install")
    venv = (sys.executable, "-m", "venv", "--without-pip", str(home))
    _fill(name, home, [lock], [venv, (*pip, *flags, "--requirement", str(lock))])
    return found


def node(name: str) -> Path:
    """The folder that `NAME/package-lock.json` fills. Raises Unavailable."""
    home = ROOT / ".venvs" / f"bench-{name}"
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Unavailable(f"{name} needs Node and npm: apt-get install nodejs npm")
    files = [LOCKS / name / "package.json", LOCKS / name / "package-lock.json"]
    copy = ("cp", *(str(path) for path in files), str(home))
    npm = ("npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")
    _fill(name, home, files, [copy, npm])
    return home


def _fill(name: str, home: Path, locks: Sequence[Path], steps: Sequence[Sequence[str]]) -> None:
    """Take `steps` in an empty `home`, unless they were taken before for the same `locks`."""
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in locks)).hexdigest()
    stamp = home / "bench.stamp"
    if stamp.exists() and stamp.read_text() == digest:
        return
    began = time.monotonic()
    print(f"bench: installing {name} into {home.relative_to(ROOT)}, once", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, errors="replace", timeout=INSTALL_S, cwd=home)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{name} could not be installed: {error}") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise Unavailable(f"{name} could not be installed ({' '.join(step[:4])} …): {' '.join(said)[-500:]}")
    stamp.write_text(digest)
    print(f"bench: done in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def weighed(home: Path) -> Installed:
    """An environment's packages and all their files, compiled ones too."""
    if (home / "node_modules").is_dir():
        lock = json.loads((home / "package-lock.json").read_text("utf-8"))
        return Installed(sum(bool(name) for name in lock["packages"]), _megabytes(home / "node_modules"))
    site = next((home / "lib").glob("python*")) / "site-packages"
    return Installed(len(list(site.glob("*.dist-info"))), _megabytes(site))


def _megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def base() -> Installed:
    """Tidegate's base: the packages of requirements/base.txt that this machine takes, and Tidegate itself.

    Weighed as they are installed where we run, with what Python compiled of them; the local model is none of them.
    """
    lines = (ROOT / "requirements" / "base.txt").read_text("utf-8").splitlines()
    names = [line.partition("==")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))]
    ours = ROOT / "src" / "tidegate"
    # What the console is made of is in no wheel, and what npm brings to make it lies there, too.
    count, size = 1, _megabytes(ours) - _megabytes(ours / "console" / "source")
    for name in names:
        try:
            files = metadata.distribution(name).files or []
        except metadata.PackageNotFoundError:
            continue  # for another system
        count += 1
        paths = {Path(str(file.locate())) for file in files}
        paths |= {made for path in paths if path.suffix == ".py" for made in _compiled(path)}
        size += sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
    return Installed(count, size)


def _compiled(path: Path) -> list[Path]:
    return list((path.parent / "__pycache__").glob(f"{path.stem}.{sys.implementation.cache_tag}*.pyc"))


def clean(**more: str) -> dict[str, str]:
    """This process's environment without what would change a gateway's mind."""
    # What is installed is compiled: to compile it again at each start is half of a start.
    prefixes = ("TIDEGATE_", "LITELLM_", "OPENAI_", "ANTHROPIC_", "TENSORZERO_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)} | more


def importing_ours() -> dict[str, str]:
    """The same, for a child that shall find the very Tidegate and bench that we are."""
    ours = (str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH"))
    return clean(PYTHONPATH=os.pathsep.join(filter(None, ours)))
