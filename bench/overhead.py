"""What does a gateway add? Calls, CPU, latency and memory of Tidegate beside the mock alone and three other gateways.

In every round each target is measured once, the mock without a gateway among them, and a ratio is the median of the
ratios within rounds. CPU is that of the gateway's whole process tree, per call.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench import environments, gateways, load, mock, report
from bench.gateways import GATEWAYS, PEERS, Place, Running
from bench.load import Job
from bench.procs import Child, Meter, Unavailable, free_port, require_linux
from bench.report import Limit, Report
from tidegate.study.machine import MAX_OTHERS

SUITES = {
    "c16": "16 connections, each asks again when it was answered",
    "c1": "the same with one connection",
    "20k": "as c16, with a prompt of 20,000 characters",
    "rate": "200 calls per second at random times, whatever became of the ones before",
    "stream": "16 streams of 200 chunks, one every 5 ms",
}
CHUNKS, EVERY_MS = 200, 5
RATE = 200.0
SMALL = "What does the tide do twice a day, and why does it do so? Answer in one sentence."
LARGE = ("The quick brown fox said: “water\n runs downhill”, and \\ nobody minded. " * 300)[:20_000]

MAX_MOCK = 0.30  # of one core, in a gateway's round: above it the mock would be what is measured
ENOUGH = 20  # calls per connection: those that a closed loop cuts off at its end must not count
LONGEST_S = 8
STARTS = 3
SOAKED = 5  # thousands of calls: a slope over fewer is noise

LIMITS = {
    "rps_vs_litellm": Limit(80, 120, most=False),
    "rps_vs_portkey": Limit(10, 15, most=False),
    "rps_vs_tensorzero": Limit(1.4, 2, most=False),
    "cpu_vs_tensorzero": Limit(0.5, 0.3),
    "chunk_cpu_vs_tensorzero": Limit(0.6, 0.4),
    "added_p50_vs_tensorzero": Limit(1, 1),
    "added_p99_ms": Limit(1.5, 1),
    "start_s": Limit(0.8, 0.8),
    "rss_mb": Limit(80, 80),
    "packages": Limit(35, 35, timed=False),
    "install_mb": Limit(80, 80, timed=False),
    "cpu_20k_vs_small": Limit(2.5, 2.5),
}


@dataclass(frozen=True)
class Plan:
    """How often and how long; a quick one asks the slowest peer only what a figure needs."""

    rounds: dict[str, int]
    seconds: float
    streams: int
    soaks: int
    all_peers: bool


QUICK = Plan({"c16": 3, "c1": 3, "20k": 2, "rate": 2, "stream": 2}, 1, 16, 6, all_peers=False)
FULL = Plan(dict.fromkeys(SUITES, 7), 4, 64, 10, all_peers=True)


class Row(msgspec.Struct, frozen=True):
    """One target in one round of one suite."""

    suite: str
    target: str
    round: int
    calls: int
    errors: int
    seconds: float
    rps: float
    p50_ms: float | None
    p99_ms: float | None
    first_p50_ms: float | None
    cpu_us: float | None  # per call, of the gateway
    rss_mb: float | None
    mock_share: float
    others_share: float


# --- one round ------------------------------------------------------------------------------------------------------


def job(running: Running, suite: str, plan: Plan, round: int) -> Job:
    stream = suite == "stream"
    headers = {"content-type": "application/json", **running.headers}
    body = running.body(LARGE if suite == "20k" else SMALL, stream=stream)
    expect = (mock.word(CHUNKS - 1).encode(), b"data: [DONE]") if stream else (mock.CONTENT.encode(),)
    if running.keeps_bytes:
        expect = (b"".join(mock.chunks(CHUNKS)) if stream else mock.whole(),)
    asked = Job(running.url, headers, body, 1 if suite == "c1" else 16, expect, running.keeps_bytes)
    if stream:
        return msgspec.structs.replace(asked, calls=plan.streams)
    if suite == "rate":
        return msgspec.structs.replace(asked, seconds=2 * plan.seconds, rate=RATE, seed=round)
    return msgspec.structs.replace(asked, seconds=plan.seconds)


class Bench:
    """The mock, the gateways, and what was measured of them."""

    def __init__(self, plan: Plan, provider: Child) -> None:
        self.plan = plan
        self.provider = provider
        self.rows: list[Row] = []
        self.out: dict[tuple[str, str], str] = {}  # (target, suite) and why it is not measured there
        self.soaked: list[tuple[float, int]] = []  # thousands of calls, KB

    def suite(self, name: str, targets: Sequence[Running]) -> None:
        there = [one for one in targets if self._fits(name, one)]
        lengths = {one.name: self._rehearse(name, one) for one in there}
        for round in range(self.plan.rounds[name]):
            for one in there if round % 2 else there[::-1]:  # A B, B A: whoever comes second is not always the same
                if (one.name, name) not in self.out:
                    self._measure(name, one, round, lengths[one.name])

    def _fits(self, suite: str, running: Running) -> bool:
        why = ""
        if suite == "20k" and running.name in ("litellm", "portkey") and not self.plan.all_peers:
            why = "left out of a quick run, as no figure needs it"
        elif suite == "rate":
            most = self.median("c16", running.name, "rps")
            if most is not None and most < RATE / 0.7:
                why = f"its most is {most:.0f} calls per second, and {RATE:.0f} would only measure its queue"
        if why:
            self.out[running.name, suite] = why
        return not why

    def _rehearse(self, suite: str, running: Running) -> float:
        """A few calls whose answers are compared, and from them how many seconds a round must have."""
        asked = job(running, suite, self.plan, 0)
        if asked.rate or asked.calls:
            return asked.seconds  # every answer of these is compared
        before = tokens(running)
        result = load.run(msgspec.structs.replace(asked, calls=2 * asked.connections + 14))
        if result.errors:
            self.out[running.name, suite] = f"{result.errors} of {result.calls + result.errors} failed: {result.said}"
            return 0
        counted = tokens(running) - before
        if running.name == "tidegate" and counted != result.calls * mock.TOKENS_PER_REPLY:
            self.out[running.name, suite] = f"{result.calls} calls, but {counted:g} tokens in its books"
        needed_s = ENOUGH * asked.connections / result.per_second
        return asked.seconds if needed_s <= asked.seconds or asked.seconds < 1 else min(math.ceil(needed_s), LONGEST_S)

    def _measure(self, suite: str, running: Running, round: int, seconds: float) -> None:
        meter = Meter(running.child, self.provider)
        result = load.run(msgspec.structs.replace(job(running, suite, self.plan, round), seconds=seconds))
        cpu_ns, mock_share, others_share = meter.read()
        if result.errors:
            said = f": {result.said}" if result.said else ""
            self.out[running.name, suite] = f"{result.errors} of {result.calls + result.errors} calls failed{said}"
        if not result.calls:
            return
        child = running.child
        self.rows.append(
            Row(
                suite, running.name, round, result.calls, result.errors, result.seconds, result.per_second,
                result.p50_ms, result.p99_ms, result.first_p50_ms,
                cpu_ns / 1e3 / result.calls if child else None,
                child.memory_kb("VmRSS") / 1024 if child else None,
                mock_share, others_share,
            )
        )  # fmt: skip
        row = self.rows[-1]
        cpu = f"{row.cpu_us:8,.0f} µs CPU" if row.cpu_us is not None else " " * 15
        print(f"  {suite:6} {row.round + 1} {row.target:10} {row.rps:9,.0f}/s {cpu}  "
              f"p50 {row.p50_ms or 0:.3f} ms  others {row.others_share:.0%}", file=sys.stderr, flush=True)  # fmt: skip

    def soak(self, running: Running) -> None:
        """As c16, again and again, for its memory: what the first calls fill is not growth."""
        calls = 0
        for _ in range(self.plan.soaks):
            result = load.run(job(running, "c16", self.plan, 0))
            calls += result.calls
            if running.child and calls:
                self.soaked.append((calls / 1000, running.child.memory_kb("RssAnon")))

    # --- what was measured

    def values(self, suite: str, target: str, field: str) -> dict[int, float]:
        """By round."""
        if (target, suite) in self.out:
            return {}
        found = ((row.round, getattr(row, field)) for row in self.rows if (row.suite, row.target) == (suite, target))
        return {round: value for round, value in found if value is not None}

    def median(self, suite: str, target: str, field: str) -> float | None:
        values = self.values(suite, target, field)
        return statistics.median(values.values()) if values else None

    def added(self, target: str, field: str) -> dict[int, float]:
        """What one connection waits longer than for the mock alone."""
        alone = self.values("c1", "direct", field)
        mine = self.values("c1", target, field)
        return {round: value - alone[round] for round, value in mine.items() if round in alone}

    def per_chunk(self, target: str) -> dict[int, float]:
        """CPU of a stream, without that of a call, by chunk."""
        call = self.median("c16", target, "cpu_us")
        streams = self.values("stream", target, "cpu_us")
        return {round: (value - call) / CHUNKS for round, value in streams.items()} if call is not None else {}

    def growth(self) -> list[float]:
        """KB of memory per 1,000 calls: the median slope between any two points of the soak."""
        slopes = [(y - b) / (x - a) for at, (a, b) in enumerate(self.soaked) for x, y in self.soaked[at + 1 :]]
        return [statistics.median(slopes)] if slopes and self.soaked[-1][0] >= SOAKED else []

    def why_not(self, target: str, *suites: str) -> str:
        reasons = [self.out[target, one] for one in ("", *suites) if (target, one) in self.out]
        return "; ".join(reasons) or f"{target} was not measured in {' and '.join(suites)}"

    def doubts(self) -> list[str]:
        rows = [row for row in self.rows if row.target != "direct"]
        if not rows:
            return []
        found = []
        others = sum(row.others_share * row.seconds for row in rows) / sum(row.seconds for row in rows)
        if others > MAX_OTHERS:
            found.append(f"other processes used {others:.0%} of the cores, more than {MAX_OTHERS:.0%}")
        for suite, target in sorted({(row.suite, row.target) for row in rows}):
            share = self.median(suite, target, "mock_share") or 0
            if share > MAX_MOCK:
                found.append(f"the mock used {share:.0%} of a core under {target} in {suite}, more than {MAX_MOCK:.0%}")
        return found + [f"tidegate, {suite}: {why}" for (name, suite), why in self.out.items() if name == "tidegate"]


def tokens(running: Running) -> float:
    """What Tidegate has counted so far; 0 of anybody else."""
    if running.name != "tidegate":
        return 0
    page = fetch(running, "/metrics")
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith("tidegate_tokens_total"))


def fetch(running: Running, path: str) -> str:
    request = urllib.request.Request(running.url.removesuffix(gateways.PATH) + path, headers=dict(running.headers))
    with urllib.request.urlopen(request, timeout=20) as response:
        text: bytes = response.read()
    return text.decode()


def rows_missing(running: Running, bench: Bench) -> str | None:
    """Whether the ledger has a row for every call; those that a closed loop cut off at its end may be there too."""
    mine = [row for row in bench.rows if row.target == "tidegate"]
    least = sum(row.calls for row in mine) + round(1000 * max((calls for calls, _ in bench.soaked), default=0))
    rehearsed = 1 + 3 * (2 * 16 + 14)
    found = re.search(r'"total_requests":\s*(\d+)', fetch(running, "/api/stats"))
    rows = int(found[1]) if found else 0
    if least <= rows <= least + rehearsed + 16 * (len(mine) + bench.plan.soaks):
        return None
    return f"{least} calls were answered and {rows} rows are in the ledger"


# --- all of it ------------------------------------------------------------------------------------------------------


def starts(place: Place, times: int) -> list[float]:
    """Seconds from spawn to the first 200, with a provider that is a part of Tidegate."""
    found = []
    for at in range(times):
        with ExitStack() as undo:
            there = Place(place.provider, place.folder / f"start{at}", undo)
            running = gateways.start_tidegate(there, "start", free_port(), {"type": "scripted"})
            found.append(running.start_s or 0.0)
    return found


def figures(bench: Bench, start_s: list[float], into: Report) -> None:
    def ratio(name: str, peer: str, ours: dict[int, float], theirs: dict[int, float], *suites: str) -> None:
        values = [ours[round] / theirs[round] for round in ours if theirs.get(round, 0) > 0]
        why = bench.why_not("tidegate" if not ours else peer, *suites)
        into.take(name, values, why)

    def own(name: str, values: dict[int, float], *suites: str) -> None:
        into.take(name, list(values.values()), bench.why_not("tidegate", *suites))

    def of(suite: str, field: str) -> Callable[[str], dict[int, float]]:
        return lambda target: bench.values(suite, target, field)

    rps, cpu = of("c16", "rps"), of("c16", "cpu_us")
    for peer in PEERS:
        ratio(f"rps_vs_{peer}", peer, rps("tidegate"), rps(peer), "c16")
    ratio("cpu_vs_tensorzero", "tensorzero", cpu("tidegate"), cpu("tensorzero"), "c16")
    chunks = bench.per_chunk("tidegate"), bench.per_chunk("tensorzero")
    ratio("chunk_cpu_vs_tensorzero", "tensorzero", *chunks, "c16", "stream")
    added = bench.added("tidegate", "p50_ms"), bench.added("tensorzero", "p50_ms")
    ratio("added_p50_vs_tensorzero", "tensorzero", *added, "c1")
    own("cpu_us", cpu("tidegate"), "c16")
    own("chunk_cpu_us", chunks[0], "c16", "stream")
    own("added_p50_ms", added[0], "c1")
    own("added_p99_ms", bench.added("tidegate", "p99_ms"), "c1")
    into.take("start_s", start_s, bench.why_not("tidegate", "start"))
    own("rss_mb", of("c16", "rss_mb")("tidegate"), "c16")
    packages, megabytes = environments.base()
    into.take("packages", [packages])
    into.take("install_mb", [megabytes])
    small = bench.median("c16", "tidegate", "cpu_us") or 0.0
    large = bench.values("20k", "tidegate", "cpu_us")
    own("cpu_20k_vs_small", {at: value / small for at, value in large.items() if small}, "c16", "20k")
    into.take("rss_slope_kb_per_1k", bench.growth(), f"it takes {SOAKED},000 calls in c16 and more to see a slope")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", metavar="NAME,…", help=f"of {', '.join(GATEWAYS)}; all")
    suites = "; ".join(f"{name}: {what}" for name, what in SUITES.items())
    parser.add_argument("--suites", metavar="NAME,…", help=suites)
    parser.add_argument("--seconds", type=float, help="of a round; 4, and 1 with --quick")
    parser.add_argument("--url", help="measure a gateway that runs already, too: the whole address of its chat calls")
    parser.add_argument("--key", help="the API key for --url")
    parser.add_argument("--model", default="mock", help="the model to ask for at --url")


def chosen(given: str | None, known: Sequence[str], what: str) -> list[str]:
    names = given.split(",") if given else list(known)
    for name in names:
        if name not in known:
            raise Unavailable(f"there is no {what} {name!r}, only {', '.join(known)}")
    return [name for name in known if name in names]


def run(options: argparse.Namespace) -> Report:
    require_linux()
    plan = QUICK if options.quick else FULL
    if options.seconds or options.seeds:
        rounds = {name: options.seeds or plan.rounds[name] for name in SUITES}
        seconds, soaks = options.seconds or plan.seconds, min(plan.soaks, 2 * max(rounds.values()))
        plan = Plan(rounds, seconds, plan.streams, soaks, plan.all_peers)
    makers = {name: GATEWAYS[name] for name in chosen(options.only, list(GATEWAYS), "gateway")}
    suites = chosen(options.suites, list(SUITES), "suite")
    if options.url:
        makers["url"] = gateways.url(options.url, options.key, options.model)
    into = Report("overhead", options.quick, report.machine(), report.versions(), {}, limits=LIMITS)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as undo:
        command = [sys.executable, "-m", "bench.mock", "--chunks", str(CHUNKS), "--every-ms", str(EVERY_MS)]
        provider = Child("mock", command, Path(folder, "mock"), environments.importing_ours())
        undo.callback(provider.stop)
        port = provider.until(lambda: provider.said().strip() or None)
        place = Place(f"http://127.0.0.1:{port}/v1", Path(folder), undo)
        bench = Bench(plan, provider)
        start_s = starts(place, min(STARTS, plan.soaks - 1)) if "tidegate" in makers else []
        running = start(makers, place, bench, into)
        for suite in suites:
            bench.suite(suite, running)
        for one in running:
            if one.name == "tidegate":
                bench.soak(one) if "c16" in suites else None
                if why := rows_missing(one, bench):
                    bench.out["tidegate", "ledger"] = why
    figures(bench, start_s, into)
    into.rows = [msgspec.to_builtins(row) for row in bench.rows]
    into.doubts = bench.doubts()
    into.left_out = {f"{name} {suite}".strip(): why for (name, suite), why in bench.out.items()}
    into.judge()
    return into


def start(makers: dict[str, Callable[[Place], Running]], place: Place, bench: Bench, into: Report) -> list[Running]:
    running = []
    for name, make in makers.items():
        try:
            one = make(place)
        except Unavailable as why:
            bench.out[name, ""] = str(why)
            continue
        running.append(one)
        if one.version:
            into.versions[name] = one.version
        if one.child:
            packages, megabytes = one.installed or (None, None)
            into.gateways[name] = {"start_s": one.start_s, "packages": packages, "install_mb": megabytes}
    return running


COLUMNS = {"rps": "calls/s", "cpu_us": "CPU µs/call", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "rss_mb": "RSS MB"}


def said(found: Report) -> str:
    """For a person."""
    machine, built = found.machine, ", ".join(f"{name} {version}" for name, version in found.versions.items())
    parts = [f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; {built}"]
    for suite, what in SUITES.items():
        rows = [row for row in found.rows if row["suite"] == suite]
        targets = [name for name in (*GATEWAYS, "url") if any(row["target"] == name for row in rows)]
        cells = [(name, *(_median(rows, name, field) for field in COLUMNS)) for name in targets]
        if cells:
            parts.append(f"{suite}: {what}\n{report.table(('', *COLUMNS.values()), cells)}")
    facts = [(name, *facts.values()) for name, facts in found.gateways.items()]
    parts.append(report.table(("", "first answer s", "packages", "installed MB"), facts))
    parts += [f"left out: {name}: {why}" for name, why in found.left_out.items()]
    parts.append(report.figures_table(found))
    if found.quick:
        parts.append("A quick run: few and short rounds.")
    return "\n\n".join(parts)


def _median(rows: Sequence[dict[str, Any]], target: str, field: str) -> float | None:
    values = [row[field] for row in rows if row["target"] == target and row[field] is not None]
    return statistics.median(values) if values else None
