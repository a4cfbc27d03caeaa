"""What holds for every test."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

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


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, type[JumpingLoop]]:
    """asyncio's own loop, which tells a test's clock when nothing is left to do; without such a clock it is as ever."""
    return {"asyncio": JumpingLoop}


def pytest_collection_finish() -> None:
    """Ten thousand tests stay to the end: whoever looks for garbage need not look at them, a tenth of a second each."""
    gc.collect()
    gc.freeze()
