"""Every test here runs on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.loops import both_loops


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return both_loops()
