"""Two gateways, one PostgreSQL and Valkey, users, and arms that are as good as somebody says: what becomes of them?

With TIDEGATE_ROLLOUTS=1 effects are as small, and users as many, as in real life; it takes minutes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.processes import Gateway, gateway, kept
from tests.valkey import Valkey
from tidegate.core.ports import Closed
from tidegate.providers.scripted.script import Script
from tidegate.providers.scripted.server import Server

LONG = bool(os.environ.get("TIDEGATE_ROLLOUTS"))
CONFIG = """
logs: {{calls: false, format: json}}
limits: {{loops: {{policy: "off"}}, guesses: 100000}}
budgets: {{default_day: 0, velocity: {{policy: "off"}}}}
storage: {{valkey: "{valkey}", database: "{database}"}}
auth: {{peppers: ["env:PEPPER"]}}
upstream: {{retry: {{tries: 1}}, breaker: {{enabled: false}}}}
experiments: {{look_every: 400ms}}
providers:
  main: {{type: openai, base_url: "{provider}", price: {{input: 1, output: 1000}}}}
routes: {{{routes}}}
"""
PEPPER = "a-pepper-that-all-machines-share-and-only-they"
WORKERS = 10  # users at the same time

pytestmark = pytest.mark.timeout(900 if LONG else 300)


class Quality(NamedTuple):
    """What is said under a name."""

    failed: float = 0.0
    s: float = 0.01
    tokens: int = 20
    liked: float = 0.8


class Case(NamedTuple):
    """An experiment on a route of its own, named like it, and how it must end."""

    name: str
    arm: Quality
    spec: dict[str, Any]
    ends: str
    control: Quality = Quality()
    why: str = ""


def guard(metric: str, margin: float) -> dict[str, Any]:
    return {"guards": [{"metric": metric, "margin": margin}]}


class Town:
    """Users, each of whom asks one route, again and again, whichever gateway answers; and the provider."""

    def __init__(self, cases: list[Case], gateways: list[Gateway]) -> None:
        self.cases = {case.name: case for case in cases}
        self.gateways = gateways
        self.chance = random.Random(11)
        self.over: dict[str, float] = {}  # since when
        self.later: defaultdict[str, int] = defaultdict(int)  # calls, two seconds after that
        self.asked = 0

    def quality(self, model: str) -> Quality:
        name, _, arm = model.partition("-")
        return self.cases[name].arm if arm else self.cases[name].control

    def plan(self, model: str) -> Script:
        one = self.quality(model)
        if self.chance.random() < one.failed:
            return Script(status=500)
        tokens = round(one.tokens * self.chance.lognormvariate(0, 0.3))
        usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
        return Script(text=model, usage=usage, before=one.s * self.chance.lognormvariate(0, 0.3))  # type: ignore[arg-type]

    def is_past(self, name: str) -> bool:
        """It was decided, and users came for as long after that as matters."""
        return self.later[name] >= 3

    @property
    def rests(self) -> bool:
        return all(map(self.is_past, self.cases))

    async def live(self, until: Callable[[], bool], most: int) -> None:
        numbers = itertools.count(self.asked)

        async def user() -> None:
            while not until() and (number := next(numbers)) < most:
                self.asked = max(self.asked, number)
                names = [name for name in self.cases if not self.is_past(name)]
                if names:
                    await self.visit(names[number % len(names)], number)

        await asyncio.gather(*(user() for _ in range(WORKERS)))

    async def visit(self, route: str, number: int) -> None:
        """One in four was there before."""
        who = f"user-{route}-{number if number % 4 else self.chance.randrange(number + 1)}"
        at = self.gateways[self.chance.randrange(len(self.gateways))]
        is_late = route in self.over and time.monotonic() - self.over[route] > 2.1
        answer = await at.ask("hi", model=route, user=who)
        self.later[route] += is_late and answer.status == 200
        if answer.status != 200 or self.cases[route].spec.get("primary", {}).get("metric") != "satisfaction":
            return
        said = "up" if self.chance.random() < self.quality(answer.text).liked else "down"
        body = {"request_id": answer.headers["x-tidegate-request-id"], "thumbs": said}
        await at.begin("/v1/feedback", body=json.dumps(body).encode()).answer()

    async def watch(self, every: float = 0.1) -> None:
        """Who has ended, as the last gateway says it."""
        while len(self.over) < len(self.cases):
            for name in self.cases:
                if name not in self.over and (await state(self.gateways[-1], name))["state"] not in ("running", "gate"):
                    self.over[name] = time.monotonic()
            await asyncio.sleep(every)


async def until(there: Callable[[], bool]) -> None:
    while not there():
        await asyncio.sleep(0.02)


async def state(of: Gateway, name: str) -> Any:
    found = await of.get(f"/v1/experiments/{name}")
    assert found.status == 200, found.body
    return found.json


async def say(to: Gateway, path: str, **fields: Any) -> Any:
    answer = await to.begin(path, body=json.dumps(fields).encode()).answer()
    assert answer.status in (200, 201), answer.body
    return answer.json


@asynccontextmanager
async def living(
    cases: list[Case], folder: Path, valkey: Valkey, database: str
) -> AsyncIterator[tuple[Town, Callable[[str], Any]]]:
    """The town, and how a gateway of a name is begun (again)."""
    town = Town(cases, [])
    server = Server()
    server.plan = town.plan
    await server.start()
    routes = ", ".join(f"{case.name}: {{targets: [{{provider: main, model: {case.name}}}]}}" for case in cases)
    config = CONFIG.format(valkey=valkey.url, database=database, provider=server.address, routes=routes)

    def begin(name: str) -> Any:
        (folder / name).mkdir(exist_ok=True)
        return gateway(folder / name, config, PEPPER=PEPPER)

    try:
        yield town, begin
    finally:
        await server.aclose()


async def start(case: Case, at: Gateway) -> None:
    arm = {"name": "new", "target": f"main/{case.name}-new"}
    await say(at, "/v1/experiments", name=case.name, route=case.name, layer=case.name, arms=[arm], **case.spec)
    await say(at, f"/v1/experiments/{case.name}/start", why="to see")


# --- what is looked at afterwards


def check_that_no_unit_had_two_arms(rows: list[Closed]) -> int:
    """In one stage of one experiment. How many units there were."""
    had: defaultdict[tuple[str, int, str], set[str]] = defaultdict(set)
    for row in rows:
        for one in row.arms:
            if one.counted:
                had[one.experiment, one.stage, one.unit].add(one.arm)
    assert {place: arms for place, arms in had.items() if len(arms) > 1} == {}
    return len(had)


def check_that_nobody_gets_it_any_more(rows: list[Closed], experiment: str, decided_ms: int) -> float:
    """Two seconds after the decision. How long it went on, in seconds."""
    given = [row for row in rows if any(one.experiment == experiment and one.arm != "control" for one in row.arms)]
    longest_s = max([row.at_ms - decided_ms for row in given if row.at_ms > decided_ms], default=0) / 1000
    assert longest_s <= 2.0
    after = [row for row in rows if row.route == experiment.partition(".")[0] and row.at_ms > decided_ms + 2_000]
    assert after, "nobody came afterwards, so nothing is proven"
    return longest_s


def notices(of: Gateway, name: str) -> list[dict[str, Any]]:
    return [found for line in of.said.splitlines() if f'"event":"{name}"' in line and (found := json.loads(line))]


QUICK: dict[str, Any] = {"ramp": ["50%"], "min_units": 100 if LONG else 20, "min_duration": "0s"}
LIKED = {"primary": {"metric": "satisfaction", "margin": 0.05}, "guards": []}
WORSE = [
    Case(
        "errors",
        Quality(failed=0.12 if LONG else 0.45),
        QUICK | guard("error_rate", 0.05) | {"tripwires": {"failures": 0}},
        "rolled_back",
        why="error rate",
    ),
    Case("latency", Quality(s=0.015 if LONG else 0.08), QUICK | guard("latency", 0.1), "rolled_back", why="latency"),
    Case("cost", Quality(tokens=26 if LONG else 80), QUICK | guard("cost", 0.1), "rolled_back", why="cost"),
    Case("satisfaction", Quality(liked=0.6 if LONG else 0.2), QUICK | LIKED, "rolled_back", why="satisfaction"),
    Case(
        "broken", Quality(failed=1.0), QUICK | guard("cost", 0.5), "rolled_back", why="tripwire: 10 calls of new failed"
    ),
]
BETTER = Case(
    "better",
    Quality(liked=0.9 if LONG else 0.98),
    QUICK | {"ramp": ["25%", "50%"], "primary": {"metric": "satisfaction", "margin": 0.1}} | guard("error_rate", 0.2),
    "promoted",
    control=Quality(liked=0.7 if LONG else 0.3),
    why="better in satisfaction",
)


async def test_what_is_worse_is_taken_back_and_what_is_better_is_promoted_whoever_dies_meanwhile(
    tmp_path: Path, valkey: Valkey, postgres: str
) -> None:
    cases = [*WORSE, BETTER]
    async with living(cases, tmp_path, valkey, postgres) as (town, begin), begin("other") as other:
        async with begin("one") as one:
            for case in cases:
                await start(case, other)
            town.gateways[:] = [one, other]
            crowd = asyncio.create_task(town.live(lambda: town.rests, 30_000))
            watching = asyncio.create_task(town.watch())
            await until(lambda: town.asked > 150)
            town.gateways[:] = [other]
            await one.kill()  # -9
        assert len(town.over) < len(cases), "all was decided before anybody died"
        async with begin("one") as one:
            town.gateways[:] = [one, other]
            await crowd
            await watching
            found = {case.name: await state(one, case.name) for case in cases}
            reports = {case.name: (await one.get(f"/v1/experiments/{case.name}/report")).json for case in cases}
            again = {case.name: await say(other, f"/v1/experiments/{case.name}/recompute") for case in cases}
            await one.stop()
        await other.stop()
    rows, _, _ = await kept(tmp_path / "other" / "data", postgres)
    units = check_that_no_unit_had_two_arms(rows)
    print(f"\n{len(rows)} calls, {units} units in stages")
    for case in cases:
        report, now = reports[case.name], found[case.name]
        last = [one for one in report["decisions"] if one["did"] == case.ends][-1]
        print(f"{case.name}: {now['state']}: {now['why']}; units {report['units']}")
        assert now["state"] == case.ends and case.why in now["why"]
        assert last["by"] == "house" and [one["same"] for one in again[case.name]].count(False) == 0
        told = [note for each in (one, other) for note in notices(each, f"experiment_{case.ends}")]
        assert [note["decision"] for note in told if note["experiment"] == case.name] in ([last["id"]], [])
        if case.ends == "rolled_back":
            late_s = check_that_nobody_gets_it_any_more(rows, f"{case.name}.1", last["at_ms"])
            print(f"  the last call that got it began {late_s:.2f} s after the decision")
    assert re.search("promoted", reports["better"]["decisions"][-1]["did"])
