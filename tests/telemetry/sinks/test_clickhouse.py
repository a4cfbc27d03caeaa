"""Rows reach ClickHouse in batches, once each, and no call waits for it.

TIDEGATE_CHDB=1 ./run test tests/telemetry/sinks     has ClickHouse's own engine (900 MB) read them: queries agree
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from tests.house import Build, House, until
from tests.parts import ROOT, client_python, optional
from tests.telemetry.receiver import Receiver, receiving
from tidegate import config
from tidegate.core.errors import ConfigError
from tidegate.core.ports import ShrunkRow
from tidegate.core.tiers import Chosen
from tidegate.core.usage import UsageAsked, periods
from tidegate.telemetry.sinks.clickhouse import line

DDL, QUERIES = ROOT / "deploy/clickhouse/calls.sql", ROOT / "deploy/clickhouse/queries.sql"
READER = Path(__file__).parent / "reader.py"
HOUSES = """
logs: {calls: false}
limits: {}
budgets: {default_day: 0}
providers:
  main: {type: scripted, price: {input: 1, output: 2}}
  spare: {type: scripted, price: {input: 3, output: 6}}
routes:
  fast:
    targets: [{provider: main, model: m, order: 1}, {provider: spare, model: m, order: 2}]
    cache: {exact: true}
    guardrails: {input: [{type: pii, action: flag}]}
"""


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    async with receiving() as found:
        yield found


def text(url: str, more: str = "") -> str:
    return f'sinks: {{clickhouse: {{url: "{url}", user: tide, password: hush{more}}}}}\n{HOUSES}'


def rows(heard: Receiver) -> list[dict[str, Any]]:
    return [json.loads(one) for _, body in heard.heard for one in gzip.decompress(body).splitlines()]


async def count(house: House, outcome: str) -> int:
    page = (await house.get("/metrics")).body.decode()
    found = re.search(rf'^tidegate_clickhouse_rows_total{{outcome="{outcome}"}} (\d+)', page, re.M)
    assert found is not None
    return int(found[1])


async def test_a_row_of_each_call_is_inserted_as_clickhouse_wants_it(build_house: Build, receiver):
    heard, url = receiver
    house = await build_house(text(url))
    house.provider("main").says(status=503)
    house.provider("main").says("hello", usage={"prompt_tokens": 7, "completion_tokens": 3})
    reply = await house.ask(user="ann", headers={"x-tidegate-session": "s1", "x-tidegate-tags": "a, b"})
    await until(lambda: bool(heard.heard))
    (row,) = rows(heard)
    assert (row["id"], row["user"], row["session"], row["tags"]) == (reply.id, "ann", "s1", ["a", "b"])
    assert (row["cost_nusd"], row["input"], row["output"], row["cache"]) == (13_000, 7, 3, "miss")
    assert (row["attempt.outcome"], row["attempt.why"]) == (["failed", "ok"], ["first", "again"])
    headers, _ = heard.heard[0]
    assert (headers["x-clickhouse-user"], headers["x-clickhouse-key"]) == ("tide", "hush")
    assert headers["content-encoding"] == "gzip"
    asked = parse_qs(urlsplit(heard.paths[0]).query)
    assert asked["query"] == ["INSERT INTO tidegate.calls FORMAT JSONEachRow"]


async def test_what_was_shrunk_and_which_tier_was_chosen_is_in_its_row(build_house: Build):
    house = await build_house(HOUSES)
    await house.ask()
    (row,) = await house.rows()
    plain = line(row)
    assert (plain["tier"], plain["shrunk_level"], plain["shrunk_before"], plain["tier_chances"]) == ("", "", 0, ())
    chosen = Chosen("simple", "quality 0.95", (0.8, 0.9), -0.5, 0.03, "complex", 0.01)
    told = line(msgspec.structs.replace(row, shrunk=ShrunkRow("lossless", 120, 80), chosen=chosen))
    assert [told[f"shrunk_{name}"] for name in ("level", "before", "after")] == ["lossless", 120, 80]
    names = ("tier", "tier_why", "tier_hard", "tier_chances", "tier_beside", "tier_share")
    assert [told[name] for name in names] == ["simple", "quality 0.95", -0.5, (0.8, 0.9), "complex", 0.01]


async def test_many_rows_are_one_insert(build_house: Build, receiver):
    heard, url = receiver
    house = await build_house(text(url))
    house.clock.hold()
    for _ in range(5):
        await house.ask()
    await house.clock.advance(2)
    await until(lambda: bool(heard.heard))
    assert (len(heard.heard), len(rows(heard))) == (1, 5)


async def test_what_is_sent_again_has_the_token_of_the_first(build_house: Build, receiver):
    heard, url = receiver
    heard.answers = [503, 429, 200]
    house = await build_house(text(url))
    await house.ask()
    await until(lambda: len(heard.heard) == 3)
    tokens = {parse_qs(urlsplit(path).query)["insert_deduplication_token"][0] for path in heard.paths}
    assert len(tokens) == 1 and len({body for _, body in heard.heard}) == 1
    while await count(house, "inserted") != 1:
        await house.clock.sleep(0.1)


@pytest.mark.parametrize(("answer", "kind"), [(400, ""), (404, ""), (200, "text/html")])
async def test_what_is_refused_is_dropped_and_counted_and_no_call_fails(build_house: Build, receiver, answer, kind):
    heard, url = receiver
    heard.answers, heard.kind = [answer] * 100, kind
    house = await build_house(text(url, ", deadline: 5s"))
    assert (await house.ask()).status == 200
    while await count(house, "dropped") != 1:
        await house.clock.sleep(0.5)
    assert (await house.ask()).status == 200


async def test_nobody_there_costs_memory_that_is_bounded(build_house: Build):
    house = await build_house(text("http://127.0.0.1:9", ", waiting: 100, rows: 50"))
    assert (await house.ask()).status == 200
    (row,) = await house.rows()
    for _ in range(1_000):
        house.app.world.events.call_ended(_Call(), row)  # type: ignore[arg-type]
    assert await count(house, "dropped") >= 800
    assert (await house.ask()).status == 200


class _Call:
    named: dict[bytes, bytes] = {}
    operation = "chat"
    status = 200
    route = None
    error = None
    arms = ()


async def test_with_a_vault_people_are_aliases_there(build_house: Build, receiver):
    heard, url = receiver
    house = await build_house(text(url) + f"vault: {{keys: ['{'00' * 32}']}}\n")
    await house.ask(user="ann", headers={"x-tidegate-session": "session of ann"})
    await until(lambda: bool(heard.heard))
    (row,) = rows(heard)
    assert row["user"] and "ann" not in row["user"] and "ann" not in row["session"] and row["tags"] == []


async def test_the_table_has_all_that_is_sent_and_nothing_else(build_house: Build):
    house = await build_house(HOUSES)
    await house.ask()
    (row,) = await house.rows()
    ddl = DDL.read_text(encoding="utf-8")
    outer = set(re.findall(r"^    (\w+) (?!DateTime64)[A-Z]", ddl, re.M)) - {"attempt"}
    inner = {f"attempt.{name}" for name in re.findall(r"^        (\w+) [A-Z]", ddl, re.M)}
    assert set(line(row)) == outer | inner


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("{url: 'ftp://x'}", "sinks.clickhouse.url: must be like http://HOST:8123"),
        ("{url: 'http://u:p@h:1'}", "user and password have keys of their own"),
        ("{url: 'http://h:99999'}", "must be like"),
        ("{url: 'http://h', table: 'calls; DROP'}", "sinks.clickhouse.table: must be like tidegate.calls"),
        ("{url: 'http://h', every: 0s}", "sinks.clickhouse.every: must be longer than nothing"),
        ("{url: 'http://h', rows: 0}", "rows"),
        ("{}", "url"),
    ],
)
def test_what_cannot_be_is_told_by_its_field(said: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        config.parse(f"sinks: {{clickhouse: {said}}}", {})


# --- with ClickHouse's engine


async def month(house: House) -> None:
    """Calls of a few kinds, by a few people, over three days."""
    main = house.provider("main")
    for at in range(60):
        usage = {"prompt_tokens": 100 + at, "completion_tokens": 10 + at}
        if at % 7 == 0:
            main.says(status=503)
        if at % 11 == 0:
            main.says(status=400, body='{"error": {"message": "no"}}')
        else:
            main.says("hello", usage=usage)
        asked = f"question {at % 40}"
        await house.ask(asked, user=f"user{at % 5}", headers={"x-tidegate-session": f"s{at % 9}"})
        await house.clock.sleep(3600)


@optional("TIDEGATE_CHDB", "chdb")
async def test_clickhouse_agrees_with_the_ledger(build_house: Build, receiver, tmp_path: Path):
    heard, url = receiver
    house = await build_house(text(url, ", every: 6h"))
    since = datetime.fromtimestamp(house.clock.wall_ns() / 1e9, UTC).replace(minute=0, second=0, microsecond=0)
    await month(house)
    await house.clock.sleep(7 * 3600)
    await until(lambda: len(rows(heard)) == 60)
    files = []
    for at, (_, body) in enumerate(heard.heard):
        files.append(tmp_path / f"insert{at}.jsonl")
        files[-1].write_bytes(gzip.decompress(body))
    end = since + timedelta(days=4)
    asked = {"since": round(since.timestamp() * 1000), "until": round(end.timestamp() * 1000)}
    answers = await chdb(files, asked)
    ledger = house.app.world.ledger

    async def sums(*by: str, per: Any = "total") -> dict[tuple[str, ...], dict[str, int]]:
        lines = await ledger.usage(UsageAsked(tuple(periods(since, end, per)), by=by))
        days = {one.begin_ms: f"{datetime.fromtimestamp(one.begin_ms / 1000, UTC):%Y-%m-%d}" for one in lines}
        return {(*((days[one.begin_ms],) if per == "day" else ()), *one.names): one.sums for one in lines}

    by_day = await sums("route", per="day")
    assert {(one["day"], one["route"]) for one in answers["usage"]} == set(by_day)
    for one in answers["usage"]:
        told = by_day[one["day"], one["route"]]
        assert {name: one[name] for name in ("calls", "errors", "unpriced", "cost_nusd", "saved_nusd")} == {
            name: told[name] for name in ("calls", "errors", "unpriced", "cost_nusd", "saved_nusd")
        }
        assert (one["input_tokens"], one["output_tokens"]) == (told["input"], told["output"])
    by_cache = {names[0]: told["calls"] for names, told in (await sums("cache")).items() if names[0]}
    found: dict[str, int] = {}
    for one in answers["cache"]:
        found[one["cache"]] = found.get(one["cache"], 0) + one["calls"]
    assert found == by_cache
    by_key = {names[0]: (told["calls"], told["cost_nusd"]) for names, told in (await sums("key")).items()}
    assert {one["key_id"]: (one["calls"], one["cost_nusd"]) for one in answers["keys"]} == by_key
    kept = await house.rows()
    tried = [attempt.outcome for row in kept for attempt in row.attempts]
    assert {(one["target"], one["outcome"]): one["attempts"] for one in answers["attempts"]} == {
        ("main/m", outcome): tried.count(outcome) for outcome in set(tried)
    }
    took = sorted(row.duration_us / 1000 for row in kept)
    (times,) = [one for one in answers["times"] if one["route"] == "fast"]
    assert took[0] <= times["duration_ms"][0] <= times["duration_ms"][2] <= took[-1]
    people = {one["day"]: one["users"] for one in answers["people"]}
    days = {f"{datetime.fromtimestamp(row.at_ms / 1000, UTC):%Y-%m-%d}" for row in kept}
    assert people == dict.fromkeys(days, 5)
    print("ClickHouse:", len(kept), "rows,", answers["usage"])


async def chdb(files: list[Path], asked: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    process = await asyncio.create_subprocess_exec(
        str(client_python("chdb")), str(READER), str(DDL), str(QUERIES), *map(str, files),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, wrong = await process.communicate(json.dumps(asked).encode())
    assert process.returncode == 0, wrong.decode()[-2000:]
    answers: dict[str, list[dict[str, Any]]] = json.loads(said)
    return answers
