"""What must be true after a storm? Of rows, money, lines of batches, arms and the audit log."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.processes import Gateway
from tests.e2e.storm.crowd import Crowd
from tidegate.core.money import nusd_per_million
from tidegate.core.ports import Closed, Totals

# Refused before it was known whose key it is: such calls have no row.
NOBODY_KNOWN = {"503 store_unavailable", "503 shutting_down"}
Prices = Mapping[str, tuple[float, float]]  # of a model: dollars for a million tokens in and out


def check_rows(rows: list[Closed], crowd: Crowd, served: list[Any]) -> None:
    """Each call that was answered or bought has one row, and a good answer a good one."""
    ids = Counter(row.id for row in rows)
    assert [id for id, count in ids.items() if count > 1] == [], "a call has two rows"
    unknown = {id: told for id, told in crowd.answered.items() if id not in ids and told not in NOBODY_KNOWN}
    assert unknown == {}, "who was answered has no row"
    by_user = {row.user: row for row in rows}
    assert {line["user"] for line in served} - by_user.keys() == set(), "something was bought that nobody accounts for"
    worse = {user: by_user[user].outcome for user in crowd.acknowledged if by_user[user].outcome != "ok"}
    assert worse == {}, "a client has all of an answer that was none"


def check_money(rows: list[Closed], totals: Totals, sums: Mapping[str, int], served: list[Any], prices: Prices) -> str:
    """Of who came once: what is closed costs what was served, what was interrupted is within its bound."""
    by_user: defaultdict[str | None, list[Closed]] = defaultdict(list)
    for row in rows:
        by_user[row.user].append(row)
    cost: Counter[str] = Counter()
    for line in served:
        cost[line["user"]] += served_cost(line, prices)
    exact = 0
    for user, found in by_user.items():
        if user is None or len(found) > 1 or user.startswith("again-"):
            continue
        (row,) = found
        if row.outcome == "interrupted":
            assert row.cost_nusd is None and (row.at_most_nusd or 0) >= cost[user], row
        elif row.cache in ("hit", "shared"):
            assert (row.cost_nusd, cost[user]) == (0, 0), row
        elif row.outcome == "ok" and not row.usage_estimated:
            assert row.cost_nusd == cost[user], (row, cost[user])
            exact += 1
    assert sum(row.cost_nusd or 0 for row in rows) == totals.cost_nusd
    assert {name: getattr(totals, name) for name in sums} == sums, "the sums of hours say something else"
    return f"{exact} calls cost exactly what was served; {totals.cost_nusd} nano-dollars in all"


def served_cost(line: Any, prices: Prices) -> int:
    """Nano-dollars, by the definition: the sum over kinds, divided once, half up."""
    into, out = (nusd_per_million(usd) for usd in prices[line["model"]])
    usage = line["usage"]
    return (usage["prompt_tokens"] * into + usage["completion_tokens"] * out + 500_000) // 1_000_000


def spent_nusd(rows: Iterable[Closed], key: str) -> int:
    return sum(row.cost_nusd or 0 for row in rows if row.key_id == key)


def check_lines(results: Iterable[Any], lines: int) -> Counter[str]:
    """Of one batch: each line has one result. How many went well, and how many did not."""
    found = list(results)
    assert sorted(one["custom_id"] for one in found) == sorted(f"q{number}" for number in range(lines))
    return Counter("failed" if one.get("error") else "completed" for one in found)


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
    line = next(line for line in page.splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


async def lag_s(gateway: Gateway) -> float:
    """Of the last two minutes."""
    return _metric((await gateway.get("/metrics")).body.decode(), "tidegate_loop_lag_max_seconds")


def rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1e3
