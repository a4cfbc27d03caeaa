"""Every test here runs on both event loops, but for those that live in a house: its clock needs a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.clock import JumpingLoop
from tests.loops import both_loops

HOUSES = {"house", "build_house", "served"}


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": JumpingLoop} if HOUSES & {*item.fixturenames} else both_loops()
