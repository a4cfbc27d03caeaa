"""How long does whoever looks wait? Pages of requests and analytics of a busy month, while calls go on coming in."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, redirect_stderr
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from bench import month
from bench.outage import quantile
from bench.weather import KEY
from tidegate import config
from tidegate.app import App, SystemClock, build
from tidegate.core.ports import Closed
from tidegate.storage.books import Home
from tidegate.storage.days import AFTER_MS
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.sqlite import SqliteStore

NOW_S = month.END.timestamp() - 3600  # late in the evening: most of a day is not folded
FED = 550  # rows a second, in steps of
STEP_S = 0.1
MOST_FED = (
    40_000  # and then no more: a busy machine looks for long, and this is no bench of an hour with two million calls
)
DEEP = 20  # pages, one after the other
WHOLE = f"since={month.BEGIN:%Y-%m-%d}"
EXPLORER = {
    "the newest": "limit=100",
    "the newest of a month": WHOLE,
    "in the middle of it": f"{WHOLE}&until=2026-10-15&limit=500",
    "of a key": f"{WHOLE}&key=key000000007",
    "of a team": f"{WHOLE}&team=team3",
    "of an end user": f"{WHOLE}&end_user=user-7",
    "of one who comes seldom": f"{WHOLE}&end_user=user-1500",
    "of nobody": f"{WHOLE}&team=nobody",
    "by route": f"{WHOLE}&route=cheap",
    "by target": f"{WHOLE}&target=local/tiny",
    "that failed": f"{WHOLE}&outcome=failed",
    "of a key, that failed": f"{WHOLE}&key=key000000007&outcome=failed&limit=500",
    "that a guard masked": f"{WHOLE}&guard=pii:mask",
    "that were dear": f"{WHOLE}&min_cost_usd=0.001",
    "that were slow": f"{WHOLE}&min_duration_ms=4000",
    "of a trace that is not there": f"{WHOLE}&trace_id={'a' * 32}",
}
ANALYTICS = {
    "a month by the day": "analytics",
    "a month in all": "analytics?per=total",
    "a year by the month": "analytics?since=2026-01-01&per=month",
    "a day by the hour": "analytics?since=1d&per=hour",
    "by route and target": "analytics?by=route,target&per=total",
    "by team and day": "analytics?by=team",
    "by key": "analytics?by=key&per=total",
    "by prompt": "analytics?by=prompt&per=total",
    "one team's": "analytics?team=team3",
    "one key's, by route": "analytics?key=key000000007&by=route&per=total",
    "usage by team and day": f"usage?{WHOLE}&by=team&per=day",
    "usage by key and target": f"usage?{WHOLE}&by=key,target&per=total",
    "usage of a team's end users": f"usage?{WHOLE}&by=end_user&per=total&team=team3",
}


class Then(SystemClock):
    """The clock of that month."""

    def __init__(self) -> None:
        ahead_ns = time.time_ns() - round(NOW_S * 1e9)
        self.wall_ns = lambda: time.time_ns() - ahead_ns  # type: ignore[misc]


class Look(NamedTuple):
    ms: float
    cpu_ms: float  # of this process: not of PostgreSQL


class Waited(NamedTuple):
    """By what was looked at; and how many rows a second were stored meanwhile."""

    explorer: dict[str, list[Look]]
    analytics: dict[str, list[Look]]
    rows_per_s: float


async def waited(rows: int, rounds: int, database: str | None = None) -> Waited:
    """In SQLite, or in the empty PostgreSQL at `database`."""
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        await kept(folder, rows, database)
        async with house(folder, database) as app:
            return await looked(app, rounds)


async def kept(folder: str, rows: int, database: str | None, now_s: float = NOW_S) -> None:
    """A month that ends an hour after `now_s`, in a home that nobody is in yet."""
    home: Home = (
        await PostgresStore.open(database, lambda name, fields: None, timeout_s=120)
        if database
        else await SqliteStore.open(Path(folder, "tidegate.sqlite"))
    )
    await asyncio.to_thread(month.fill, home.books, rows, round((now_s - NOW_S) * 1000))
    while await home.books.fold(round(now_s * 1000) - AFTER_MS):
        pass
    await home.aclose()


@asynccontextmanager
async def house(folder: str, database: str | None) -> AsyncIterator[App]:
    storage = f"storage: {{database: '{database}'}}" if database else ""
    text = f"""
logs: {{calls: false}}
{storage}
providers: {{main: {{type: scripted, price: {{input: 1, output: 2}}}}}}
routes: {{fast: {{targets: [{{provider: main, model: m}}]}}}}
"""
    environment = {"TIDEGATE_ADMIN_KEY": KEY, "TIDEGATE_STORAGE_DATA_DIR": folder}
    with tempfile.TemporaryFile("w") as log:
        with redirect_stderr(log):
            app = await build(config.parse(text, environment), environment, clock=Then())
        try:
            yield app
        finally:
            await app.leave()
            await app.aclose()


async def looked(app: App, rounds: int) -> Waited:
    found = Waited({}, {}, 0.0)
    paths = {name: (found.explorer, f"/admin/requests?{said}") for name, said in EXPLORER.items()}
    paths |= {name: (found.analytics, f"/admin/{said}") for name, said in ANALYTICS.items()}
    paths["one call"] = (found.explorer, f"/v1/requests/req_{7:031x}")
    for _, path in paths.values():  # the pages are imported when they are asked for first
        await get(app, path)
    feed = Feed(app)
    feeding = app.world.loop.create_task(feed.run())
    for _ in range(rounds):
        for name, (looks, path) in paths.items():
            looks.setdefault(name, []).append((await get(app, path))[0])
        found.explorer.setdefault(f"{DEEP} pages deep", []).extend(await deep(app))
    feed.ends = True
    return found._replace(rows_per_s=await feeding)


async def deep(app: App) -> list[Look]:
    """Each page of some that follow each other."""
    looks, path = [], f"/admin/requests?{WHOLE}&limit=500&outcome=ok"
    after = ""
    for _ in range(DEEP):
        look, said = await get(app, path + after)
        looks.append(look)
        if said["next"] is None:
            break
        after = f"&after={quote(said['next'])}"
    return looks


async def get(app: App, path: str) -> tuple[Look, Any]:
    """How long it took, and what was said."""
    pieces: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return pieces.pop() if pieces else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    where, _, query = path.partition("?")
    headers = [(b"authorization", b"Bearer " + KEY.encode())]
    began, cpu = time.perf_counter(), time.process_time()
    scope = {"type": "http", "method": "GET", "path": where, "query_string": query.encode(), "headers": headers}
    await app(scope, receive, send)
    look = Look((time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000)
    body = b"".join(message.get("body", b"") for message in sent)
    if sent[0]["status"] != 200:
        raise RuntimeError(f"{path}: {sent[0]['status']} {body[:300]!r}")
    return look, msgspec.json.decode(body)


class Feed:
    """Calls that end meanwhile."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.ends = False

    async def run(self) -> float:
        """Until it `ends`; rows a second that were stored by then."""
        ledger, began, told = self._app.world.ledger, time.monotonic(), 0
        rows = month.rows(1_000_000, seed=1)
        while not self.ends and told < MOST_FED:
            due = int((time.monotonic() - began) * FED)
            for row in islice(rows, due - told):
                ledger.append(self._now(row))
            told = due
            await asyncio.sleep(STEP_S)
        await ledger.flush()
        return told / (time.monotonic() - began)

    def _now(self, row: Closed) -> Closed:
        at_ms = self._app.world.clock.wall_ns() // 1_000_000
        return msgspec.structs.replace(row, id=f"new_{row.id[4:]}", at_ms=at_ms)


def worst(views: Mapping[str, list[Look]]) -> float:
    """The 95th percentile of the view that has the longest, in milliseconds."""
    return max(quantile(sorted(look.ms for look in some), 0.95) for some in views.values())
