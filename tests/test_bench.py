"""The bench: it must run to its end on any Linux, name every figure, and not believe a wrong answer."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench import admission, environments, gate, load, mock, soak, telemetry, views, virtual
from bench.load import Job
from bench.procs import Child, ended_ns
from bench.report import Limit, Report

from tests.parts import ROOT, embedding_model, needs

pytestmark = needs(Path("/proc/self/schedstat").exists(), "Linux's /proc")

FIGURES = {
    "rps_vs_litellm", "rps_vs_portkey", "rps_vs_tensorzero", "cpu_vs_tensorzero", "chunk_cpu_vs_tensorzero",
    "added_p50_vs_tensorzero", "cpu_us", "chunk_cpu_us", "added_p50_ms", "added_p99_ms", "start_s", "rss_mb",
    "packages", "install_mb", "cpu_20k_vs_small", "rss_slope_kb_per_1k",
}  # fmt: skip


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment)


@pytest.fixture
def provider(tmp_path: Path):
    child = Child("mock", [sys.executable, "-m", "bench.mock", "--chunks", "5", "--every-ms", "1"], tmp_path,
                  environments.importing_ours())  # fmt: skip
    yield f"http://127.0.0.1:{child.until(lambda: child.said().strip() or None)}/v1/chat/completions"
    child.stop()


def test_every_figure_is_there_or_says_why_not():
    done = bench("overhead", "--quick", "--only", "direct,tidegate", "--seconds", "0.1", "--seeds", "1", "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bench"] == "overhead"
    assert found["quick"] is True
    assert set(found["figures"]) >= FIGURES
    none = {name for name, value in found["figures"].items() if value is None}
    assert set(found["missing"]) == none
    assert none == {name for name in FIGURES if "_vs_" in name} - {"cpu_20k_vs_small"} | {"rss_slope_kb_per_1k"}
    assert found["figures"]["cpu_us"] > 0
    assert {row["suite"] for row in found["rows"]} == {"c1", "c16", "rate", "stream", "20k"}
    assert not any(row["errors"] for row in found["rows"])
    wrong = [doubt for doubt in found["doubts"] if doubt.startswith("tidegate") and "measure its queue" not in doubt]
    assert wrong == [], "an answer or the ledger was wrong"  # a busy machine is none


def test_an_unknown_gateway_is_named_with_those_there_are():
    done = bench("overhead", "--only", "direct,tidegaet")
    assert done.returncode == 1
    assert "no gateway 'tidegaet', only direct, tidegate, litellm, portkey, tensorzero" in done.stderr


def test_what_a_child_has_spent_is_not_lost_when_it_ends():
    before_ns = ended_ns(os.getpid())
    code = "import time\nwhile time.process_time() < 0.3: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        assert ended_ns(os.getpid()) == before_ns, "it lives"
        child.wait()
    assert ended_ns(os.getpid()) - before_ns >= 280_000_000
    assert ended_ns(child.pid) == 0, "nobody is there"


@pytest.mark.parametrize("rate", [0, 500])
def test_whoever_answers_with_other_bytes_has_not_answered(provider: str, rate: float):
    right, wrong = mock.whole(), mock.whole()[:-1] + b" }"
    for expect, good in ((right, True), (wrong, False)):
        job = Job(provider, {}, b"{}", 2, (expect,), whole=True, calls=0 if rate else 20, seconds=0.1, rate=rate)
        result = load.run(job)
        assert (result.errors == 0) is good
        assert (result.calls > 0) is good


def test_a_stream_comes_whole_and_in_its_time(provider: str):
    result = load.run(Job(provider, {}, b'{"stream": true}', 2, (b"".join(mock.chunks(5)),), whole=True, calls=4))
    assert (result.calls, result.errors) == (4, 0)
    assert result.p50_ms is not None and result.p50_ms >= 5


def test_a_busy_machine_gets_no_verdict_except_on_sizes():
    limits = {"cpu_us": Limit(100, 80), "packages": Limit(35, 20, timed=False)}
    report = Report("overhead", True, {}, {}, {"cpu_us": 90, "packages": 20}, limits=limits)
    report.judge()
    assert report.verdicts == {"cpu_us": "met", "packages": "aim"}
    report.doubts = ["other processes used 40% of the cores"]
    report.judge()
    assert report.verdicts == {"cpu_us": "no verdict", "packages": "aim"}


def test_the_gate_is_failed_by_cpu_memory_and_size_and_never_by_a_clock():
    well = dict.fromkeys(gate.LIMITS, 0.0)
    assert gate.judged(well)[1]
    assert not [name for name in gate.LIMITS if name.endswith((" s", "seconds", "ms"))]
    for name, limit in gate.LIMITS.items():
        rows, kept = gate.judged(well | {name: limit * 1.01})
        assert not kept
        assert [row[0] for row in rows if row[-1] == "OVER"] == [name]


def test_the_gate_sees_a_leak_and_no_step_of_the_allocator():
    flat, leak = [4, 0, 8, 0, 4, 0, 8, 0, 4, 0, 8, 0], [100, 60, 90, 120, 80, 100, 95, 110, 85, 90, 100, 105]
    stepped = [*flat[:5], 1028, *flat[6:9], 2052, *flat[10:]]
    assert gate.slope(flat, 4_000) < 2 and gate.slope(stepped, 4_000) < 2
    assert 22 < gate.slope(leak, 4_000) < 26
    assert gate.slope([0, 200] * 6, 4_000) == 25, "one that leaks by every other soak leaks"


def test_the_base_is_small_where_it_is_installed():
    packages, megabytes = environments.base()
    assert 15 < packages <= gate.LIMITS["packages"]
    assert 20 < megabytes <= gate.LIMITS["installed, MB"]


def test_one_step_of_memory_is_not_a_slope():
    flat = [(calls, 50.0 + (calls > 8000) * 3) for calls in range(0, 10_000, 100)]
    assert soak.slope_mb(flat) == 0
    leaking = [(calls, 50.0 + calls / 1000) for calls in range(0, 10_000, 100)]
    assert abs(soak.slope_mb(leaking) - 10.0) < 1e-6


def test_a_day_of_providers_in_any_weather_is_replayed():
    done = bench("resilience", "--calls", "200", "--seeds", "1", "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    figures = {"success", "success_given_up", "success_naive", "p50_vs_naive", "p99_vs_naive", "extra_cost"}
    assert figures <= set(found["figures"]) and found["missing"] == {}
    assert found["figures"]["success"] > 0.98 and 0.7 < found["figures"]["p50_vs_naive"] < 1.2
    (row,) = found["rows"]
    assert 0.9 < row["p50_s"] < 1.2, "the median of what providers take, as if so much time had passed"


def test_hours_pass_in_a_moment_and_in_order():
    async def work(clock: virtual.VirtualClock) -> list[float]:
        began = clock.now_ns()
        passed: list[float] = []

        async def wait(seconds: float) -> None:
            await clock.sleep(seconds)
            passed.append((clock.now_ns() - began) / 1e9)

        await asyncio.gather(wait(7200), wait(0.5), wait(60))
        return passed

    assert virtual.run(work) == pytest.approx([0.5, 60, 7200])


CACHE_FIGURES = {
    "warm_hits_at_3pct", "warm_wrong_at_3pct", "hits_at_1p2pct", "static_hits_at_1p2pct", "promise_held_share",
    "promise_worst", "warm_hits_at_5pct_noise5", "warm_wrong_at_5pct_noise5", "replay_calls_saved",
    "replay_semantic_share_of_misses", "replay_wrong_share", "replay_cost_saved",
}  # fmt: skip


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Labelled questions and arrival times, as `--data` wants them."""
    (tmp_path / "cache").mkdir()
    things = ("card", "loan", "house", "parcel", "garden", "piano")
    ways = ("Where is my {}?", "Who has seen my {}?", "My {} is gone, where is it?", "Please find my {}.")
    rows = "".join(f'"{way.format(thing)}",{thing}\n' for thing in things for way in ways)
    for part in ("train", "test"):
        (tmp_path / "cache" / f"tiny_{part}.csv").write_text(f"text,category\n{rows}Why is it so?,oos\n", "utf-8")
    (tmp_path / "traces").mkdir()
    calls = "".join(f"2023-11-16 18:{at // 600:02}:{at // 10 % 60:02}.{at % 10}000000,100,10\n" for at in range(20_000))
    (tmp_path / "traces" / "azure_llm_conv.csv").write_text(
        f"TIMESTAMP,ContextTokens,GeneratedTokens\n{calls}", "utf-8"
    )
    return tmp_path


@embedding_model()
def test_every_figure_of_the_cache_is_there_or_says_why_not(questions):
    done = bench("cache", "--data", str(questions), "--set", "tiny", "--quick", "--seeds", "1", "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["figures"]) == CACHE_FIGURES
    assert set(found["missing"]) == {name for name, value in found["figures"].items() if value is None}
    assert found["figures"]["replay_calls_saved"] > 0.9


def test_questions_that_are_not_there_are_named(tmp_path):
    done = bench("cache", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "cache/banking77_train.csv" in done.stderr


async def test_the_bench_of_telemetry_takes_every_figure(provider: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(telemetry, "CALLS", 5)
    monkeypatch.setattr(telemetry, "NAMES", 50)
    text = telemetry.SEEN.replace("PROVIDER", provider.removesuffix("/chat/completions"))
    found = Report("telemetry", True, {}, {}, {}, limits=telemetry.LIMITS)
    await telemetry.hot_path(found, text, 2)
    found.take("series_with_10k_models", [await telemetry.series(text)])
    telemetry.take_waits(found, {"sqlite": await views.waited(600, 1)})
    assert set(telemetry.LIMITS) <= set(found.figures)
    assert set(found.missing) == {name for name in found.figures if name.endswith("_postgres")}
    assert found.figures["series_with_10k_models"] > 100
    assert {row["view"] for row in found.rows} > {*views.EXPLORER, *views.ANALYTICS}
    assert telemetry.said(found)


async def test_loops_are_stopped_as_early_as_is_said_and_work_that_is_none_goes_on():
    found = await admission.loops()
    assert found == {"loop_stop_exact": 8, "loop_stop_growing": 9, "loop_stop_pingpong": 15, "benign_trips": 0}
