"""Is it well? For people, load balancers and Prometheus; no key is asked for, and nothing here is anybody's secret."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from tidegate.api.incoming import Incoming
from tidegate.gateway import Gateway
from tidegate.telemetry.metrics import CONTENT_TYPE, OPEN_METRICS, Metrics


async def health(gateway: Gateway, incoming: Incoming) -> None:
    """The process answers."""
    body = {"status": "healthy", "timestamp": datetime.now(UTC).isoformat()}
    await incoming.answer(200, msgspec.json.encode(body))


async def ready(differs: Callable[[], Sequence[str]], gateway: Gateway, incoming: Incoming) -> None:
    """It may be sent calls: it is not leaving, and some provider can be asked.

    That it differs from others who serve is said, and keeps it from nothing: each release begins so.
    """
    troubles = {name: provider.trouble() for name, provider in gateway.providers.items()}
    leaving = gateway.world.closing.is_set()
    well = not leaving and any(trouble is None for trouble in troubles.values())
    body: dict[str, Any] = {
        "status": "ready" if well else "shutting down" if leaving else "no provider can be asked",
        "providers": {name: trouble or "ok" for name, trouble in troubles.items()},
    }
    if differs():
        body["differs"] = f"{', '.join(differs())}: not alike in all that serve; tidegate topology says where"
    await incoming.answer(200 if well else 503, msgspec.json.encode(body))


async def metrics(metrics: Metrics, incoming: Incoming) -> None:
    """With exemplars for who can read them; of all workers of this machine together, without."""
    wanted = b"application/openmetrics-text" in (incoming.header(b"accept") or b"")
    if metrics.together is not None:
        await incoming.answer(200, await metrics.together.page(), kind=CONTENT_TYPE)
        return
    await incoming.answer(200, metrics.page(exemplars=wanted), kind=OPEN_METRICS if wanted else CONTENT_TYPE)
