"""What holds for every test."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from tests.clock import JumpingLoop

pytest_plugins = ["tests.house", "tests.postgres", "tests.valkey"]

# Nothing is written into the working copy, and a slow or shared machine is no failure.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "tidegate-hypothesis")
settings.register_profile(
    "house", database=None, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    """Nobody is trusted whom a test does not name; and of all whom this machine trusts, to read takes 50 ms a house."""
    folder = tempfile.TemporaryDirectory(prefix="tidegate-trust-")
    config.add_cleanup(folder.cleanup)
    nobody = Path(folder.name) / "nobody.pem"
    trustme.CA().cert_pem.write_to_path(str(nobody))
    os.environ["SSL_CERT_FILE"] = str(nobody)


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, type[JumpingLoop]]:
    """asyncio's own loop, which tells a test's clock when nothing is left to do; without such a clock it is as ever."""
    return {"asyncio": JumpingLoop}


def pytest_collection_finish() -> None:
    """Ten thousand tests stay to the end: whoever looks for garbage need not look at them, a tenth of a second each."""
    gc.collect()
    gc.freeze()
