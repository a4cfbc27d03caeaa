"""Two machines, PostgreSQL behind PgBouncer, two Valkeys, Envoy; everything dies, parts, fills up or jumps meanwhile.

About a minute, each kind of weather once; TIDEGATE_WEATHER=10 for as many minutes, of which the last third is nobody's
death, so that memory can be judged. TIDEGATE_MACHINES=3 for so many, each a network of its own, which needs root: then
packets are lost as well, one way or the other. TIDEGATE_STORM_SEED repeats one, as far as sockets allow.
TIDEGATE_STORM_FIGURES names a file for what came of it, which `./run bench storm` reads.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bench.machines import Host
from bench.machines import machines as networks

from tests.e2e.processes import Gateway, Provider, kept, provider
from tests.e2e.storm.books import (
    Held,
    Watch,
    check_audit_log,
    money,
    rss_mb,
    spent_nusd,
    wrong_lines,
    wrong_rows,
)
from tests.e2e.storm.crowd import Crowd
from tests.e2e.storm.places import Machine, Valkeys, walls
from tests.e2e.storm.weather import Weather
from tests.e2e.test_batches import batch, begin, results
from tests.e2e.test_rollouts import check_that_no_unit_had_two_arms
from tests.envoy import before
from tests.parts import debian, needs, needs_envoy
from tests.postgres import Server, pgbouncer

MINUTES = float(os.environ.get("TIDEGATE_WEATHER", "0"))
SEED = int(os.environ.get("TIDEGATE_STORM_SEED", "0")) or random.randrange(1, 10**6)
MACHINES = int(os.environ.get("TIDEGATE_MACHINES", "0"))  # 0: two, on one loopback
FIGURES = os.environ.get("TIDEGATE_STORM_FIGURES")
STALL_S = 0.2  # judged where there is time for it: a slow machine makes no test fail
RSS_MB_PER_10K = 1.0
CACHES_MB = 32.0  # of a process that has just begun, none of which are filled
CLIENTS = 20
LINES = 100  # of each batch
PRICES = {"m": (0.1237, 0.6189), "s": (1.0, 2.0), "m-new": (0.1237, 0.6189)}
POOR_USD = 0.002
ENVIRONMENT = {"PEPPER": "a-pepper-that-all-machines-share-and-only-they", "AUDIT": "7a" * 32}

pytestmark = [
    needs_envoy(), debian("pgbouncer"), needs(Path("/proc/self/fd").exists(), "Linux's /proc"),
    pytest.mark.timeout(240 + 90 * MINUTES),
]  # fmt: skip

NAMES = ("one", "other", "third", "fourth", "fifth")
CONFIG = """
api: {{drain: 5s, host: "{host}"}}
logs: {{calls: false, format: json}}
limits: {{loops: {{policy: "off"}}, guesses: 1000000}}
budgets: {{default_day: 0, velocity: {{policy: "off"}}}}
storage:
  valkey: "valkey://{shared}:{valkey}"
  database: "postgresql://postgres@{shared}:{database}/{name}"
  database_prepares: false
  database_timeout: 2s
  database_connections: 2
auth: {{peppers: ["env:PEPPER"]}}
audit: {{enabled: true, key: "env:AUDIT", checkpoint: 1s, export: ["{heads}"]}}
upstream:
  {{connect: 1, first_token: 2, idle: 1, retry: {{tries: 2, base_s: 0.01, max_s: 0.05}}, breaker: {{open_for: 1}}}}
transport: {{idle_s: 1}}
batches: {{at_once: 8}}
experiments: {{look_every: 1s}}
providers:
  main: {{type: openai, base_url: "{envoy}/main/v1", price: {{input: 0.1237, output: 0.6189}}}}
  spare: {{type: openai, base_url: "{provider}", price: {{input: 1, output: 2}}}}
routes:
  fast:
    targets: [{{provider: main, model: m, order: 1}}, {{provider: spare, model: s, order: 2}}]
    timeout: 5s
    cache: {{exact: true, single_flight: true}}
"""
SOME = "percentage: {numerator: 3}"
FAULTS = f"abort: {{http_status: 503, {SOME}}}, delay: {{fixed_delay: 0.3s, {SOME}}}"


@asynccontextmanager
async def places(folder: Path, postgres: Server, main: Provider, environment: dict[str, str]) -> AsyncIterator[Any]:
    """The machines, and the Valkeys between which they do not choose."""
    valkeys = Valkeys(folder)
    await asyncio.to_thread(valkeys.start)
    name = postgres.new_database().rpartition("/")[2]
    async with AsyncExitStack() as undo:
        undo.callback(valkeys.stop)
        bouncer = undo.enter_context(pgbouncer(postgres.port, 20))
        provides = int(main.address.rpartition(":")[2].partition("/")[0])
        envoy = undo.enter_context(before(provides, {"main": FAULTS}))
        hosts: list[Host | None] = [*undo.enter_context(networks(MACHINES))] if MACHINES else [None, None]
        shared = hosts[0].shared if hosts[0] is not None else "127.0.0.1"
        ports = [valkeys.first.port] * len(hosts) + [bouncer] * len(hosts) + [int(envoy.rpartition(":")[2]), provides]
        *ways, to_envoy, to_provider = await undo.enter_async_context(walls(*ports, at=shared))
        machines = []
        for at, host in enumerate(hosts):
            valkey, database = ways[at], ways[at + len(hosts)]
            config = CONFIG.format(
                host=host.address if host is not None else "127.0.0.1", shared=shared, valkey=valkey.port,
                database=database.port, name=name, heads=folder / f"{NAMES[at]}.heads",
                envoy=f"http://{shared}:{to_envoy.port}",
                provider=main.address.replace(f"127.0.0.1:{provides}", f"{shared}:{to_provider.port}"),
            )  # fmt: skip
            machines.append(Machine(folder / NAMES[at], config, valkey, database, environment, host))
        for machine in machines:
            undo.push_async_callback(machine._life.aclose)
            await machine.start()
        yield machines, valkeys, postgres.url(name)


async def say(to: Gateway, path: str, **fields: Any) -> Any:
    answer = await to.begin(path, body=json.dumps(fields).encode()).answer()
    assert answer.status in (200, 201), answer.body
    return answer.json


async def prepare(at: Gateway) -> tuple[dict[str, Any], dict[str, Any]]:
    """A key with money, one with little; and an experiment that is under way from the first call on."""
    rich = await say(at, "/admin/keys", name="rich", budgets=[{"usd": 1000, "per": "total"}])
    poor = await say(at, "/admin/keys", name="poor", budgets=[{"usd": POOR_USD, "per": "total"}])
    arm = {"name": "new", "target": "main/m-new"}
    spec = {"ramp": ["50%"], "min_units": 100_000, "min_duration": "1h", "tripwires": {"failures": 0}}
    guards = {"guards": [{"metric": "cost", "margin": 0.9}]}
    await say(at, "/v1/experiments", name="same", route="fast", layer="same", arms=[arm], **spec, **guards)
    await say(at, "/v1/experiments/same/start", why="to see")
    return rich, poor


async def batches(machines: list[Machine], crowd: Crowd) -> list[str]:
    """One after the other, begun at whoever is there."""
    found = []
    while not crowd.over:
        gateway = next((one.gateway for one in machines if one.gateway), None)
        try:
            assert gateway is not None
            found.append(await begin(gateway, LINES))
        except (AssertionError, KeyError, ValueError):  # it is away, or says that it cannot now
            crowd.counts["batches refused"] += 1
        await asyncio.sleep(10)
    return found


async def settled(machine: Machine) -> Held:
    """The least that it holds within four seconds in which nobody asks: whoever looks is a connection, too."""
    assert machine.gateway is not None
    held = []
    for _ in range(20):
        held.append(await Held.by(machine.gateway))
        await asyncio.sleep(0.2)
    machine.gateway.send(signal.SIGUSR2)
    print(f"         {machine.folder.name} has {await machine.gateway.says(r'tasks: (.*)')}")
    return min(held, key=lambda one: (one.sockets, one.files, one.tasks))


async def test_whatever_dies_parts_fills_up_or_jumps_nothing_is_lost_and_nothing_is_paid_twice(
    tmp_path: Path, postgres_server: Server
) -> None:
    print(f"\nseed {SEED}")
    dice = random.Random(SEED)
    clock = tmp_path / "clock"
    clock.write_text("0")
    environment = {**ENVIRONMENT, "JUMPING_CLOCK": str(clock)}
    async with (
        provider(tmp_path, text="a word or two") as main,
        places(tmp_path, postgres_server, main, environment) as (machines, valkeys, database),
    ):
        rich, poor = await prepare(machines[0].gateway)
        crowd = Crowd(machines, [rich["key"], rich["key"], poor["key"]], dice)
        weather = Weather(machines, crowd, valkeys, postgres_server, clock, dice)
        watch = Watch(machines, crowd)
        asked = asyncio.create_task(batches(machines, crowd))
        living = asyncio.create_task(crowd.live(CLIENTS))
        watching = asyncio.create_task(watch.look())
        await weather.rage(60 * MINUTES * 2 / 3)
        if MINUTES:
            watch.steady = True
            await weather.rage(60 * MINUTES / 3, deadly=False)
        crowd.over = True
        await living
        await watching
        ids = await asked
        results = [await ended(machines[-1].gateway, id) for id in ids]
        held = [await settled(machine) for machine in machines]
        memory = [rss_mb(machine.gateway.pid) for machine in machines]
        calls = crowd.counts["calls"]
        for machine in machines:
            await machine.end()
            await machine.start()
        living = asyncio.create_task(crowd.live(CLIENTS))
        await asyncio.sleep(2)
        crowd.over = True
        await living
        afresh = [await settled(machine) for machine in machines]
        new_memory = [rss_mb(machine.gateway.pid) for machine in machines]
        for machine in machines:
            await machine.end()
        served = main.lines()
        log = await check_audit_log(
            tmp_path / "one" / "tidegate.yaml", tmp_path / "one.heads", tmp_path / "log", **ENVIRONMENT
        )
    rows, totals, sums = await kept(tmp_path / "one" / "data", database)
    print(dict(crowd.counts), dict(weather.counts), f"{len(rows)} rows, {len(served)} served; {len(ids)} batches")
    print("held", held, "afresh", afresh, log)
    unaccounted = wrong_rows(rows, crowd, served)
    books = money(rows, totals, sums, served, PRICES)
    print(f"{books.exact} calls cost exactly what was served; {totals.cost_nusd} nano-dollars in all")
    spent = spent_nusd(rows, poor["id"])
    figures = {
        "terminal_rows_missing": len(unaccounted),
        "cost_difference_nusd": books.difference_nusd,
        "budgets_exceeded": int(spent > POOR_USD * 1e9),
        "double_lines": sum(wrong_lines(lines, LINES) for lines in results),
        "rss_mb_per_10k": watch.rss_mb_per_10k(),
        "leaked_sockets": sum(max(now.sockets - new.sockets, 0) for now, new in zip(held, afresh, strict=True)),
        "leaked_files": sum(max(now.files - new.files, 0) for now, new in zip(held, afresh, strict=True)),
        "leaked_tasks": sum(max(now.tasks - new.tasks, 0) for now, new in zip(held, afresh, strict=True)),
        "loop_stall_ms_max": watch.stall_s * 1e3,
        "loop_lag_ms_max": watch.lag_s * 1e3,
        "calls": calls,
        "calls_per_s": calls / weather.raged_s,
        "machines": len(machines),
    }
    print(figures, "memory, MB:", memory, "afresh", new_memory)
    if FIGURES:
        Path(FIGURES).write_text(json.dumps(figures))
    assert crowd.wrong == []
    assert unaccounted == []
    assert books.wrong == []
    none = ("budgets_exceeded", "double_lines", "leaked_sockets", "leaked_files", "leaked_tasks")
    assert [name for name in none if figures[name]] == [], figures
    for now, new in zip(memory, new_memory, strict=True):
        assert now < new + CACHES_MB + RSS_MB_PER_10K * calls / 10_000
    if MINUTES and figures["rss_mb_per_10k"] is not None:
        assert figures["rss_mb_per_10k"] < RSS_MB_PER_10K
    if MINUTES:
        assert watch.stall_s <= STALL_S
    had_money = crowd.counts["calls"] - crowd.counts["402 budget_spent"] - crowd.counts["left"]
    assert crowd.counts["200"] > had_money / 2, "there was no service"
    assert spent > 0
    print(f"{check_that_no_unit_had_two_arms(rows)} units had one arm each; the poor spent {spent} nano-dollars")
    for machine in machines:
        assert not re.search("row_lost|Traceback", machine.said), machine.said[-3000:]


async def ended(at: Gateway, id: str) -> list[Any]:
    async with asyncio.timeout(60):
        while (found := await batch(at, id))["status"] not in ("completed", "failed", "expired"):
            await asyncio.sleep(0.1)
    files = [found[name] for name in ("output_file_id", "error_file_id") if found.get(name)]
    return [line for file in files for line in await results(at, file)]
