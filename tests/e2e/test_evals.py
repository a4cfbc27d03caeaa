"""A run is killed, gone on with, and nothing is paid twice; several at a time are faster; its cost is the ledger's.

TIDEGATE_EVALS=1 does so with 1,000 cases, three times each.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.processes import KEY, PATIENCE_S, behind, child, gateway, kept, provider
from tidegate.jobs.evals.results import read

WHOLE = os.environ.get("TIDEGATE_EVALS") == "1"
CASES, REPEATS, FASTER = (1000, 3, 8) if WHOLE else (40, 3, 3)  # a small run is mostly the start of a process
WAIT = "200ms"  # of the provider, before it answers
SAMPLE = 10  # asked one after the other


def suite(folder: Path, cases: int, name: str) -> Path:
    path = folder / f"{name}.yaml"
    lines = [f"  - {{id: c{at}, input: question {at}, expected_elements: [question]}}" for at in range(cases)]
    path.write_text("subject: route:fast\nscorers: [{type: contains}]\ncases:\n" + "\n".join(lines), encoding="utf-8")
    return path


def command(path: Path, out: Path, url: str, **options: int) -> tuple[str, ...]:
    more = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    asked = ("--url", url, "--key", KEY, "--out", str(out), *more)
    return ("-m", "tidegate.cli", "eval", "run", str(path), *asked)


async def ran(*words: str) -> tuple[float, str]:
    """How long it took to its good end, and what it said."""
    began = time.monotonic()
    async with child(*words) as run:
        async with asyncio.timeout(PATIENCE_S * 20):
            assert await run.process.wait() == 0, run.said
        await run.ends()
        return time.monotonic() - began, run.said


async def written(out: Path, lines: int) -> None:
    async with asyncio.timeout(PATIENCE_S * 4):
        while not out.exists() or out.read_bytes().count(b"\n") < lines:
            await asyncio.sleep(0.01)


@pytest.mark.timeout(600 if WHOLE else 300)
async def test_a_run_that_was_killed_is_gone_on_with_and_nothing_is_paid_twice(tmp_path: Path):
    path, out = suite(tmp_path, CASES, "suite"), tmp_path / "run.jsonl"
    async with provider(tmp_path, before=WAIT) as main, gateway(tmp_path, behind(main)) as at:
        asked = command(path, out, at.url, repeats=REPEATS, concurrency=32 if WHOLE else 8)
        async with child(*asked) as run:
            await written(out, CASES * REPEATS // 3)
            run.send(signal.SIGKILL)
            await run.ends()
        before = len(read(out).answers)
        assert CASES * REPEATS // 4 < before < CASES * REPEATS
        await ran(*asked)
        await at.stop()
        found = read(out)
        rows, totals, _ = await kept(at.data)
        assert found.missing == [] and len(found.answers) == CASES * REPEATS
        assert all(answer.passed for answer in found.answers)
        served = len(main.lines())
    print(f"\nkilled after {before} of {CASES * REPEATS}; {len(rows)} calls, {served} bought")
    assert served == CASES * REPEATS  # what was on its way to whoever was killed was bought once, and handed over
    assert sum(answer.cost_nusd for answer in found.answers) == sum(row.cost_nusd or 0 for row in rows)
    assert totals.cost_nusd == sum(answer.cost_nusd for answer in found.answers)
    assert Counter(row.kind for row in rows) == {"eval": len(rows)}


@pytest.mark.timeout(600 if WHOLE else 300)
async def test_several_at_a_time_are_faster_than_one_after_the_other(tmp_path: Path):
    async with provider(tmp_path, before=WAIT) as main, gateway(tmp_path, behind(main)) as at:
        one_by_one = command(suite(tmp_path, SAMPLE, "sample"), tmp_path / "sample.jsonl", at.url, concurrency=1)
        await ran(*one_by_one)
        each_s = sum(one.latency_ms for one in read(tmp_path / "sample.jsonl").answers) / SAMPLE / 1000
        path = suite(tmp_path, CASES, "suite")
        took_s, said = await ran(*command(path, tmp_path / "run.jsonl", at.url, repeats=REPEATS, concurrency=64))
    faster = each_s * CASES * REPEATS / took_s
    print(f"\n{CASES} × {REPEATS} in {took_s:.1f} s, {faster:.1f} times as fast as one after the other")
    assert faster >= FASTER
    assert f"{CASES * REPEATS} passed, 0 failed" in said
