"""How many clients are connected? In all, and from each address, within bounds.

A connection costs memory and a file descriptor before it has said a word, so it is counted before it is heard.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate import api
from tidegate.api.proxies import Proxies
from tidegate.core.addresses import neighbourhood
from tidegate.core.errors import LimitReached, TidegateError, TooManyConnections

if sys.platform != "win32":
    import resource

RETRY_S = 1.0
LINGERING = 256  # who is turned away and heard out at once; to others nothing is said


class Crowd(Collector):
    """All connections of one listener: each that enters leaves once."""

    def __init__(self, config: api.Config) -> None:
        self._most = min(config.max_connections, descriptors() // 2)  # the other half is for what we ask for them
        self._each = config.max_per_address
        self._proxies = Proxies(config.trusted_proxies)
        self._from: dict[str, int] = {}
        self._turned_away = 0
        self.here = 0
        self.lingering = 0

    def enter(self, peer: str) -> TidegateError | None:
        """Counts it; what is wrong with that, if anything is."""
        who = neighbourhood(peer)
        count = self._from[who] = self._from.get(who, 0) + 1
        self.here += 1
        wrong: TidegateError | None = None
        if self.here > self._most:
            wrong = TooManyConnections(
                f"{self._most} clients are connected, which is all that may be (api.max_connections)",
                retry_after_s=RETRY_S,
            )
        elif count > self._each and not self._proxies.trust(peer):
            wrong = LimitReached(
                f"{self._each} connections come from this address, which is all that it may have "
                "(api.max_per_address); use each for more than one request",
                retry_after_s=RETRY_S,
            )
        self._turned_away += wrong is not None
        return wrong

    def leave(self, peer: str) -> None:
        who = neighbourhood(peer)
        self.here -= 1
        left = self._from[who] - 1
        if left:
            self._from[who] = left
        else:
            del self._from[who]

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("tidegate_client_connections", "Clients that are connected", self.here)
        yield CounterMetricFamily("tidegate_connections_refused", "Connections of clients too many", self._turned_away)


def descriptors(*, more: bool = False) -> int:
    """How many files and sockets this process may have open; `more`: as many as it can be given without asking."""
    if sys.platform == "win32":
        return sys.maxsize
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if more and soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
