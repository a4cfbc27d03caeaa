"""What becomes of calls whose providers are slow, wrong or gone? A long day replayed, with Tidegate and without.

Two scripted providers answer in a log-normal time (median 1 s, σ 0.3); 4 % of calls stall for 5 to 12 s, 1 % fail at
once, and for 1.8 % of the time, in outages of 20 to 60 s that know nothing of each other, a provider fails every call.
So each is up 97.2 % of the time. Without Tidegate one provider is asked once, and 30 s are waited. The gateway is the
real one with keys, retries, breakers, hedging and the ledger, in one process with the providers' real sockets; only
time is another: it jumps where there is nothing to do (virtual.py).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from bench import report, virtual
from bench.report import Limit, Report
from bench.virtual import VirtualClock
from bench.weather import Heard, Weather, ask, body, forecast, house, outages, within
from tidegate.app import App
from tidegate.core.ports import Closed, Request, Timeouts, TransportError
from tidegate.providers.scripted.server import Server

CALLS_PER_S = 0.5
GONE = 0.018  # share of the time
GONE_S = (20.0, 60.0)
PATIENCE_S = 30.0  # of who has no Tidegate

CONFIG = """
logs: {calls: false}
limits: {loops: {policy: "off"}}  # whoever measures says the same again and again
budgets: {default_day: 0}
providers:
  main: {type: scripted, price: {input: 0.15, output: 0.6}}
  spare: {type: scripted, price: {input: 0.15, output: 0.6}}
routes:
  fast:
    targets: [{provider: main, model: m, order: 1}, {provider: spare, model: m, order: 2}]
    hedge: {after: p95, max_extra: 5%}
"""

LIMITS = {
    "success": Limit(0.999, 0.9995, most=False, timed=False),
    "success_given_up": Limit(0.9999, 0.9999, most=False, timed=False),
    "p99_vs_naive": Limit(0.4, 0.32, timed=False),
    "extra_cost": Limit(0.05, 0.03, timed=False),
}


class Outcome(NamedTuple):
    """One seed: the same day for both."""

    ours: list[Heard]
    naive: list[Heard]
    up: list[bool]  # for each call, whether a provider was there when it came
    rows: dict[str, Closed]


async def day(clock: VirtualClock, seed: int, calls: int) -> Outcome:
    loop = asyncio.get_running_loop()
    dice = random.Random(seed)
    lasts_s = calls / CALLS_PER_S
    gone = [outages(dice, lasts_s, GONE, GONE_S) for _ in range(2)]
    async with house(CONFIG, clock) as app:
        began_s = loop.time()

        def now_s() -> float:
            return loop.time() - began_s

        for name, windows in zip(("main", "spare"), gone, strict=True):
            forecast(app, name, Weather(random.Random(f"{seed} {name}"), windows), now_s)
        alone = Server()
        await alone.start()
        weather = Weather(random.Random(f"{seed} alone"), gone[0])
        alone.plan = lambda model: weather.script(now_s())
        ours: list[asyncio.Task[Heard]] = []
        naive: list[asyncio.Task[Heard]] = []
        text = body()
        for _ in range(calls):
            await asyncio.sleep(dice.expovariate(CALLS_PER_S))
            ours.append(loop.create_task(ask(app, now_s, text)))
            naive.append(loop.create_task(ask_alone(app, alone, now_s, text)))
        heard = await asyncio.gather(*ours)
        heard_alone = await asyncio.gather(*naive)
        await app.world.ledger.flush()
        rows = {row.id: row async for row in app.world.ledger.rows()}
        await alone.aclose()
    up = [not all(within(windows, one.asked_s) for windows in gone) for one in heard]
    return Outcome(heard, heard_alone, up, rows)


async def ask_alone(app: App, server: Server, now_s: Any, text: bytes) -> Heard:
    """As a client without Tidegate does."""
    began_s = now_s()
    url = f"{server.address}/chat/completions"
    request = Request("POST", url, (), text, Timeouts(first_byte=PATIENCE_S, total=PATIENCE_S))
    exchange = app.world.transport.send(request)
    said, status = b"", 0
    try:
        status = (await exchange.head()).status
        while piece := await exchange.read():
            said += piece
    except TransportError:
        status = 0
    exchange.close()
    return Heard("", status == 200 and said.endswith(b"[DONE]\n\n"), began_s, now_s() - began_s, status)


# --- what it comes to -------------------------------------------------------------------------------------------------


def share(good: Sequence[bool]) -> float:
    return sum(good) / len(good)


def quantile(values: Sequence[float], at: float) -> float:
    return sorted(values)[min(int(len(values) * at), len(values) - 1)]


def lasted(heard: Sequence[Heard]) -> list[float]:
    return [one.lasted_s for one in heard if one.good]


def extra(rows: Sequence[Closed]) -> tuple[float, float]:
    """What attempts that nobody needed cost, over those that answered: as the ledger has it, and at the full price.

    The full price of an attempt that was left before it answered is that of an answer: some vendors ask it.
    """
    won = told = full = 0.0
    for row in rows:
        good = [one for one in row.attempts if one.outcome == "ok"]
        answer = good[-1].cost_nusd or 0 if good else 0
        won += answer
        for one in row.attempts:
            if one not in good[-1:]:
                told += one.cost_nusd or 0
                full += answer if one.usage else 0
    return told / won, full / won


def figures(outcome: Outcome) -> dict[str, float]:
    ours, naive = outcome.ours, outcome.naive
    quick, slow = lasted(ours), lasted(naive)
    told, full = extra(list(outcome.rows.values()))
    return {
        "success": share([one.good for one in ours]),
        "success_given_up": share([one.good for one, up in zip(ours, outcome.up, strict=True) if up]),
        "success_naive": share([one.good for one in naive]),
        "p50_vs_naive": quantile(quick, 0.5) / quantile(slow, 0.5),
        "p99_vs_naive": quantile(quick, 0.99) / quantile(slow, 0.99),
        "extra_cost": told,
        "extra_cost_full_price": full,
        "p50_s": quantile(quick, 0.5),
        "p99_s": quantile(quick, 0.99),
        "p99_naive_s": quantile(slow, 0.99),
        "attempts_per_call": sum(len(row.attempts) for row in outcome.rows.values()) / len(outcome.rows),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calls", type=int, metavar="N", help="how many in each round")


def run(options: argparse.Namespace) -> Report:
    seeds = options.seeds or (5 if options.quick else 20)
    calls = options.calls or (2_000 if options.quick else 6_000)
    found = Report("resilience", options.quick, report.machine(), report.versions(), {}, limits=LIMITS)
    taken: dict[str, list[float]] = {}
    for seed in range(seeds):
        began = time.perf_counter()
        outcome = virtual.run(lambda clock, seed=seed: day(clock, seed, calls))
        row: dict[str, Any] = {"seed": seed, "calls": calls, **figures(outcome)}
        for name, value in row.items():
            taken.setdefault(name, []).append(value)
        row["failed"] = Counter(str(one.status) for one in outcome.ours if not one.good)
        row["took_s"] = time.perf_counter() - began
        found.rows.append(row)
    for name in list(taken)[2:]:
        found.take(name, taken[name])
    if options.quick:
        found.doubts.append(f"{seeds} seeds of {calls} calls are too few for a share of 99.99 %")
    found.judge()
    return found


def said(found: Report) -> str:
    rows = found.rows
    hours = rows[0]["calls"] / CALLS_PER_S / 3600
    head = f"{len(rows)} days of {hours:.1f} h, {rows[0]['calls']} calls each, with Tidegate and without"
    columns = ("seed", "success", "success_given_up", "success_naive", "p99_s", "p99_naive_s", "extra_cost", "took_s")
    days = report.table(columns, [[row[name] for name in columns] for row in rows])
    return "\n".join((head, "", days, "", report.figures_table(found)))
