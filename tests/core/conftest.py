"""What waits here waits the same way on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tidegate import plugins


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "fastest": plugins.loop_factory()}
