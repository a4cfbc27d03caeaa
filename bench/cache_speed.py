"""What does a look into the cache cost? CPU of the semantic lookup, and memory per entry."""

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

from bench import report
from bench.report import Limit, Report
from tidegate.core.ports import Answer, Entry
from tidegate.stages.cache.guard import marks
from tidegate.stages.cache.semantic import Policy, Semantic
from tidegate.storage.vectors import MemoryVectors

SIZES = {"1k": 1_000, "20k": 20_000, "100k": 100_000}
DIMENSIONS = 384
PROMPT = "My card payment of 25 pounds was declined twice in a shop today, and I do not know why. What can I do?"
LATER = "the exact cache is not built yet"
LIMITS = {
    "lookup_cpu_ms_20k": Limit(5, 2),
    "lookup_cpu_ms_100k": Limit(40, 20),
    "bytes_per_entry": Limit(4096, 2560, timed=False),
}


def add_options(parser: argparse.ArgumentParser) -> None: ...


def run(options: argparse.Namespace) -> Report:
    found = Report("cache-speed", bool(options.quick), report.machine(), report.versions(), {}, limits=LIMITS)
    rounds = options.seeds or (3 if options.quick else 9)
    for name in ("hit_cpu_vs_proxied_call", "hit_rps_vs_nginx"):
        found.take(name, [], LATER)
    weights = []
    for name, size in SIZES.items():
        costs, weight = asyncio.run(_measured(size, rounds, 30 if options.quick else 60))
        found.take(f"lookup_cpu_ms_{name}", costs)
        weights.append(weight)
        found.rows += [{"entries": size, "round": at, "cpu_ms": cost} for at, cost in enumerate(costs)]
    found.take("bytes_per_entry", weights[-1:])
    found.judge()
    return found


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
