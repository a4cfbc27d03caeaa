"""What does a look into the cache cost? An exact hit, the CPU of the semantic lookup, and memory per entry."""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from bench import cache_hits, report
from bench.procs import Unavailable
from bench.report import Limit, Report
from tidegate.app import SystemClock
from tidegate.core.ports import Answer, Entry
from tidegate.stages.cache.guard import marks
from tidegate.stages.cache.semantic import Policy, Semantic
from tidegate.storage.blobs import MemoryBlobs
from tidegate.storage.vectors import MemoryVectors

SIZES = {"1k": 1_000, "20k": 20_000, "100k": 100_000}
DIMENSIONS = 384
PROMPT = "My card payment of 25 pounds was declined twice in a shop today, and I do not know why. What can I do?"
LIMITS = {
    "hit_cpu_vs_proxied_call": Limit(0.8, 0.6),
    "hit_rps_vs_nginx": Limit(0.1, 0.2, most=False),
    "exact_bytes_per_entry": Limit(2048, 1536, timed=False),
    "lookup_cpu_ms_20k": Limit(5, 2),
    "lookup_cpu_ms_100k": Limit(40, 20),
    "bytes_per_entry": Limit(4096, 2560, timed=False),
}


def add_options(parser: argparse.ArgumentParser) -> None: ...


def run(options: argparse.Namespace) -> Report:
    found = Report("cache-speed", bool(options.quick), report.machine(), report.versions(), {}, limits=LIMITS)
    rounds = options.seeds or (3 if options.quick else 9)
    _take_hits(found, 3 if options.quick else 7, 2 if options.quick else 4)
    found.take("exact_bytes_per_entry", [_exact_weight(20_000)])
    weights = []
    for name, size in SIZES.items():
        costs, weight = asyncio.run(_measured(size, rounds, 30 if options.quick else 60))
        found.take(f"lookup_cpu_ms_{name}", costs)
        weights.append(weight)
        found.rows += [{"entries": size, "round": at, "cpu_ms": cost} for at, cost in enumerate(costs)]
    found.take("bytes_per_entry", weights[-1:])
    found.judge()
    return found


def _take_hits(found: Report, rounds: int, seconds: float) -> None:
    try:
        hits = cache_hits.measured(rounds, seconds)
    except Unavailable as wrong:
        for name in ("hit_cpu_vs_proxied_call", "hit_rps_vs_nginx", "hits_per_second"):
            found.take(name, [], str(wrong))
        return
    found.take("hit_cpu_vs_proxied_call", [a / b for a, b in zip(hits.cpu_us, hits.proxied_cpu_us, strict=True)])
    nginx = [a / b for a, b in zip(hits.per_second, hits.nginx_per_second, strict=False)]
    found.take("hit_rps_vs_nginx", nginx, hits.why_no_nginx)
    found.take("hit_cpu_us", hits.cpu_us)
    found.take("nginx_cpu_us", hits.nginx_cpu_us, hits.why_no_nginx)
    found.take("hits_per_second_per_core", [1e6 / one for one in hits.cpu_us])
    found.take("nginx_per_second_per_core", [1e6 / one for one in hits.nginx_cpu_us], hits.why_no_nginx)
    found.take("hits_per_second", hits.per_second)


def _exact_weight(size: int) -> float:
    """Bytes that an exact entry of an ordinary reply (700 bytes) takes in this process."""
    blobs = MemoryBlobs(SystemClock(), 1 << 40)
    before = _resident_bytes()
    for at in range(size):
        blobs.put(at.to_bytes(20, "big"), at.to_bytes(700, "big"), 3600, ("route:fast", "team:search"))
    return (_resident_bytes() - before) / size


async def _measured(size: int, rounds: int, looks: int) -> tuple[list[float], float]:
    """CPU milliseconds of one look, per round; bytes that an entry takes."""
    chance = np.random.default_rng(0)
    vectors = MemoryVectors(size)
    before = _resident_bytes()
    for at in range(size):
        answer = Answer(f"answer-{at:08}", at.to_bytes(16, "little"), _vector(chance)[:DIMENSIONS])
        await vectors.add("team", Entry(f"entry-{at:08}", _vector(chance), answer))
    weight = (_resident_bytes() - before) / size
    cache = Semantic(vectors, Policy(), random.Random(0))
    costs = []
    for _ in range(rounds):
        prompts = [_vector(chance) for _ in range(looks)]
        began = time.process_time()
        for prompt in prompts:
            await cache.look("team", prompt, marks(PROMPT))
        costs.append((time.process_time() - began) / looks * 1e3)
    return costs, weight


def _vector(chance: np.random.Generator) -> bytes:
    values = chance.standard_normal(DIMENSIONS).astype("<f4")
    return bytes((values / np.linalg.norm(values)).tobytes())


def _resident_bytes() -> float:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def said(found: Report) -> str:
    def middle(size: int) -> float:
        return median([row["cpu_ms"] for row in found.rows if row["entries"] == size])

    rows: Sequence[tuple[str, float]] = [(f"{size:,} entries", middle(size)) for size in SIZES.values()]
    return report.table(("a look among", "CPU ms"), rows) + "\n\n" + report.figures_table(found)
