"""How it is going, at one glance."""

from __future__ import annotations

import json

import pytest

from tests.house import TWO_PROVIDERS, Build, House
from tidegate.api.admin.overview import series, summed
from tidegate.core.ports import Closed


def row(at_ms: int = 0, ms: int = 10, **fields: object) -> Closed:
    said = {"outcome": "ok", "status": 200, "cost_nusd": 5_000_000, "usage": {"output": 10}} | fields
    return Closed("r", at_ms, "k", "openai", "chat", duration_us=ms * 1000, overhead_us=1, **said)  # type: ignore[arg-type]


def test_calls_are_summed_by_the_second_and_by_percent() -> None:
    rows = [row(ms=ms) for ms in range(1, 100)] + [row(outcome="failed", status=502, cost_nusd=None, usage={})]
    found = summed(rows, seconds=50)
    assert (found["calls"], found["calls_per_s"], found["success_rate"]) == (100, 2, 0.99)
    assert (found["p50_ms"], found["p95_ms"], found["p99_ms"]) == (50, 95, 99)
    assert found["output_tokens_per_s"] == 19.8
    assert found["cost_usd"] == pytest.approx(0.495)
    assert found["cost_usd_per_hour"] == pytest.approx(35.64)


def test_of_no_calls_there_are_no_shares_and_no_times() -> None:
    found = summed([], seconds=300)
    assert found["calls_per_s"] == 0 and found["success_rate"] is None and found["p50_ms"] is None


def test_the_series_has_every_ten_seconds_also_those_without_calls() -> None:
    found = series([row(12_000), row(15_000, outcome="failed", status=502), row(41_000)], 10_000, 45_000)
    assert [(one["calls"], one["failed"]) for one in found] == [(2, 1), (0, 0), (0, 0), (1, 0)]


async def test_it_tells_what_has_just_happened(house: House) -> None:
    house.provider("main").says("hello")
    await house.ask("hi")
    found = (await house.get("/admin/overview")).events[0]
    assert (found["now"]["calls"], found["routes"][0]["route"], found["hours"][-1]["calls"]) == (1, "fast", 1)
    assert [one["target"] for one in found["targets"]] == ["main/m", "spare/m"]


async def test_it_goes_on_telling_every_two_seconds(house: House) -> None:
    looking = house.begin(path="/admin/overview/live?seconds=5", method="GET", body=b"")
    reply = await looking.reply()
    told = [json.loads(one[6:]) for one in reply.body.decode().split("\n\n") if one.startswith("data: ")]
    assert len(told) >= 2
    assert all(one["now"]["calls"] == 0 for one in told)


async def test_who_is_of_a_team_sees_the_teams_calls_and_no_targets(build_house: Build) -> None:
    house = await build_house(TWO_PROVIDERS)
    await house.ask("hi")
    from_team, _ = await house.app.gateway.auth.desk.make_key("v", role="viewer")
    found = (await house.get("/admin/overview", key=from_team)).events[0]
    assert found["targets"] is None and found["alerts"] is None and found["now"]["calls"] == 1
