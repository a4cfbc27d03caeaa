"""What runs beside us, and what does it cost? Processes that end with us, and what Linux counts of them.

CPU is what the scheduler counted for every thread of a process and of its children, in nanoseconds: nothing is sampled.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tidegate.study.machine import CORES, TICKS_PER_S, busy_s

PROC = Path("/proc")
START_S = 90.0  # the slowest peer takes nine on an idle machine


class Unavailable(Exception):
    """It cannot be measured here; the message says why, and stands in the report."""


class Child:
    """A process and its children: a session of their own, ended as one."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = folder / f"{name}.log"
        self.began = time.monotonic()
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def until(self, found: Callable[[], str | None], patience_s: float = START_S) -> str:
        """Wait until `found` finds something. Raises Unavailable when it does not in time, or the process ended."""
        while (answer := found()) is None:
            if self._process.poll() is not None or time.monotonic() - self.began > patience_s:
                ended = self._process.returncode
                why = f"did not answer within {patience_s:g} s" if ended is None else f"ended with {ended}"
                raise Unavailable(f"{self.name} {why}; the end of what it said: {self.said()[-600:].strip()!r}")
            time.sleep(0.005)
        return answer

    @property
    def pid(self) -> int:
        return self._process.pid

    def pids(self) -> list[int]:
        """Its own, and those of its children."""
        return [int(entry.name) for entry in self._members()]

    def _members(self) -> Iterator[Path]:
        for entry in PROC.iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if os.getsid(int(entry.name)) == self._process.pid:
                        yield entry

    def cpu_ns(self) -> dict[int, int]:
        """For every thread."""
        counted: dict[int, int] = {}
        for process in self._members():
            with suppress(OSError):
                for thread in (process / "task").iterdir():
                    with suppress(OSError):
                        counted[int(thread.name)] = int((thread / "schedstat").read_text().split()[0])
        return counted

    def memory_kb(self, field: str) -> int:
        """`VmRSS`, or `RssAnon`: without the files it has mapped."""
        total = 0
        for process in self._members():
            with suppress(OSError):
                for line in (process / "status").read_text().splitlines():
                    if line.startswith(f"{field}:"):
                        total += int(line.split()[1])
        return total

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def spent_ns(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    """CPU between two counts. A thread that ended in between takes its last share with it."""
    return sum(now - before.get(thread, 0) for thread, now in after.items())


class Meter:
    """What everybody used between `__init__` and `read`: the whole machine, the gateway, the mock, and the load."""

    def __init__(self, gateway: Child | None, mock: Child, beside: Callable[[], Sequence[int]] = list) -> None:
        """`beside`: processes that are no children, and are measured with them."""
        self._gateway = gateway
        self._mock = mock
        self._beside = beside
        self._before = self._count()

    def _count(self) -> tuple[float, float, float, dict[int, int], dict[int, int]]:
        load = resource.getrusage(resource.RUSAGE_CHILDREN)  # of those that ended: our load generators
        mine = time.process_time() + load.ru_utime + load.ru_stime
        mine += sum(map(_spent_s, self._beside()))
        gateway = self._gateway.cpu_ns() if self._gateway else {}
        return time.monotonic(), busy_s() or 0.0, mine, gateway, self._mock.cpu_ns()

    def read(self) -> tuple[int, float, float]:
        """The gateway's CPU in ns, the mock's share of one core, and the share of all cores that others used."""
        began, busy, mine, gateway, mock = self._before
        now, busy_now, mine_now, gateway_now, mock_now = self._count()
        gateway_ns, mock_ns = spent_ns(gateway, gateway_now), spent_ns(mock, mock_now)
        others_s = busy_now - busy - (mine_now - mine) - (gateway_ns + mock_ns) / 1e9
        return gateway_ns, mock_ns / 1e9 / (now - began), max(others_s, 0.0) / (now - began) / CORES


def _spent_s(pid: int) -> float:
    """By a process, and by those of its children that it has waited for."""
    return sum(_times_s(pid))


def ended_ns(pid: int) -> int:
    """By those children of a process that have ended, and that it has waited for."""
    return round(sum(_times_s(pid)[2:]) * 1e9)


def _times_s(pid: int) -> list[float]:
    """Its own time, the kernel's for it, and the same two of its children that ended."""
    with suppress(OSError):
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return [int(field) / TICKS_PER_S for field in fields[11:15]]
    return [0.0] * 4


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def require_linux() -> None:
    if not (PROC / "self" / "task").is_dir() or not (PROC / "self" / "schedstat").exists():
        raise Unavailable("the bench counts CPU in /proc/PID/task/*/schedstat, which only Linux has")
