"""Is it well? For people, load balancers and Prometheus; no key is asked for, and nothing here is anybody's secret."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from tidegate.api.incoming import Incoming
from tidegate.gateway import Gateway
from tidegate.telemetry.metrics import CONTENT_TYPE, OPEN_METRICS, Metrics


async def health(gateway: Gateway, incoming: Incoming) -> None:
    """The process answers."""
    body = {"status": "healthy", "timestamp": datetime.now(UTC).isoformat()}
    await incoming.answer(200, msgspec.json.encode(body))


async def ready(gateway: Gateway, incoming: Incoming) -> None:
    """It may be sent calls: it is not leaving, and some provider can be asked."""
    troubles = {name: provider.trouble() for name, provider in gateway.providers.items()}
    leaving = gateway.world.closing.is_set()
    well = not leaving and any(trouble is None for trouble in troubles.values())
    body = {
        "status": "ready" if well else "shutting down" if leaving else "no provider can be asked",
        "providers": {name: trouble or "ok" for name, trouble in troubles.items()},
    }
    await incoming.answer(200 if well else 503, msgspec.json.encode(body))


async def metrics(metrics: Metrics, incoming: Incoming) -> None:
    """With exemplars for who can read them; of all workers of this machine together, without."""
    wanted = b"application/openmetrics-text" in (incoming.header(b"accept") or b"")
    if metrics.together is not None:
        await incoming.answer(200, await metrics.together.page(), kind=CONTENT_TYPE)
        return
    await incoming.answer(200, metrics.page(exemplars=wanted), kind=OPEN_METRICS if wanted else CONTENT_TYPE)
