"""Whoever may see them finds calls by what is known of them, and watches them end."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.house import House
from tidegate.core.errors import StoreDown
from tidegate.core.ports import Team


async def listed(house: House, path: str = "/admin/requests", key: str | None = None, **asked: Any) -> dict[str, Any]:
    reply = await house.get(f"{path}?{urlencode(asked)}", **({"key": key} if key else {}))
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.events[0]
    return found


async def another_key(house: House, name: str, **fields: Any) -> tuple[str, str]:
    text, key = await house.app.gateway.auth.desk.make_key(name, **fields)
    return text, key.id


async def test_a_call_is_listed_with_what_one_looks_for(house):
    house.provider("main").always("hello there", usage={"prompt_tokens": 7, "completion_tokens": 3})
    reply = await house.ask(user="ann")
    (one,) = (await listed(house))["requests"]
    assert one == one | {
        "id": reply.id,
        "route": "fast",
        "target": "main/m",
        "user": "ann",
        "outcome": "ok",
        "status": 200,
        "attempts": 1,
        "input_tokens": 7,
        "output_tokens": 3,
        "cost_nusd": 13_000,
        "cost_usd": "0.000013000",
        "guards": {},
    }
    assert "hello there" not in json.dumps(one)


async def test_whose_key_asked_is_told_by_its_name_wherever_a_call_is_shown(house):
    text, key_id = await another_key(house, "Ann's notebook")
    asking = house.begin(path="/admin/requests/tail?seconds=86400", method="GET", body=b"")
    await asking.heard(": calls as they end")
    reply = await house.ask(key=text)
    await asking.heard('"key_name":"Ann\'s notebook"')
    asking.leave()
    (one,) = (await listed(house))["requests"]
    whole = (await house.get(f"/v1/requests/{reply.id}")).events[0]
    for shown in (one, whole):
        assert (shown["key_id"], shown["key_name"]) == (key_id, "Ann's notebook")


async def test_while_nobody_knows_the_names_of_keys_calls_are_shown_without(house, monkeypatch):
    async def away(*_: Any) -> Any:
        raise StoreDown("it is away")

    reply = await house.ask()
    monkeypatch.setattr(type(house.app.world.store), "key_names", away)
    (one,) = (await listed(house))["requests"]
    assert (one["id"], one["key_name"]) == (reply.id, None) and one["key_id"]


async def test_pages_follow_each_other_to_the_end(house):
    ids = [(await house.ask()).id for _ in range(5)]
    found, after = [], {}
    while True:
        page = await listed(house, limit=2, **after)
        found += [one["id"] for one in page["requests"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert sorted(found) == sorted(ids) and len(found) == 5
    assert page["looked_back_to"] <= page["since"].replace("Z", "+00:00")


async def test_a_failure_is_found_by_its_outcome_and_status(house):
    await house.ask()
    house.provider("main").always(status=400)
    failed = await house.ask()
    found = await listed(house, outcome="refused", status=failed.status)
    assert [one["id"] for one in found["requests"]] == [failed.id]
    assert (await listed(house, outcome="cut_off"))["requests"] == []


async def test_a_key_sees_its_own_and_a_manager_its_teams(house):
    desk = house.app.gateway.auth.desk
    await desk.add(Team, "search", "Search")
    member, _ = await another_key(house, "member", team_id="search")
    manager, _ = await another_key(house, "manager", role="manager", team_id="search")
    stranger, _ = await another_key(house, "stranger")
    theirs, other = await house.ask(key=member), await house.ask(key=stranger)
    assert [one["id"] for one in (await listed(house, "/v1/requests", member))["requests"]] == [theirs.id]
    assert [one["id"] for one in (await listed(house, key=manager))["requests"]] == [theirs.id]
    assert {one["id"] for one in (await listed(house))["requests"]} == {theirs.id, other.id}
    refused = await house.get("/admin/requests?team=ads", key=manager)
    assert (refused.status, refused.error.message) == (403, "team: only 'search' can be seen here")
    assert (await house.get("/admin/requests", key=stranger)).status == 403


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"since": "tomorrow"}, "since: a date such as 2026-11-01"),
        ({"since": "1d", "until": "2d"}, "must be before until"),
        ({"limit": 0}, "limit: Input should be greater than or equal to 1"),
        ({"limit": 501}, "limit: Input should be less than or equal to 500"),
        ({"after": "x"}, "after: must be `next` of the page before"),
        ({"after": "W1tdXQ"}, "after: must be `next` of the page before"),
        ({"status": "many"}, "status: Input should be a valid integer"),
        ({"min_cost_usd": -1}, "min_cost_usd: Input should be greater"),
        ({"min_cost_usd": "nan"}, "min_cost_usd"),
        ({"rout": "fast"}, "rout: this path has no such field in its query; there are: organisation, team"),
    ],
)
async def test_a_question_that_makes_no_sense_is_told_why(house, asked, says):
    reply = await house.get(f"/admin/requests?{urlencode(asked)}")
    assert reply.status == 400 and says in reply.error.message


async def test_whoever_listens_hears_of_calls_that_end_and_of_none_before(house):
    await house.ask(user="before")
    asking = house.begin(path="/admin/requests/tail?seconds=86400", method="GET", body=b"")
    await asking.heard(": calls as they end")
    await house.ask(user="ann")
    await asking.heard('"ann"')
    await house.ask(user="bob")
    await asking.heard('"bob"')
    asking.leave()
    assert asking.body.count(b"data: ") == 2 and b"before" not in asking.body


async def test_whoever_listens_for_failures_hears_of_no_success(house):
    asking = house.begin(path="/admin/requests/tail?outcome=refused&seconds=86400", method="GET", body=b"")
    await asking.heard(": calls as they end")
    await house.ask(user="ann")
    house.provider("main").always(status=400)
    await house.ask(user="bob")
    await asking.heard('"bob"')
    asking.leave()
    assert b"ann" not in asking.body


async def test_listening_ends_after_its_time(house):
    reply = await house.get("/admin/requests/tail?seconds=3")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert b"data: " not in reply.body


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"seconds": -1}, "seconds: Input should be greater than or equal to 0"),
        ({"seconds": 100_000}, "seconds: Input should be less than or equal to 86400"),
        ({"seconds": "long"}, "seconds: Input should be a valid number"),
        ({"since": "1d"}, "since: this path has no such field"),
        ({"status": 42}, "status: Input should be greater than or equal to 100"),
    ],
)
async def test_listening_to_what_makes_no_sense_is_told_why(house, asked, says):
    reply = await house.get(f"/admin/requests/tail?{urlencode(asked)}")
    assert reply.status == 400 and says in reply.error.message


async def test_a_store_that_is_away_is_told_before_anybody_listens_and_waited_for_after(house, monkeypatch):
    ledger = house.app.world.ledger
    taken = ledger.taken

    async def away(*_: Any) -> Any:
        raise StoreDown("it is away")

    asking = house.begin(path="/admin/requests/tail?seconds=86400", method="GET", body=b"")
    await asking.heard(": calls as they end")
    monkeypatch.setattr(type(ledger), "taken", away)
    refused = await house.get("/admin/requests/tail")
    assert (refused.status, refused.error.code) == (503, "store_unavailable")
    await house.ask(user="ann")
    await asking.heard(": nothing new")
    monkeypatch.setattr(type(ledger), "taken", taken.__func__)
    await asking.heard('"ann"')
    asking.leave()
