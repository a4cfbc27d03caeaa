"""A house in which something is tried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.house import Build, House
from tidegate.core.experiments import Experiment, read

ROUTES = """
logs: {calls: false}
providers:
  main: {type: scripted, price: {input: 1, output: 2}}
  spare: {type: scripted, price: {input: 3, output: 6}}
routes:
  fast:
    aliases: [quick]
    targets: [{provider: main, model: m}]
    limits: [{of: requests, most: 1000, per: 60s}]
  other: {targets: [{provider: spare, model: o}], guardrails: {input: [{type: pii, action: block}]}}
"""

Begin = Callable[..., Awaitable[Experiment]]


async def begin(
    house: House, *arms: dict[str, Any], state: str = "running", stage: int = 0, **fields: Any
) -> Experiment:
    """An experiment with everybody in it, unless something else is said."""
    desk = house.app.gateway.experiments.desk
    said = {"name": "t", "route": "fast", "ramp": [1.0], "arms": arms or [{"name": "b", "target": "spare/n"}]} | fields
    made = await desk.make(read(said), "k")
    arm = said["arms"][0]["name"] if state == "promoted" else ""
    return await desk.move(made, "started", state, stage, by="k", why="a test", arm=arm)  # type: ignore[arg-type]


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(ROUTES)
