"""Two machines, PostgreSQL behind PgBouncer, two Valkeys, Envoy; everything dies, parts, fills up or jumps meanwhile.

About a minute, each kind of weather once; TIDEGATE_WEATHER=10 for as many minutes. TIDEGATE_STORM_SEED repeats one, as
far as sockets allow.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import Gateway, Provider, kept, provider
from tests.e2e.storm.books import Held, check_audit_log, check_lines, check_money, check_rows, lag_s, rss_mb, spent_nusd
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
CLIENTS = 16
LINES = 100  # of each batch
PRICES = {"m": (0.1237, 0.6189), "s": (1.0, 2.0), "m-new": (0.1237, 0.6189)}
POOR_USD = 0.002
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
ENVIRONMENT = {"PEPPER": "a-pepper-that-all-machines-share-and-only-they", "AUDIT": "7a" * 32}

pytestmark = [
    needs_envoy(), debian("pgbouncer"), needs(Path("/proc/self/fd").exists(), "Linux's /proc"),
    pytest.mark.timeout(240 + 90 * MINUTES),
]  # fmt: skip

CONFIG = """
api: {{drain: 5s}}
logs: {{calls: false, format: json}}
limits: {{loops: {{policy: "off"}}, guesses: 1000000}}
budgets: {{default_day: 0, velocity: {{policy: "off"}}}}
storage:
  valkey: "valkey://127.0.0.1:{valkey}"
  database: "postgresql://postgres@127.0.0.1:{database}/{name}"
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
        envoy = undo.enter_context(before(int(main.address.rpartition(":")[2].partition("/")[0]), {"main": FAULTS}))
        ways = await undo.enter_async_context(walls(*([valkeys.first.port] * 2 + [bouncer] * 2)))
        machines = []
        for place, valkey, database in zip(("one", "other"), ways[:2], ways[2:], strict=True):
            config = CONFIG.format(
                valkey=valkey.port, database=database.port, name=name, heads=folder / f"{place}.heads", envoy=envoy,
                provider=main.address,
            )  # fmt: skip
            machines.append(Machine(folder / place, config, valkey, database, environment))
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
    return min(held, key=lambda one: (one.sockets, one.files, one.tasks))


async def test_whatever_dies_parts_fills_up_or_jumps_nothing_is_lost_and_nothing_is_paid_twice(
    tmp_path: Path, postgres_server: Server
) -> None:
    print(f"\nseed {SEED}")
    dice = random.Random(SEED)
    clock = tmp_path / "clock" if FAKETIME.exists() else None
    environment = dict(ENVIRONMENT)
    if clock is not None:
        clock.write_text("+0h")
        environment |= {
            **{"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock)},
            **{"FAKETIME_CACHE_DURATION": "1", "DONT_FAKE_MONOTONIC": "1"},
        }
    async with (
        provider(tmp_path, text="a word or two") as main,
        places(tmp_path, postgres_server, main, environment) as (machines, valkeys, database),
    ):
        rich, poor = await prepare(machines[0].gateway)
        crowd = Crowd(machines, [rich["key"], rich["key"], poor["key"]], dice)
        weather = Weather(machines, crowd, valkeys, postgres_server, clock, dice)
        asked = asyncio.create_task(batches(machines, crowd))
        living = asyncio.create_task(crowd.live(CLIENTS))
        await weather.rage(60 * MINUTES)
        crowd.over = True
        await living
        ids = await asked
        one, other = (machine.gateway for machine in machines)
        lines = [check_lines(await ended(other, id), LINES) for id in ids]
        held = [await settled(machine) for machine in machines]
        print("RSS, MB:", [round(rss_mb(gateway.pid)) for gateway in (one, other)])
        print("longest wait of the loop, s:", [await lag_s(gateway) for gateway in (one, other)])
        for machine in machines:
            await machine.end()
            await machine.start()
        living = asyncio.create_task(crowd.live(CLIENTS))
        await asyncio.sleep(2)
        crowd.over = True
        await living
        afresh = [await settled(machine) for machine in machines]
        for machine in machines:
            await machine.end()
        served = main.lines()
        log = await check_audit_log(
            tmp_path / "one" / "tidegate.yaml", tmp_path / "one.heads", tmp_path / "log", **ENVIRONMENT
        )
    rows, totals, sums = await kept(tmp_path / "one" / "data", database)
    print(dict(crowd.counts), dict(weather.counts), f"{len(rows)} rows, {len(served)} served; batches: {lines}")
    print("held", held, "afresh", afresh, log)
    assert crowd.wrong == []
    assert all(now <= new for now, new in zip(held, afresh, strict=True)), f"{held} is more than {afresh}"
    had_money = crowd.counts["calls"] - crowd.counts["402 budget_spent"] - crowd.counts["left"]
    assert crowd.counts["200"] > had_money / 2, "there was no service"
    check_rows(rows, crowd, served)
    print(check_money(rows, totals, sums, served, PRICES))
    spent = spent_nusd(rows, poor["id"])
    assert 0 < spent <= POOR_USD * 1e9, "who had little spent more"
    print(f"{check_that_no_unit_had_two_arms(rows)} units had one arm each; the poor spent {spent} nano-dollars")
    for machine in machines:
        assert not re.search("row_lost|Traceback", machine.said), machine.said[-3000:]


async def ended(at: Gateway, id: str) -> list[Any]:
    async with asyncio.timeout(60):
        while (found := await batch(at, id))["status"] not in ("completed", "failed", "expired"):
            await asyncio.sleep(0.1)
    files = [found[name] for name in ("output_file_id", "error_file_id") if found.get(name)]
    return [line for file in files for line in await results(at, file)]
