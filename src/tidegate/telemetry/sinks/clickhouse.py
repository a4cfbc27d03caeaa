"""What does ClickHouse have of a call? A line of JSON for its row, many in one insert over HTTP, in the background.

No call waits for it. Rows wait in a queue that is bounded; what does not fit, or finds nobody in time, is dropped and
counted: the ledger has it all the same. An insert that is sent again has the token of the first: it counts once. End
users and sessions are named as the ledger names them: by aliases, where there is a vault.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Meta
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.call import Call
from tidegate.core.errors import StoreDown
from tidegate.core.money import KINDS
from tidegate.core.ports import Closed, Headers, ShrunkRow, Timeouts
from tidegate.core.posting import posted
from tidegate.core.tiers import Chosen
from tidegate.core.values import Duration, Secret
from tidegate.core.world import World
from tidegate.telemetry.delivery import Delivery

TIMEOUTS = Timeouts(connect=5, first_byte=30, idle=10, total=60)
LONGEST_WAIT_S = 60.0
MENDED_BY_TIME = (408, 425, 429, 500, 502, 503, 504)
TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
# As they are in a row.
PLAIN = (
    *("id", "key_id", "dialect", "operation", "outcome", "status", "duration_us", "overhead_us", "first_us", "stream"),
    *("usage_estimated", "cost_nusd", "kind", "tags", "saved_nusd", "deduplicated", "asked_again"),
)
# The same; what is not there is an empty text.
TEXTS = (
    *("organisation_id", "team_id", "user_id", "user", "session", "route", "model", "target", "error", "prompt"),
    *("cache", "cache_layer", "trace_id", "purpose", "parent"),
)
_AS_LONG, _NO_CHOICE = ShrunkRow(), Chosen("", "")
Masked = Callable[[Closed], Closed]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of ClickHouse.

    url: of its HTTP interface, such as http://127.0.0.1:8123.
    user: as whom to insert.
    password: best as env:NAME.
    table: with its database before a dot, where it is not in the user's own.
    rows: in one insert, at most.
    every: an insert is made at least so often, where there are rows.
    waiting: rows that may wait; of more, the oldest are dropped.
    deadline: how long an insert that nobody takes is sent again before it is dropped.
    """

    url: str
    user: str = "default"
    password: Secret | None = None
    table: str = "tidegate.calls"
    rows: Annotated[int, Meta(ge=1, le=100_000)] = 5_000
    every: Duration = Duration(2)
    waiting: Annotated[int, Meta(ge=1, le=1_000_000)] = 50_000
    deadline: Duration = Duration(600)


def trouble(config: Config) -> tuple[str, str] | None:
    """What cannot be, and where."""
    try:
        parts = urlsplit(config.url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.username:
        return "url", "must be like http://HOST:8123; user and password have keys of their own"
    if not TABLE.fullmatch(config.table):
        return "table", f"must be like tidegate.calls, not {config.table[:60]!r}"
    return ("every", "must be longer than nothing") if config.every <= 0 else None


def line(row: Closed) -> dict[str, Any]:
    """What the table has of a row."""
    found: dict[str, Any] = {name: getattr(row, name) for name in PLAIN}
    found |= {name: getattr(row, name) or "" for name in TEXTS}
    found["at_ms"] = row.at_ms
    found |= {kind: row.usage.get(kind, 0) for kind in KINDS}
    found["guards"] = [f"{one.guard}.{one.direction}: {one.verdict}" for one in row.guards]
    shrunk, chosen = row.shrunk or _AS_LONG, row.chosen or _NO_CHOICE
    found |= {"shrunk_level": shrunk.level or "", "shrunk_before": shrunk.before, "shrunk_after": shrunk.after}
    found |= {"tier": chosen.tier, "tier_why": chosen.why, "tier_hard": chosen.hard, "tier_chances": chosen.chances}
    found |= {"tier_beside": chosen.beside, "tier_share": chosen.share}
    found["tier_checks"] = [one.line for one in chosen.checks]
    tries = row.attempts
    found["attempt.target"] = [f"{one.provider}/{one.model}" for one in tries]
    found["attempt.outcome"] = [one.outcome for one in tries]
    found["attempt.why"] = [one.why for one in tries]
    found["attempt.status"] = [one.status or 0 for one in tries]
    found["attempt.duration_us"] = [max(one.ended_us - one.sent_us, 0) for one in tries]
    found["attempt.cost_nusd"] = [one.cost_nusd for one in tries]
    return found


def encoded(rows: Sequence[Closed], masked: Masked) -> bytes:
    """In a thread: JSONEachRow, compressed."""
    encode = msgspec.json.Encoder().encode
    return gzip.compress(b"\n".join([encode(line(masked(row))) for row in rows]) + b"\n", 1)


class ClickHouse(Collector):
    """A listener; `run` is the task that sends."""

    def __init__(self, config: Config, world: World, masked: Masked) -> None:
        self.inserted = self.dropped = 0
        self._config = config
        self._world = world
        self._masked = masked
        self._rows: list[Closed] = []
        self._failing = False  # and said so
        self._delivery = Delivery(world, self._run, "rows to ClickHouse", LONGEST_WAIT_S)

    def call_began(self, call: Call) -> None:
        """There is nothing to tell yet."""

    def call_ended(self, call: Call, row: Closed | None) -> None:
        if row is None:
            return
        self._rows.append(row)
        if len(self._rows) > self._config.waiting + self._config.rows:  # seldom, for it moves all of them
            more = len(self._rows) - self._config.waiting
            del self._rows[:more]
            self._drop(more, f"{self._config.waiting} rows wait already")

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        """Not of calls."""

    async def _run(self) -> None:
        while not self._delivery.ends or self._rows:
            if len(self._rows) < self._config.rows:
                await self._delivery.pause(self._config.every)
            rows, self._rows = self._rows[: self._config.rows], self._rows[self._config.rows :]
            if rows:
                await self._deliver(rows)

    async def _deliver(self, rows: Sequence[Closed]) -> None:
        clock, address, headers = self._world.clock, self._address(self._world.chance.hex()), self._headers()
        until_ns, body = clock.now_ns() + round(self._config.deadline * 1e9), b""

        async def send() -> tuple[str | None, bool]:
            nonlocal body
            try:
                body = body or await asyncio.to_thread(encoded, rows, self._masked)
            except StoreDown as down:  # nobody knows the aliases just now
                return down.message, True
            transport = self._world.transport
            return await posted(transport, address, headers, body, TIMEOUTS, mended=MENDED_BY_TIME, pages=False)

        why = await self._delivery.deliver(send, lambda tries: clock.now_ns() < until_ns)
        if why is not None:
            self._drop(len(rows), why)
            return
        self.inserted += len(rows)
        self._failing = False

    def _address(self, token: str) -> str:
        said = {
            "query": f"INSERT INTO {self._config.table} FORMAT JSONEachRow",
            "insert_deduplication_token": token,
            "input_format_skip_unknown_fields": "1",  # a table that is older than we are
        }
        return f"{self._config.url.rstrip('/')}/?{urlencode(said)}"

    def _headers(self) -> Headers:
        password = self._config.password
        return [
            (b"content-type", b"application/x-ndjson"),
            (b"content-encoding", b"gzip"),
            (b"user-agent", b"tidegate"),
            (b"x-clickhouse-user", self._config.user.encode()),
            *([(b"x-clickhouse-key", password.value.encode())] if password is not None else []),
        ]

    def _drop(self, rows: int, why: str) -> None:
        self.dropped += rows
        if not self._failing:  # once, until some arrive
            self._failing = True
            self._world.events.notice("rows_not_sent", {"receiver": self._config.table, "why": why})

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily("tidegate_clickhouse_rows", "Rows by what became of them", labels=["outcome"])
        family.add_metric(["inserted"], self.inserted)
        family.add_metric(["dropped"], self.dropped)
        yield family

    async def aclose(self) -> None:
        """What still waits has a moment."""
        await self._delivery.aclose()
        self.dropped += len(self._rows)
