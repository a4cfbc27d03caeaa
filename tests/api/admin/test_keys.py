"""Keys over HTTP: made, looked at, changed, rotated, ended; and what is wrong is told by its field."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.house import Build, House, Reply, until
from tidegate.stages.auth import used


async def send(house: House, method: str, path: str, key: str | None = None, **fields: Any) -> Reply:
    body = json.dumps(fields).encode() if fields else b""
    return await house.begin(method=method, path=f"/admin/{path}", body=body, key=key).reply()


async def make(house: House, **fields: Any) -> dict[str, Any]:
    reply = await send(house, "POST", "keys", **{"name": "ci", **fields})
    assert reply.status == 201, reply.body
    return reply.events[0]


LIMITS = [{"of": "requests", "most": 60, "per_s": 60}, {"of": "at_once", "most": 4, "per_s": 0}]
BUDGETS = [{"usd": 5.25, "per": "day", "rolling": False, "zone": "Europe/Berlin", "warn_at": [0.5, 0.9]}]


async def test_a_key_is_shown_as_it_was_asked_for(house):
    await send(house, "POST", "teams", id="search", name="Search")
    await send(house, "POST", "users", id="ann", team_id="search", role="manager")
    wanted = {
        "role": "member",
        "team_id": "search",
        "user_id": "ann",
        "routes": ["fast"],
        "endpoints": ["chat"],
        "scopes": ["batch"],
        "addresses": ["127.0.0.0/8"],
        "tags": ["nightly"],
        "limits": LIMITS,
        "budgets": BUDGETS,
    }
    made = await make(house, expires_in="90d", **wanted)
    assert {name: made[name] for name in wanted} == wanted
    assert made["expires_ms"] - made["created_ms"] == 90 * 86_400_000
    text = made.pop("key")
    assert made["masked"] == f"tg_live_{made['id']}_…" and text.startswith(made["masked"][:-1])
    seen = (await send(house, "GET", f"keys/{made['id']}")).events[0]
    assert {use["kind"]: len(use["gauges"]) for use in seen.pop("use")} == {"key": 3}
    assert seen.pop("loop_ms") is None and seen == made
    assert (await send(house, "GET", "keys")).events[0][-1] == made
    reply = await house.ask(key=text)
    assert reply.status == 200 and reply.row.tags == ("nightly",)


async def test_a_change_is_of_what_it_says_and_of_nothing_else(house):
    made = await make(house, routes=["fast"], limits=LIMITS, expires_in="1d")
    changed = (await send(house, "PATCH", f"keys/{made['id']}", name="other", limits=[], expires_in=None)).events[0]
    assert changed == {
        **{name: value for name, value in made.items() if name != "key"},
        "name": "other",
        "limits": [],
        "expires_ms": None,
    }
    assert (await house.ask(key=made["key"])).status == 200


async def test_a_rotated_key_works_under_both_secrets_until_its_overlap_ends(house):
    made = await make(house)
    turned = (await send(house, "POST", f"keys/{made['id']}/rotate", overlap="10s")).events[0]
    assert turned["id"] == made["id"] and turned["key"] != made["key"] and turned["former_until_ms"]
    for text in (made["key"], turned["key"]):
        assert (await house.ask(key=text)).status == 200
    await house.clock.sleep(10)
    assert (await house.ask(key=made["key"])).status == 401
    assert (await house.ask(key=turned["key"])).status == 200
    assert (await send(house, "POST", f"keys/{made['id']}/rotate")).status == 200, "an hour, unless something is said"


async def test_a_disabled_key_stops_within_a_second_and_works_again_when_enabled(house):
    made = await make(house)
    assert (await house.ask(key=made["key"])).status == 200
    assert (await send(house, "POST", f"keys/{made['id']}/disable")).events[0]["disabled_ms"]
    await house.clock.sleep(1)
    assert (await house.ask(key=made["key"])).status == 401
    assert (await send(house, "POST", f"keys/{made['id']}/enable")).events[0]["disabled_ms"] is None
    assert (await house.ask(key=made["key"])).status == 200


@pytest.mark.parametrize("noun", ["users/ann", "teams/search", "organisations/acme"])
async def test_whoever_is_disabled_takes_their_keys_along(house, noun):
    await send(house, "POST", "organisations", id="acme")
    await send(house, "POST", "teams", id="search", organisation_id="acme")
    await send(house, "POST", "users", id="ann", team_id="search")
    made = await make(house, user_id="ann")
    assert (await house.ask(key=made["key"])).status == 200
    assert (await send(house, "DELETE", noun)).events[0]["disabled_ms"]
    await house.clock.sleep(1)
    assert (await house.ask(key=made["key"])).status == 401
    assert noun.split("/")[1] in (await send(house, "GET", noun.split("/")[0])).body.decode(), "its name stays"
    assert (await send(house, "POST", f"{noun}/enable")).events[0]["disabled_ms"] is None
    assert (await house.ask(key=made["key"])).status == 200


async def test_nobody_locks_everybody_out(house):
    reply = await send(house, "DELETE", "organisations/default")
    assert reply.status == 400 and "whoever has no team belongs to it" in reply.error.message
    assert (await house.ask()).status == 200


async def test_a_key_for_some_things_does_those_and_is_told_of_others(build_house: Build):
    house = await build_house(
        """
logs: {calls: false}
providers: {main: {type: scripted}}
routes:
  fast: {targets: [{provider: main, model: m}]}
  slow: {targets: [{provider: main, model: m}]}
  theirs: {targets: [{provider: main, model: n}], owner: search}
"""
    )
    made = await make(house, routes=["fast", "theirs"], endpoints=["chat", "models"])
    key = made["key"]
    assert (await house.ask(key=key)).status == 200
    for route in ("slow", "theirs", "main/m", "main/n"):
        reply = await house.ask(key=key, route=route)
        assert (reply.status, reply.error.code) == (403, "permission_denied"), route
        assert reply.row.outcome == "refused"
    assert (await house.ask(key=key, route="nothing")).status == 404
    assert (await house.ask(key=key, path="/v1/completions")).status == 403
    assert [one["id"] for one in (await house.get("/v1/models", key=key)).events[0]["data"]] == ["fast"]
    assert (await house.get("/v1/models/theirs", key=key)).status == 403
    assert (await house.get("/v1/files", key=key)).status == 403


async def test_a_plain_key_does_not_reach_what_is_kept_at_the_provider(house):
    made = await make(house)
    reply = await house.get("/v1/vector_stores", key=made["key"])
    assert reply.status == 403 and "--endpoint account" in reply.error.message
    granted = await make(house, endpoints=["account"])
    assert (await house.get("/v1/vector_stores", key=granted["key"])).status != 403


async def test_from_elsewhere_a_key_is_refused_at_every_door(house):
    made = await make(house, addresses=["10.0.0.0/8"], role="admin")
    for reply in (
        await house.ask(key=made["key"]),
        await house.get("/v1/models", key=made["key"]),
        await house.get("/admin/keys", key=made["key"]),
    ):
        assert reply.status == 403 and "may not be used from 127.0.0.1" in reply.error.message


async def test_when_a_key_was_last_used_is_known_later(house, monkeypatch):
    monkeypatch.setattr(used, "WRITE_S", 0.01)
    made = await make(house)
    assert made["last_used_ms"] is None
    await house.ask(key=made["key"])
    await asyncio.sleep(0.02)  # a timer of the loop, not of the house's clock
    await until(lambda: not house.left())
    assert (await send(house, "GET", f"keys/{made['id']}")).events[0]["last_used_ms"] >= made["created_ms"]


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"role": "king"}, "role", "Input should be"),
        ({"role": None}, "role", "Input should be"),
        ({"role": "manager"}, "team_id", "a manager needs a team"),
        ({"team_id": "nobodys"}, "team_id", "there is no team 'nobodys'"),
        ({"user_id": "nobody"}, "user_id", "there is no user 'nobody'"),
        ({"endpoints": ["chatt"]}, "endpoints.0", "Input should be"),
        ({"scopes": ["everything"]}, "scopes.0", "Input should be"),
        ({"addresses": ["10.0.0.0/99"]}, "addresses", "is no address or network"),
        ({"addresses": ["example.com"]}, "addresses", "is no address or network"),
        ({"expires_in": "soon"}, "expires_in", "a duration such as"),
        ({"expires_in": "0s"}, "expires_ms", "it would have expired already"),
        ({"tags": [""]}, "tags", "at most 16 tags"),
        (
            {"limits": [{"of": "requests", "most": -1, "per_s": 1}]},
            "limits.0.requests.most",
            "greater than or equal to 0",
        ),
        ({"limits": [{"of": "requests", "most": 1}]}, "limits.0.requests.per_s", "Field required"),
        ({"limits": [{"of": "at_once", "most": 1, "per_s": 1}]}, "limits.0.at_once.per_s", "Input should be 0"),
        ({"limits": [{"of": "requests", "most": 1, "per_s": 10**9}]}, "limits.0.requests.per_s", "equal to 2678400"),
        ({"limits": [{"of": "requests", "most": 10**18, "per_s": 1}]}, "limits.0.requests.most", "less than or equal"),
        ({"limits": [{"of": "wishes", "most": 1, "per_s": 1}]}, "limits.0", "'requests', 'input_tokens'"),
        ({"budgets": [{"usd": -1}]}, "budgets.0.usd", "greater than or equal to 0"),
        ({"budgets": [{"usd": 1e12}]}, "budgets.0.usd", "less than or equal to"),
        ({"budgets": [{"usd": 1, "zone": "Mars/North"}]}, "budgets", "there is no time zone 'Mars/North'"),
        ({"budgets": [{"usd": 1, "warn_at": [2]}]}, "budgets.0.warn_at.0", "less than or equal to 1"),
        ({"budgets": [{"usd": 1, "per": "year"}]}, "budgets.0.per", "Input should be"),
    ],
)
async def test_what_cannot_be_is_told_by_its_field(house, fields, param, words):
    reply = await send(house, "POST", "keys", name="ci", **fields)
    assert (reply.status, reply.error.param) == (400, param) and words in reply.error.message
    assert len((await send(house, "GET", "keys")).events[0]) == 1


@pytest.mark.parametrize("id", ["", " ", "a b", "../x", "a/b", "-x", "é", "x" * 129, "a\u0000"])
async def test_an_id_is_a_plain_word(house, id):
    for noun in ("organisations", "teams", "users"):
        assert (await send(house, "POST", noun, id=id)).status == 400


async def test_an_id_is_taken_once(house):
    for noun in ("organisations", "teams", "users"):
        assert (await send(house, "POST", noun, id="one")).status == 201
        again = await send(house, "POST", noun, id="one")
        assert (again.status, again.error.code) == (409, "conflict")
        assert (await send(house, "GET", f"{noun}/one")).events[0]["name"] == "one"
        assert (await send(house, "PATCH", f"{noun}/one", name="One", budgets=BUDGETS)).events[0]["budgets"] == BUDGETS
        assert (await send(house, "GET", f"{noun}/two")).status == 404


async def test_a_user_is_of_one_team(house):
    for team in ("search", "ads"):
        await send(house, "POST", "teams", id=team)
    await send(house, "POST", "users", id="ann", team_id="search")
    reply = await send(house, "POST", "keys", name="ci", user_id="ann", team_id="ads")
    assert reply.status == 400 and "user 'ann' belongs to team 'search'" in reply.error.message
