"""Who is told of what happens, besides the log and the metrics?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from tidegate.app.bottom import Base
from tidegate.config import Config
from tidegate.core.ports import Closed, Codecs
from tidegate.core.world import World
from tidegate.storage.personal import Rows
from tidegate.telemetry import Listeners
from tidegate.telemetry.alerts import Alerts
from tidegate.telemetry.logs import Log
from tidegate.telemetry.metrics import Metrics
from tidegate.telemetry.outlets import Outlets
from tidegate.telemetry.settings import Settings
from tidegate.telemetry.sinks.clickhouse import ClickHouse
from tidegate.telemetry.traces import Traces

Count = Callable[[], int]


def listen(events: Listeners, one: Any, metrics: Metrics) -> None:
    events.add(one)
    metrics.registry.register(one)


async def listeners(
    config: Config,
    base: Base,
    events: Listeners,
    log: Log,
    metrics: Metrics,
    words: Codecs,
    undo: AsyncExitStack,
) -> tuple[Outlets, Traces | None, dict[str, Count]]:
    """All who are told of what happens besides the log and the metrics; and how much of what was lost."""
    world, ledger, bodies, traces = base.world, base.world.ledger, base.bodies, None
    outlets = await _outlets(config, log, world, undo)
    alerts = outlets.alerts
    dropped: dict[str, Count] = {
        "ledger": lambda: ledger.backlog().lost + metrics.rows_lost,
        "log": lambda: log.dropped,
        "bodies": lambda: bodies.dropped,
    }
    if alerts.lines:
        dropped["alerts"] = lambda: alerts.dropped
        listen(events, alerts, metrics)
    if config.sinks.clickhouse is not None:
        masked = Rows(base.vault).masked if base.vault.seals else _as_it_is
        sink = ClickHouse(config.sinks.clickhouse, world, masked)
        dropped["clickhouse"] = lambda: sink.dropped
        undo.push_async_callback(sink.aclose)
        listen(events, sink, metrics)
    if config.traces.to:
        traces = told = Traces(config.traces, world, words)
        dropped["traces"] = lambda: told.dropped
        undo.push_async_callback(traces.aclose)
        listen(events, traces, metrics)
    return outlets, traces, dropped


def _as_it_is(row: Closed) -> Closed:
    return row


async def _outlets(config: Config, log: Log, world: World, undo: AsyncExitStack) -> Outlets:
    settings = Settings(world.store, world.clock)
    outlets = Outlets(log, Alerts(config.alerts, world, settings), settings)
    undo.push_async_callback(outlets.alerts.aclose)
    settings.heard.append(outlets.take_up)
    undo.callback(world.loop.create_task(settings.run(), name="look for settings").cancel)
    return outlets
