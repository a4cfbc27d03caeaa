"""Does it stay as it was? Minutes of mixed load on a real server: streams, clients that leave, errors, reloads.

Every call carries a `user` of its own. At the end the memory must not have grown, tasks, sockets and files must be
those of the start, and each call that was answered, or that the provider has served, must have one row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import combinations
from pathlib import Path

import msgspec

from bench import environments, moods, report
from bench.moods import FAILS, HEALTHY, STALLS
from bench.procs import Child, Meter, Unavailable, free_port, require_linux
from bench.report import Limit, Report
from tidegate.core.ports import Closed
from tidegate.storage.personal import SPOOL
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.vault import PlainVault

LIMITS = {
    "rss_mb_per_10k": Limit(0.5, 0.2),
    "leaked_sockets": Limit(0, 0, timed=False),
    "leaked_files": Limit(0, 0, timed=False),
    "leaked_tasks": Limit(0, 0, timed=False),
    "rows_missing": Limit(0, 0, timed=False),
    "loop_stall_ms_max": Limit(50, 20),
}

KEY = "a-key-for-the-soak-and-nothing-else"
CLIENTS = 24
THINK_S = 0.1  # at most, between two calls of one client: most of a core is left for everybody else
RELOAD_S, LOOK_S = 5.0, 1.0
WARM_SHARE = 0.25  # of the time is not looked at: caches fill
IDLE_S = 2  # for how long connections to the provider are kept
SETTLE_S = 10.0  # for what was left to end
PATIENCE_S = 20.0

FAULTY = (*moods.FAULTY, FAILS, STALLS | {"cut_off": 0})


class Load:
    """The clients, and what they saw."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.answered: set[str] = set()  # the ids of calls that have a row to have
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._dice = random.Random(seed)

    async def client(self, until: float) -> None:
        while time.monotonic() < until:
            await self.call()
            await asyncio.sleep(self._dice.uniform(0, THINK_S))

    async def call(self) -> None:
        """One call, whose client stays, leaves at some moment, has a wrong key, or says what makes no sense."""
        dice = self._dice
        self.counts["calls"] += 1
        user = f"user-{self.counts['calls']}"
        mood = dice.choices(("stays", "leaves", "wrong key", "nonsense"), (66, 30, 2, 2))[0]
        script = dice.choice(HEALTHY if dice.random() < 0.7 else FAULTY)
        asked = {"model": "fast", "messages": [{"role": "user", "content": "hi"}], "stream": dice.random() < 0.6}
        body = json.dumps(asked | {"user": user, "metadata": {"script": script}}).encode()
        key = "tg_wrong" if mood == "wrong key" else KEY
        talk = self._talk(key, b"{nonsense" if mood == "nonsense" else body)
        self.counts[mood] += 1
        try:
            async with asyncio.timeout(dice.uniform(0, 0.05) if mood == "leaves" else PATIENCE_S):
                status, id, said = await talk
        except TimeoutError:
            if mood != "leaves":
                self.wrong.append(f"{user}: no answer within {PATIENCE_S:g} s to {script}")
            return
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self.wrong.append(f"{user}: {error!r} instead of an answer to {script}")
            return
        self.counts[f"status {status}"] += 1
        if status != 401:
            self.answered.add(id)
        if mood in ("stays", "leaves") and script in HEALTHY and (status != 200 or b'"error"' in said):
            self.wrong.append(f"{id}: {status} to {script}: {said.decode()[-200:]}")

    async def _talk(self, key: str, body: bytes) -> tuple[int, str, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\nauthorization: Bearer {key}\r\nconnection: close"
            )
            head += f"\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            rest = await reader.read(-1)
            id = answer.partition("x-tidegate-request-id: ")[2].partition("\r\n")[0]
            return int(answer[9:12]), id, rest
        finally:
            writer.transport.abort()


class Watch:
    """What Linux and /metrics say of the gateway."""

    def __init__(self, gateway: Child, port: int, load: Load) -> None:
        self.points: list[tuple[int, float]] = []  # calls so far, MB
        self.stalls_ms: list[float] = []
        self._gateway = gateway
        self._port = port
        self._load = load

    async def look(self, until: float, warm_until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
            if time.monotonic() > warm_until:
                self.points.append((self._load.counts["calls"], self._gateway.memory_kb("RssAnon") / 1e3))

    async def metric(self, name: str) -> float:
        page = await self._get("/metrics")
        found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
        if found is None:
            raise Unavailable(f"/metrics says nothing of {name}")
        return float(found[1])

    async def stalls(self, until: float) -> None:
        """What is on the page is the longest of one or two minutes."""
        while time.monotonic() < until:
            await asyncio.sleep(min(30.0, max(until - time.monotonic(), 0.1)))
            self.stalls_ms.append(await self.metric("tidegate_loop_lag_max_seconds") * 1e3)

    async def _get(self, path: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n".encode())
            return (await reader.read(-1)).decode()
        finally:
            writer.transport.abort()

    async def held(self) -> dict[str, int]:
        """What it has open, and its tasks."""
        names = [name for pid in self._gateway.pids() for name in _open_files(pid)]
        sockets = sum(name.startswith("socket:") for name in names)
        tasks = int(await self.metric("tidegate_tasks"))
        return {"leaked_sockets": sockets, "leaked_files": len(names) - sockets, "leaked_tasks": tasks}

    async def left(self, before: dict[str, int]) -> dict[str, int]:
        """How much more than `before` it holds, when it has had its time to let go."""
        until = time.monotonic() + SETTLE_S
        while True:
            now = await self.held()
            left = {name: max(now[name] - before[name], 0) for name in before}
            if not any(left.values()) or time.monotonic() > until:
                return left
            await asyncio.sleep(0.5)


def _open_files(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            yield str(entry.readlink())


def slope_mb(points: list[tuple[int, float]]) -> float:
    """MB per 10,000 calls: the median over all pairs, so that one step is not a slope."""
    slopes = [
        (y - b) / (x - a) * 10_000 for (a, b), (x, y) in combinations(points[:: len(points) // 200 + 1], 2) if x > a
    ]
    return statistics.median(slopes)


def config(port: int, provider: str, folder: Path, number: int) -> str:
    """One of two, in turn: a reload makes another provider each time."""
    price = {"input": 1, "output": 2 + number % 2}
    main = {"type": "openai", "base_url": provider, "keys": ["sk-soak"], "price": price}
    return json.dumps({
        "api": {"port": port},
        "storage": {"data_dir": str(folder / "data")},
        "logs": {"calls": False},
        "limits": {"guesses": 1_000_000, "loops": {"policy": "warn"}},  # whoever measures says the same again and again
        "budgets": {"default_day": 1_000_000},
        "transport": {"idle_s": IDLE_S},
        "upstream": {
            "first_token": 2, "idle": 1, "retry": {"tries": 2, "base_s": 0.01, "max_s": 0.05},
            "breaker": {"enabled": False},  # three answers in ten are bad: it would be set aside most of the time
        },
        "providers": {"main": main},
        "routes": {"fast": {"targets": [{"provider": "main", "model": "m"}], "timeout": "5s"}},
    })  # fmt: skip


async def reload(gateway: Child, file: Path, texts: tuple[str, str], until: float, counts: Counter[str]) -> None:
    while time.monotonic() < until:
        await asyncio.sleep(RELOAD_S)
        counts["reloads"] += 1
        file.write_text(texts[counts["reloads"] % 2])  # noqa: ASYNC240 it is short, and nothing here is in a hurry
        os.kill(gateway.pid, signal.SIGHUP)


async def soak(gateway: Child, port: int, file: Path, texts: tuple[str, str], seconds: float, seed: int) -> Soaked:
    load = Load(port, seed)
    watch = Watch(gateway, port, load)
    for _ in range(20):  # so that what is made once is there
        await load.call()
    await asyncio.sleep(IDLE_S + 1)  # what is idle is closed by then
    before = await watch.held()
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(load.client(until))
        group.create_task(watch.look(until, time.monotonic() + seconds * WARM_SHARE))
        group.create_task(watch.stalls(until))
        group.create_task(reload(gateway, file, texts, until, load.counts))
    return Soaked(load, watch, await watch.left(before))


class Soaked(msgspec.Struct):
    load: Load
    watch: Watch
    left: dict[str, int]


async def kept(data: Path) -> list[Closed]:
    """All rows of a gateway that has ended."""
    store = await SqliteStore.open(data / "tidegate.sqlite")
    try:
        vault, decode = PlainVault(), msgspec.json.Decoder(Closed).decode
        return [decode(vault.unseal(sealed, SPOOL)) for _, _, sealed in await store.books.after(0, 10_000_000)]
    finally:
        await store.aclose()


def rows_missing(rows: Sequence[Closed], served: Path, load: Load) -> int:
    """Of calls that were answered or served; a row too many is as bad."""
    ids, users = Counter(row.id for row in rows), {row.user for row in rows}
    bought = {json.loads(line)["user"] for line in served.read_text().splitlines()}
    twice = sum(count - 1 for count in ids.values())
    return len(load.answered - ids.keys()) + len(bought - users) + twice


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, help="10, and half a one with --quick")


def run(options: argparse.Namespace) -> Report:
    require_linux()
    minutes = options.minutes or (0.5 if options.quick else 10)
    into = Report("soak", options.quick, report.machine(), report.versions(), {}, limits=LIMITS)
    with tempfile.TemporaryDirectory() as name, ExitStack() as undo:
        folder, port = Path(name), free_port()
        served, file = folder / "served.jsonl", folder / "tidegate.yaml"
        environment = environments.importing_ours()
        command = [sys.executable, "-m", "tidegate.providers.scripted", "--served", str(served)]
        provider = Child("provider", command, folder, environment)
        undo.callback(provider.stop)
        address = provider.until(lambda: (re.findall(r'"address":"([^"]+)"', provider.said()) or [None])[0])
        texts = (config(port, address, folder, 0), config(port, address, folder, 1))
        file.write_text(texts[0])
        gateway = Child("tidegate", [sys.executable, "-m", "tidegate.cli", "serve", "--config", str(file)], folder,
                        environment | {"TIDEGATE_ADMIN_KEY": KEY})  # fmt: skip
        undo.callback(gateway.stop)
        gateway.until(lambda: "yes" if f"answers on http://127.0.0.1:{port}" in gateway.said() else None, 20)
        idle = Child("idle", [sys.executable, "-m", "bench.idle"], folder, environment)
        undo.callback(idle.stop)
        meter = Meter(gateway, provider)
        found = asyncio.run(soak(gateway, port, file, texts, minutes * 60, options.seeds or 1))
        cpu_ns, _, others = meter.read()
        idle_ms = float(idle.said().split()[-1])
        gateway.stop()
        rows = asyncio.run(kept(folder / "data"))
        missing = rows_missing(rows, served, found.load)
    into.take("rss_mb_per_10k", [slope_mb(found.watch.points)])
    into.take("loop_stall_ms_max", [max(found.watch.stalls_ms)])
    into.take("idle_stall_ms_max", [idle_ms])  # of a process that does nothing, beside it
    for figure, count in {**found.left, "rows_missing": missing, "rows": len(rows), **found.load.counts}.items():
        into.take(figure, [count])
    into.take("cpu_us", [cpu_ns / 1e3 / found.load.counts["calls"]])
    into.take("minutes", [minutes])
    if others > 0.1:
        into.doubts.append(f"other processes used {others:.0%} of the cores")
    into.doubts += [f"tidegate: {wrong}" for wrong in found.load.wrong[:10]]
    into.rows = [{"calls": calls, "rss_anon_mb": round(mb, 2)} for calls, mb in found.watch.points]
    into.judge()
    return into


def said(found: Report) -> str:
    """For a person."""
    return report.figures_table(found)
