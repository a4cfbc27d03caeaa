"""Processes and pipes are each event loop's own, and Tidegate runs on both; the model does not know which."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.loops import both_loops


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops = both_loops()
    return loops if item.path.name == "test_supervised.py" else {"uvloop": loops["uvloop"]}
