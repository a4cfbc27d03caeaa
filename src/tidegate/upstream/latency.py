"""How long does it take lately? A moving mean, and quantiles of the last few."""

from __future__ import annotations

from array import array

KEPT = 1024  # samples: of fewer, a few slow ones more than usual move a p95 by seconds
MIN_SAMPLES = 20  # below, a quantile is a guess
SHARE = 0.2  # of the newest sample in the mean
STALE = 32  # samples after which a quantile is looked up anew: sorting them each time would cost more than it tells


class Latency:
    __slots__ = ("_known", "_samples", "_taken", "count", "mean_s")

    def __init__(self) -> None:
        self.mean_s = 0.0
        self.count = 0
        self._samples = array("f")  # four bytes each, for thousands of targets may be known
        self._known: dict[float, float] = {}
        self._taken = 0  # count when `_known` was made

    def add(self, seconds: float) -> None:
        self.mean_s = seconds if not self.count else self.mean_s + SHARE * (seconds - self.mean_s)
        if len(self._samples) < KEPT:
            self._samples.append(seconds)
        else:
            self._samples[self.count % KEPT] = seconds
        self.count += 1

    def quantile(self, share: float) -> float | None:
        """None while there are too few to say."""
        if len(self._samples) < MIN_SAMPLES:
            return None
        if self.count - self._taken >= STALE:
            self._known, self._taken = {}, self.count
        if share not in self._known:
            ordered = sorted(self._samples)
            self._known[share] = ordered[min(int(share * len(ordered)), len(ordered) - 1)]
        return self._known[share]
