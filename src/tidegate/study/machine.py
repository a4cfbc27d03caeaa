"""Who else used this machine? A second of the case study is a tenth of one here, and a core that is taken costs ten."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

STAT = Path("/proc/stat")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count() or 1
MAX_OTHERS = 0.1  # of the cores; above it, times are those of the machine


class Meter:
    """From when it is made on. Children count when they have ended, and were waited for."""

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self._began, self._before = time.monotonic(), self._others_s()

    def _others_s(self) -> float | None:
        busy = busy_s(self._stat)
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        return None if busy is None else busy - time.process_time() - ours.ru_utime - ours.ru_stime

    def others(self) -> float | None:
        """The share of all cores that others used; None: this system does not say."""
        now = self._others_s()
        if now is None or self._before is None:
            return None
        return max(now - self._before, 0.0) / max(time.monotonic() - self._began, 1e-9) / CORES


def busy_s(stat: Path = STAT) -> float | None:
    """Seconds that all cores were busy since the machine started, with what a hypervisor took."""
    try:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S
