"""Whoever may see it is told who used how much, exactly; and whoever asks what makes no sense, why."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.house import House, Reply
from tidegate.api.admin.usage import visible
from tidegate.core.call import Principal
from tidegate.core.errors import Forbidden

PRICES = (1_000, 2_000)  # nano-dollars for a token of input and of output, at main


async def usage(house: House, path: str = "/admin/usage", key: str | None = None, **asked: Any) -> Reply:
    return await house.get(f"{path}?{urlencode(asked)}", **({"key": key} if key else {}))


async def lines(house: House, **asked: Any) -> list[dict[str, Any]]:
    reply = await usage(house, **asked)
    assert reply.status == 200, reply.body
    return reply.events[0]["lines"]


async def another_key(house: House, **fields: Any) -> str:
    text, _ = await house.app.gateway.auth.create("another", "test", admin=False, **fields)
    return text


# --- what is told


async def test_what_calls_used_is_told_to_the_nano_dollar(house):
    house.provider("main").always("hello there", usage={"prompt_tokens": 7, "completion_tokens": 3})
    for _ in range(3):
        await house.ask()
    (line,) = await lines(house, by="route,target,outcome")
    assert line == line | {
        "from": "2026-01-01T00:00:00+00:00",
        "route": "fast",
        "target": "main/m",
        "outcome": "ok",
        "calls": 3,
        "errors": 0,
        "unpriced": 0,
        "cost_nusd": 3 * (7 * PRICES[0] + 3 * PRICES[1]),
        "cost_usd": "0.000039000",
        "input_tokens": 21,
        "output_tokens": 9,
        "tokens": {"input": 21, "output": 9},
    }
    assert line["mean_duration_ms"] >= line["mean_overhead_ms"] >= 0


async def test_a_key_sees_its_own_calls_and_no_others(house):
    other = await another_key(house)
    await house.ask()
    await house.ask(key=other)
    await house.ask(key=other)
    own = await usage(house, "/v1/usage", other, by="key", per="total")
    (line,) = own.events[0]["lines"]
    assert line["calls"] == 2 and line["key"] == other.split("_")[2]
    assert sum(line["calls"] for line in await lines(house)) == 3
    assert (await house.get(f"/v1/usage?key={line['key']}", key=other)).status == 200


async def test_a_key_may_not_ask_for_the_usage_of_another(house):
    other = await another_key(house)
    reply = await house.get("/v1/usage?key=somebody", key=other)
    assert (reply.status, reply.error.message) == (403, f"key: only {other.split('_')[2]!r} can be seen here")
    reply = await house.get("/admin/usage", key=other)
    assert (reply.status, reply.error.code) == (403, "permission_denied")
    assert (await house.get("/v1/usage", key="none")).status == 401


@pytest.mark.parametrize(
    ("role", "team", "seen"),
    [
        ("admin", None, {}),
        ("admin", "red", {}),
        ("manager", "red", {"team": "red"}),
        ("viewer", "red", {"team": "red"}),
        ("manager", None, None),
        ("viewer", None, {}),
    ],
)
def test_roles_see_what_is_theirs(role, team, seen):
    principal = Principal("k", "k", role, team)
    if seen is None:
        with pytest.raises(Forbidden):
            visible(principal)
    else:
        assert visible(principal) == seen


async def test_calls_without_a_name_are_told_as_none_and_can_be_asked_for(house):
    await house.ask()
    await house.ask(user="ann")
    assert [(line["end_user"], line["calls"]) for line in await lines(house, by="end_user")] == [(None, 1), ("ann", 1)]
    (line,) = await lines(house, by="end_user", end_user="")
    assert line["end_user"] is None
    (line,) = await lines(house, end_user="ann")
    assert line["calls"] == 1


async def test_failures_are_counted_and_so_are_calls_of_unknown_cost(house):
    await house.ask(route="nowhere")
    found = {line["outcome"]: line for line in await lines(house, by="outcome")}
    assert (found["refused"]["calls"], found["refused"]["errors"]) == (1, 1)


async def test_days_are_those_of_the_zone(house):
    await house.ask()
    here = datetime.fromtimestamp(house.clock.wall_ns() / 1e9, UTC)
    (line,) = await lines(house, per="day", zone="Pacific/Auckland")
    offset = line["from"][-6:]
    assert line["from"].endswith(f"T00:00:00{offset}") and offset in ("+13:00", "+12:00")
    assert here.year == 2026
    (line,) = await lines(house, per="month")
    assert line["from"].endswith("+00:00")


async def test_pages_go_on_where_the_last_one_ended(house):
    for n in range(7):
        await house.ask(user=f"u{n}")
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        reply = await usage(house, by="end_user", limit=3, **after)
        page = reply.events[0]
        seen += [line["end_user"] for line in page["lines"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == [f"u{n}" for n in range(7)]


async def test_every_period_is_named_though_it_had_no_calls(house):
    await house.ask()
    page = (await usage(house, per="hour", since="24h")).events[0]
    assert len(page["periods"]) in (24, 25) and len(page["lines"]) == 1
    assert page["periods"][0] == page["since"] and page["lines"][0]["from"] in page["periods"]


# --- CSV


async def test_a_spreadsheet_is_given_text_and_numbers_and_nothing_to_compute(house):
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'a "quoted", name', "plain"]
    for user in evil:
        await house.ask(user=user)
    reply = await usage(house, by="end_user", format="csv")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in reply.headers["content-disposition"]
    head, *rows = csv.reader(io.StringIO(reply.body.decode(), newline=""))
    users = {row[head.index("end_user")] for row in rows}
    assert users == {f"'{user}" for user in evil[:6]} | set(evil[6:])
    assert all(row[head.index("calls")] == "1" for row in rows)


async def test_a_csv_says_where_the_next_page_begins(house):
    for n in range(3):
        await house.ask(user=f"u{n}")
    first = await usage(house, by="end_user", format="csv", limit=2)
    second = await usage(house, by="end_user", format="csv", limit=2, after=first.headers["x-tidegate-next"])
    assert "u0" in first.body.decode() and "u2" in second.body.decode()
    assert "x-tidegate-next" not in second.headers


# --- what makes no sense


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"by": "teem"}, "by", "there is no 'teem'; there are: organisation, team,"),
        ({"by": "team,x'; DROP TABLE calls"}, "by", "there is no"),
        ({"per": "week"}, "per", "'hour', 'day', 'month' or 'total'"),
        ({"zone": "Mars/Olympus"}, "zone", "no time zone 'Mars/Olympus'; use a name such as UTC"),
        ({"zone": "../../etc/passwd"}, "zone", "no time zone"),
        ({"zone": ""}, "zone", "no time zone"),
        ({"since": "yesterday"}, "since", "how long ago, such as 7d"),
        ({"since": "2026-13-01"}, "since", "a date such as 2026-11-01"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "since", "must be before until"),
        ({"since": "2026-01-01", "until": "2026-01-01"}, "since", "must be before until"),
        ({"since": "0001-01-01"}, "since", "the year must be between 1970 and 2200"),
        ({"until": "9999-12-31T23:59:59-12:00"}, "until", "how long ago"),
        ({"until": "2500-01-01"}, "until", "the year must be"),
        ({"since": "99999999999d"}, "since", "how long ago"),
        ({"since": "2020-01-01", "per": "hour"}, "since", "more than 1000 hours; ask for less, or per=day"),
        ({"since": "1971-01-01", "per": "day"}, "since", "more than 1000 days; ask for less, or per=month"),
        ({"limit": 0}, "limit", "greater than or equal to 1"),
        ({"limit": 1_000_000}, "limit", "less than or equal to 10000"),
        ({"after": "rubbish"}, "after", "must be `next` of the page before"),
        ({"after": "WzEsWyJhIl1d", "by": "team,key"}, "after", "with the same `by`"),
        ({"format": "xlsx"}, "format", "json|csv"),
        ({"tean": "red"}, "tean", "this path has no such field in its query; there are: since, until, by"),
        ({"team": "x" * 300}, "team", "at most 256 characters"),
    ],
)
async def test_a_question_that_makes_no_sense_is_told_why(house, asked, param, words):
    reply = await usage(house, **asked)
    assert (reply.status, reply.error.code, reply.error.param) == (400, "invalid_request", param)
    assert words in reply.error.message
