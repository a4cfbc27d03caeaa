"""A month whose truth is known is told exactly; times to a bucket."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.house import House
from tidegate.core.opinions import Opinion
from tidegate.core.ports import Closed, Team

DAY_MS = 86_400_000
BEGIN = datetime(2025, 12, 1, tzinfo=UTC)  # the house's clock begins with 2026
DAYS = 31


class Month:
    """What happened, call by call, and what that sums to."""

    def __init__(self) -> None:
        self.rng = random.Random(11)
        self.rows: list[Closed] = []
        self.opinions: list[tuple[Opinion, Closed]] = []
        self.users: defaultdict[int, set[str]] = defaultdict(set)
        self.sessions: defaultdict[int, int] = defaultdict(int)
        for day in range(DAYS):
            for _ in range(self.rng.randrange(3, 9)):
                self._session(day)

    def _session(self, day: int) -> None:
        rng, user = self.rng, f"user{self.rng.randrange(12)}"
        at_ms = round(BEGIN.timestamp() * 1000) + day * DAY_MS + rng.randrange(DAY_MS // 2)
        session = f"{day}-{len(self.rows)}"
        self.sessions[day] += 1
        self.users[day].add(user)
        for n in range(rng.randrange(1, 6)):
            self._call(at_ms + n * 60_000, user, session, again=n > 0 and rng.random() < 0.3)

    def _call(self, at_ms: int, user: str, session: str, *, again: bool) -> None:
        rng = self.rng
        hit, failed = rng.random() < 0.3, rng.random() < 0.05
        row = Closed(
            id=f"r{len(self.rows)}",
            at_ms=at_ms,
            key_id="k",
            dialect="openai",
            operation="chat",
            outcome="failed" if failed else "ok",
            status=502 if failed else 200,
            duration_us=rng.randrange(200_000, 9_000_000),
            overhead_us=1000,
            first_us=rng.randrange(100_000, 200_000),
            route=rng.choice(("fast", "smart")),
            target="main/m",
            usage={"input": 100, "output": 20},
            cost_nusd=0 if hit or failed else rng.randrange(1, 10_000_000),
            user=user,
            session=session,
            cache="hit" if hit else "miss",
            saved_nusd=5_000 if hit else 0,
            asked_again=again,
            organisation_id="default",
        )
        self.rows.append(row)
        if rng.random() < 0.4:
            done = rng.random() < 0.7
            score = rng.choice((0.0, 1.0))
            said = Opinion(f"o{row.id}", row.id, at_ms + 5, "user", score=score, task_completed=done)
            self.opinions.append((said, row))


@pytest.fixture
async def month(house: House) -> Month:
    month, ledger = Month(), house.app.world.ledger
    for row in month.rows:
        ledger.append(row)
    for opinion, row in month.opinions:
        await ledger.opine(opinion, row)
    return month


async def told(house: House, **asked: Any) -> dict[str, Any]:
    until = BEGIN + timedelta(days=DAYS)
    reply = await house.get(f"/admin/analytics?{urlencode({'since': BEGIN.date(), 'until': until.date(), **asked})}")
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.events[0]
    return found


def share(part: float, of: float) -> float:
    return round(part / of, 4)


async def test_every_number_of_a_month_is_exact(house, month):
    (line,) = (found := await told(house, per="month"))["lines"]
    rows, said = month.rows, [opinion for opinion, _ in month.opinions]
    cost = sum(row.cost_nusd for row in rows)
    completed = sum(one.task_completed for one in said)
    assert line == line | {
        "from": "2025-12-01T00:00:00+00:00",
        "calls": len(rows),
        "success_rate": share(sum(row.outcome == "ok" for row in rows), len(rows)),
        "cache_hit_rate": share(sum(row.cache == "hit" for row in rows), len(rows)),
        "input_tokens": 100 * len(rows),
        "output_tokens": 20 * len(rows),
        "cost_usd": cost / 1e9,
        "cost_per_call_usd": round(cost / len(rows) / 1e9, 9),
        "saved_by_cache_usd": sum(row.saved_nusd for row in rows) / 1e9,
        "satisfaction": share(sum(one.score == 1 for one in said), len(said)),
        "completion_rate": share(completed, len(said)),
        "cost_per_completed_task_usd": round(cost / completed / 1e9, 9),
    }
    (people,) = found["people"]
    everybody = set().union(*month.users.values())
    assert people == {
        "from": "2025-12-01T00:00:00+00:00",
        "end_users": len(everybody),
        "sessions": sum(month.sessions.values()),
        "calls_per_session": share(len(rows), sum(month.sessions.values())),
        "minutes_per_session": people["minutes_per_session"],
        "retry_rate": share(sum(row.asked_again for row in rows), len(rows)),
        "cost_per_end_user_usd": round(cost / len(everybody) / 1e9, 9),
    }
    length_min = sum(row.session is not None for row in rows) - sum(month.sessions.values())  # a call a minute
    assert people["minutes_per_session"] == round(length_min / sum(month.sessions.values()), 3)


async def test_days_and_routes_are_told_apart_exactly(house, month):
    found = await told(house, per="day", by="route")
    calls: defaultdict[tuple[str, str], int] = defaultdict(int)
    for row in month.rows:
        calls[f"{datetime.fromtimestamp(row.at_ms / 1000, UTC):%Y-%m-%d}", row.route] += 1
    assert {(line["from"][:10], line["route"]): line["calls"] for line in found["lines"]} == calls
    assert [line["end_users"] for line in found["people"]] == [len(month.users[day]) for day in range(DAYS)]
    assert [line["sessions"] for line in found["people"]] == [month.sessions[day] for day in range(DAYS)]


async def test_percentiles_are_those_of_the_calls_to_a_bucket(house, month):
    (line,) = (await told(house, per="total"))["lines"]
    ok = [row for row in month.rows if row.outcome == "ok"]
    for name, us in (("", "duration_us"), ("first_", "first_us")):
        took = sorted(getattr(row, us) for row in ok)
        for percent in (50, 95, 99):
            exact_ms = took[ceil(percent / 100 * len(took)) - 1] / 1000
            assert line[f"{name}p{percent}_ms"] == pytest.approx(exact_ms, rel=0.026)


async def test_a_forecast_says_how_sure_it_is(house):
    ledger, now_ms = house.app.world.ledger, house.clock.wall_ns() // 1_000_000
    assert (await told(house))["forecast"] is None
    for day in range(1, 11):
        row = Month().rows[0]
        row = Closed(**{name: getattr(row, name) for name in row.__struct_fields__} | {
            "id": f"d{day}", "at_ms": now_ms - day * DAY_MS, "cost_nusd": 10**9 + day % 2 * 10**8})  # fmt: skip
        ledger.append(row)
    found = (await told(house))["forecast"]
    assert found["month"] == "2026-01" and found["spent_usd"] == 0
    assert found["likely_usd"] == pytest.approx(31 * 1.05, rel=0.01)
    assert 30 < found["least_usd"] < found["likely_usd"] < found["most_usd"] < 36


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"by": "colour"}, "by: there is no 'colour'; there are: route, target, team, key, prompt"),
        ({"per": "week"}, "per: Input should be 'hour', 'day', 'month' or 'total'"),
        ({"since": "2026-01-02", "until": "2026-01-01"}, "must be before until"),
        ({"since": "2020-01-01", "per": "hour"}, "more than 1000 hours"),
    ],
)
async def test_a_question_that_makes_no_sense_is_told_why(house, asked, says):
    reply = await house.get(f"/admin/analytics?{urlencode(asked)}")
    assert reply.status == 400 and says in reply.error.message


async def test_a_manager_is_told_of_the_team_and_of_no_other(house):
    desk = house.app.gateway.auth.desk
    await desk.add(Team, "search", "Search")
    member, _ = await desk.make_key("member", team_id="search")
    manager, _ = await desk.make_key("manager", role="manager", team_id="search")
    await house.ask(key=member)
    await house.ask()
    (line,) = (await house.get("/admin/analytics?per=total", key=manager)).events[0]["lines"]
    assert line["calls"] == 1 and "p50_ms" not in line
    assert (await house.get("/admin/analytics?team=ads", key=manager)).status == 403
