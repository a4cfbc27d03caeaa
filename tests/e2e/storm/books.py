"""What must be true after a storm? Of rows, money, lines of batches, arms and the audit log."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bench.soak import slope_mb

from tests.e2e.processes import Gateway
from tests.e2e.storm.crowd import Crowd
from tests.e2e.storm.places import Machine
from tidegate.core.money import nusd_per_million
from tidegate.core.ports import Closed, Totals
from tidegate.stages.cache.keys import REMEMBERED

# Refused before it was known whose key it is: such calls have no row.
NOBODY_KNOWN = {"503 store_unavailable", "503 shutting_down"}
ENOUGH = 3_000  # calls, so that a slope is more than noise
FILLED = REMEMBERED  # calls after which what is remembered of questions is as many as will be: the largest such cache
Prices = Mapping[str, tuple[float, float]]  # of a model: dollars for a million tokens in and out


def wrong_rows(rows: list[Closed], crowd: Crowd, served: list[Any]) -> list[str]:
    """Each call that was answered or bought has one row, and a good answer a good one: those of which it is not so."""
    ids = Counter(row.id for row in rows)
    wrong = [f"{id} has {count} rows" for id, count in ids.items() if count > 1]
    wrong += [
        f"{id} was told {told} and has no row"
        for id, told in crowd.answered.items()
        if id not in ids and told not in NOBODY_KNOWN
    ]
    by_user = {row.user: row for row in rows}
    wrong += [f"{user} was bought for and has no row" for user in {line["user"] for line in served} - by_user.keys()]
    return wrong + [
        f"{user} has all of an answer that was {by_user[user].outcome}"
        for user in crowd.acknowledged
        if user in by_user and by_user[user].outcome != "ok"
    ]


class Money(NamedTuple):
    """How far the books are from what providers served, and what of that."""

    difference_nusd: int
    wrong: list[str]
    exact: int  # calls that cost what was served


def money(rows: list[Closed], totals: Totals, sums: Mapping[str, int], served: list[Any], prices: Prices) -> Money:
    """Of who came once: what is closed costs what was served, what was interrupted is within its bound."""
    by_user: defaultdict[str | None, list[Closed]] = defaultdict(list)
    for row in rows:
        by_user[row.user].append(row)
    cost: Counter[str] = Counter()
    for line in served:
        cost[line["user"]] += served_cost(line, prices)
    difference, wrong, exact = 0, list[str](), 0
    for user, found in by_user.items():
        if user is None or len(found) > 1 or user.startswith("again-"):
            continue
        (row,) = found
        if (off := off_by(row, cost[user])) is not None:
            exact += row.outcome == "ok" and not off and bool(cost[user])
            difference += off
            wrong += [f"{row} is off by {off}: {cost[user]} were served"] if off else []
    off = abs(sum(row.cost_nusd or 0 for row in rows) - totals.cost_nusd)
    if off or {name: getattr(totals, name) for name in sums} != sums:
        wrong.append(f"sums say something else than rows: {totals}, {sums}")
    return Money(difference + off, wrong, exact)


def off_by(row: Closed, served_nusd: int) -> int | None:
    """None: of this row nobody knows."""
    if row.outcome == "interrupted":
        return max(served_nusd - (row.at_most_nusd or 0), 0) + (row.cost_nusd or 0)
    if row.cache in ("hit", "shared"):
        return (row.cost_nusd or 0) + served_nusd
    if row.outcome == "ok" and not row.usage_estimated:
        return abs((row.cost_nusd or 0) - served_nusd)
    return None


def served_cost(line: Any, prices: Prices) -> int:
    """Nano-dollars, by the definition: the sum over kinds, divided once, half up."""
    into, out = (nusd_per_million(usd) for usd in prices[line["model"]])
    usage = line["usage"]
    return (usage["prompt_tokens"] * into + usage["completion_tokens"] * out + 500_000) // 1_000_000


def spent_nusd(rows: Iterable[Closed], key: str) -> int:
    return sum(row.cost_nusd or 0 for row in rows if row.key_id == key)


def wrong_lines(results: Iterable[Any], lines: int) -> int:
    """Of one batch, in which each line has one result: those of which it is not so."""
    found = Counter(one["custom_id"] for one in results)
    wanted = {f"q{number}" for number in range(lines)}
    return sum(abs(found[name] - (name in wanted)) for name in wanted | found.keys())


async def check_audit_log(config: Path, heads: Path, out: Path, **environment: str) -> str:
    """As somebody does who has the log, the checkpoints and the key, and no gateway."""
    await _tidegate("audit", "export", "--config", str(config), "--out", str(out), **environment)
    args = ("audit", "verify", str(out), "--heads", str(heads), "--config", str(config))
    return await _tidegate(*args, **environment)


async def _tidegate(*args: str, **environment: str) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tidegate.cli", *args, stdout=pipe, stderr=pipe, env={**os.environ, **environment}
    )
    said, wrong = await process.communicate()
    assert process.returncode == 0, wrong.decode()
    return said.decode()


class Held:
    """What a gateway has open."""

    def __init__(self, pid: int, page: str) -> None:
        names = []
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                names.append(str(entry.readlink()))
            except OSError:
                continue
        self.sockets = sum(name.startswith("socket:") for name in names)
        self.files = len(names) - self.sockets
        self.tasks = int(_metric(page, "tidegate_tasks"))

    @classmethod
    async def by(cls, gateway: Gateway) -> Held:
        return cls(gateway.pid, (await gateway.get("/metrics")).body.decode())

    def __le__(self, other: Held) -> bool:
        return self.sockets <= other.sockets and self.files <= other.files and self.tasks <= other.tasks

    def __repr__(self) -> str:
        return f"{self.sockets} sockets, {self.files} files, {self.tasks} tasks"


def _metric(page: str, name: str) -> float:
    """Raises LookupError where somebody has answered who has none, a proxy or one that ends."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"{name} ")] or [""]
    return float(line.split()[1])


class Watch:
    """What all machines were like while it stormed, looked at every second."""

    def __init__(self, machines: Sequence[Machine], crowd: Crowd) -> None:
        self.stall_s = 0.0  # of an event loop, less what its thread waited for a core
        self.lag_s = 0.0
        self.steady = False  # from now on nobody dies, so that memory says something
        self._points: dict[int, list[tuple[int, float]]] = {}  # of a process: calls that were made so far, MB
        self._machines = machines
        self._crowd = crowd

    async def look(self) -> None:
        while not self._crowd.over:
            await asyncio.sleep(1)
            for gateway in [machine.gateway for machine in self._machines]:
                with suppress(OSError, LookupError, TimeoutError):
                    if gateway is not None:
                        await self._at(gateway)

    async def _at(self, gateway: Gateway) -> None:
        page = (await gateway.get("/metrics")).body.decode()
        self.stall_s = max(self.stall_s, _metric(page, "tidegate_loop_stall_max_seconds"))
        self.lag_s = max(self.lag_s, _metric(page, "tidegate_loop_lag_max_seconds"))
        if self.steady:
            calls = self._crowd.counts["calls"] // len(self._machines)
            self._points.setdefault(gateway.pid, []).append((calls, rss_mb(gateway.pid)))

    def rss_mb_per_10k(self) -> float | None:
        """Of the worst process, from when its caches are full. None: too few calls to tell."""
        lives = [
            [point for point in points if point[0] >= points[0][0] + FILLED] for points in self._points.values()
        ]  # fmt: skip
        slopes = [slope_mb(life) for life in lives if life and life[-1][0] - life[0][0] >= ENOUGH]
        return max(slopes, default=None)


def rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1e3
