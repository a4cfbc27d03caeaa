"""Thousands who leave at any moment, from providers in any mood: nothing is left behind, and every call has its row.

TIDEGATE_STORM=100000 makes it a longer one; a seed that is printed makes it the same again, as far as sockets allow.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.house import unbounded, until
from tests.loops import both_loops
from tidegate import config
from tidegate.app import App, build
from tidegate.core.call import Call
from tidegate.core.ports import Closed
from tidegate.providers.scripted import Scripted
from tidegate.providers.scripted.script import read_script

CALLS = int(os.environ.get("TIDEGATE_STORM", "20000"))  # half of them on each event loop
AT_ONCE = 200
SEED = int(os.environ.get("TIDEGATE_STORM_SEED", "0")) or random.randrange(1, 10**6)

pytestmark = pytest.mark.timeout(60 + CALLS // 100)

HOUSE = """
logs: {calls: false}
upstream: {connect: 1, first_token: 2, idle: 2, retry: {tries: 2, base_s: 0.002, max_s: 0.01}}
limits: {guesses: 1000000, loops: {policy: "off"}}
budgets: {default_day: 0}
providers:
  main: {type: scripted, price: {input: 0.1237, output: 0.6189}}
  spare: {type: scripted, price: {input: 1, output: 2}}
routes:
  fast: {targets: [{provider: main, model: m, order: 1}, {provider: spare, model: m, order: 2}], timeout: 5s}
"""

HEALTHY: tuple[dict[str, Any], ...] = (
    {},
    {"text": "one two three", "between": "1ms"},
    {"text": "one two three four", "before": "2ms", "trickle": 40},
    {"text": "one two", "usage": False, "done": False},
)
FAULTY: tuple[dict[str, Any], ...] = (
    {"status": 503},
    {"status": 429, "headers": {"retry-after": "0.002"}, "before": "1ms"},
    {"status": 400},
    {"cut_off": 0},
    {"text": "one two three", "cut_off": 2, "between": "1ms"},
    {"text": "one two three", "cut_off": 1, "then": "reset", "between": "1ms"},
    {"raw": "bm90IEhUVFA="},
    {"body": "<html>", "headers": {"content-type": "text/html"}},
    {"text": "one two three", "instead": {"1": "ZGF0YTogeyJjaG9pY2VzIjpbCgo="}},
)

SILENT: tuple[dict[str, Any], ...] = ({"before": "1h"}, {"text": "one two three", "cut_off": 1, "then": "stall"})


class Witness:
    """Hears of every call's beginning and end."""

    def __init__(self) -> None:
        self.under_way: dict[str, Call] = {}
        self.rowed: dict[str, str] = {}  # id → outcome
        self.unknown = 0  # calls whose key was not
        self.wrong: list[str] = []
        self.notices: Counter[str] = Counter()

    def call_began(self, call: Call) -> None:
        self.under_way[call.id] = call

    def call_ended(self, call: Call, row: Closed | None) -> None:
        if self.under_way.pop(call.id, None) is None:
            self.wrong.append(f"{call.id} ended twice, or never began")
        if (row is None) != (call.principal is None):
            self.wrong.append(f"{call.id} of {call.principal} has the row {row}")
        if row is None:
            self.unknown += 1
            return
        self.rowed[row.id] = row.outcome
        if row.outcome == "failed" and row.error in (None, "internal_error"):
            self.wrong.append(f"{row} is a mistake of ours")
        still = [attempt for attempt in call.attempts if attempt.ended_ns is None]
        if still or row.cost_nusd != sum(attempt.cost_nusd or 0 for attempt in row.attempts):
            self.wrong.append(f"{row} does not add up")

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        self.notices[name] += 1
        if name in ("crash", "flight_crashed", "row_lost"):
            self.wrong.append(f"{name}: {fields}")


class Client:
    """One request, from the server's side of the socket."""

    def __init__(
        self,
        app: App,
        key: str,
        body: bytes,
        pieces: int,
        method: str = "POST",
        path: str = "/v1/chat/completions",
    ) -> None:
        size = len(body) // pieces + 1
        self._pieces = [body[at : at + size] for at in range(0, len(body), size)]
        self._gone = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self.sent: list[Any] = []
        headers = [(b"authorization", b"Bearer " + key.encode())]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
        self.task = asyncio.get_running_loop().create_task(app(scope, self._receive, self._send), name="a client")

    async def _receive(self) -> dict[str, Any]:
        if self._gone.is_set() or not self._pieces:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        if len(self._pieces) > 1:
            await asyncio.sleep(0)
        return {"type": "http.request", "body": self._pieces.pop(0), "more_body": bool(self._pieces)}

    async def _send(self, message: Any) -> None:
        await self.reading.wait()
        if not self._gone.is_set():
            self.sent.append(message)

    def leave(self) -> None:
        self._gone.set()
        self.reading.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class Storm:
    def __init__(self, app: App, key: str, witness: Witness, dice: random.Random) -> None:
        self.app = app
        self.key = key
        self.witness = witness
        self.dice = dice
        self.counts: Counter[str] = Counter()

    async def turns(self, most: int) -> None:
        for _ in range(self.dice.randrange(most)):
            await asyncio.sleep(0)

    async def one(self) -> None:
        """One client: asks, and is then disturbed, or not."""
        dice = self.dice
        (scripts,) = dice.choices((HEALTHY, FAULTY, SILENT), (60, 39, 1))
        script = dice.choice(scripts)
        asked = {"model": "fast", "messages": [{"role": "user", "content": "hi"}], "stream": dice.random() < 0.7}
        if dice.random() < 0.7:
            asked["metadata"] = {"script": script}
        else:
            script = None  # as the weather is
        key = self.key if dice.random() < 0.98 else "tg_wrong"
        client = Client(self.app, key, json.dumps(asked).encode(), dice.choice((1, 1, 1, 4)))
        mood = dice.choice(("patient", "leaves", "is cancelled", "twice", "both", "reads late"))
        most = dice.choice((4, 15, 40, 120))
        if mood != "patient":
            await self.turns(most)
            if mood == "reads late":
                client.reading.clear()
                await self.turns(most)
                dice.choice((client.reading.set, client.leave, client.task.cancel))()
            if mood in ("leaves", "both"):
                client.leave()
            if mood == "both":
                await self.turns(4)
            if mood in ("is cancelled", "twice", "both"):
                client.task.cancel()
            if mood == "twice":
                await self.turns(4)
                client.task.cancel()
        await asyncio.wait([client.task])
        self.counts[mood] += 1
        if not client.task.cancelled():
            client.task.result()
            if mood == "patient":
                self.look_at(client, key, script)

    def look_at(self, client: Client, key: str, script: dict[str, Any] | None) -> None:
        """Who was not disturbed has an answer, and it is what the row says."""
        status, body = client.sent[0]["status"], client.body
        if key != self.key:
            assert status == 401
            return
        id = dict(client.sent[0]["headers"])[b"x-tidegate-request-id"].decode()
        outcome = self.witness.rowed.get(id)
        complete = status == 200 and b'"error"' not in body
        assert (outcome == "ok") == complete, (outcome, status, body)
        assert not client.sent[-1].get("more_body")
        if script in HEALTHY:
            # A provider that closed may have been in the middle of it; and others' faults may have set both aside.
            aside = status == 503 and b"nobody may be asked" in body and self.witness.notices["breaker_open"] > 1
            assert complete or self.counts["closed"] or aside, body
            self.counts["answered"] += complete

    async def metrics(self) -> bytes:
        client = Client(self.app, self.key, b"", 1, method="GET", path="/metrics")
        await client.task
        return client.body

    async def some(self, calls: int) -> None:
        for _ in range(calls):
            await self.one()

    async def weather(self) -> None:
        """Providers change their mind, and close and come back elsewhere."""
        scripted = [one for one in self.app.gateway.providers.values() if isinstance(one, Scripted)]
        while True:
            await asyncio.sleep(0.05)
            provider = self.dice.choice(scripted)
            mood = read_script(json.dumps(self.dice.choice(HEALTHY + FAULTY[:3])))
            provider.server.always(**msgspec.structs.asdict(mood))
            if self.dice.random() < 0.2:
                self.counts["closed"] += 1
                await provider.server.aclose()
                await self.turns(50)
                await provider.start()


@asynccontextmanager
async def a_house(data_dir: Path) -> AsyncIterator[tuple[App, str, Witness]]:
    environment = {"TIDEGATE_STORAGE_DATA_DIR": str(data_dir)}
    app = await build(unbounded(config.parse(HOUSE, environment), HOUSE), environment)
    witness = Witness()
    app.world.events._listeners.append(witness)  # type: ignore[attr-defined]
    try:
        key, _ = await app.gateway.auth.create("a test", "test", admin=False)
        yield app, key, witness
    finally:
        await app.aclose()


def left(app: App) -> list[str]:
    world = app.world
    found = [task.get_name() for task in world.nursery.tasks] + [f"flight {flight.call.id}" for flight in world.flights]
    return found + ([f"{world.transport.busy} busy connections"] if world.transport.busy else [])


def descriptors() -> Counter[str]:
    gc.collect()
    found: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            found[str(entry.readlink())] += 1
    del found["/dev/null"]  # libuv keeps one in reserve, for when there are no others
    return found


async def storm(data_dir: Path, calls: int) -> None:
    at_first = descriptors()
    tasks_at_first = asyncio.all_tasks()
    async with a_house(data_dir) as (app, key, witness):
        here = Storm(app, key, witness, random.Random(SEED))
        weather = asyncio.create_task(here.weather(), name="weather")
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(here.some(calls // AT_ONCE))
        finally:
            weather.cancel()
        await until(lambda: not left(app))
        assert not witness.wrong, witness.wrong[:10]
        assert not witness.under_way and not app.world.calls
        assert b"tidegate_calls_in_flight 0.0" in (await here.metrics())
        await app.world.ledger.flush()
        rows = [row.id async for row in app.world.ledger.rows()]
        assert sorted(rows) == sorted(witness.rowed), "not every call whose key was known has exactly one row"
        print(f"\nseed {SEED}: {len(rows)} rows, {witness.unknown} without a key, {dict(here.counts)}")
        print(f"outcomes: {dict(Counter(witness.rowed.values()))}; notices: {dict(witness.notices)}")
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks_at_first
    assert not descriptors() - at_first


@pytest.mark.parametrize("loop", both_loops().values(), ids=both_loops().keys())
def test_nothing_is_left_of_those_who_leave_at_any_moment(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(storm(tmp_path, CALLS // 2))
