"""Who may do what: every path of administration × every role, made from the paths themselves."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute

from tests.house import TWO_PROVIDERS, Build, House, Reply
from tidegate.api.admin import ROUTERS, create, teams
from tidegate.api.admin.policy import ADMINISTER, LOOK, Policy
from tidegate.core.ports import Key, Organisation, Team, User

# Paths that need no key: what there is to ask for, and nothing of anybody.
OPEN = {"/docs", "/openapi.json"}
# A body that each would take, where it needs one.
BODIES: dict[str, dict[str, Any]] = {
    "create_key": {"name": "new", "team_id": "search"},
    "change_key": {"tags": ["x"]},
    "rotate_key": {"overlap": "1m"},
    "create_organisation": {"id": "new"},
    "change_organisation": {"name": "New"},
    "create_team": {"id": "new"},
    "change_team": {"name": "New"},
    "create_user": {"id": "new"},
    "change_user": {"name": "New"},
    "chat": {"user_input": "hi"},
    "evaluate": {"answer": "hi", "expected_elements": ["hi"], "scorers": [{"type": "contains"}]},
    "say": {"breaker": "reset"},
    "attempt": {"text": "hi"},
    "say_of": {"request_id": "req_1", "thumbs": "up"},
    "replay": {"route": "fast"},
    "silence": {"for": "1h"},
    "add_label": {"item": "a#0", "label": "pass"},
    "new_experiment": {"name": "new", "arms": [{"name": "b", "target": "main/n"}]},
    "verify": {"most": 100},
    "set_log_level": {"level": "info"},
    "add_version": {"id": "greet", "template": "Hello {{name}}"},
    "render_prompt": {"variables": {}},
    "render_draft": {"id": "x", "template": "Hello {{name}}"},
    "move_label": {"version": 1},
    "start_canary": {"share": "5%"},
    "advance_canary": {"share": "25%"},
    **{f"{verb}_experiment": {"why": "x"} for verb in ("start", "advance", "promote", "take_back", "stop")},
}
TARGET = {"provider": "main", "model": "m"}
QUERIES = {  # the same for what is asked in the query
    "purge": "?all=true",
    "tail": "?seconds=0",
    "overview_live": "?seconds=0",
    "report_live": "?seconds=0",
    "canary_live": "?seconds=0",
    "export_subject": "?id=ann",
    "erase_subject": "?id=ann",
    "prove": "?id=req_1",
    "prove_consistent": "?writer=w&first=1&second=2",
}
# What is asked for is not there.
ABSENT = {
    *("show_hit", "get_batch", "cancel_batch", "get_eval", "compare_evals", "label_queue", "add_label"),
    *("one_request", "wrong", "say_of", "get_body", "export_subject", "erase_subject", "prove", "prove_consistent"),
    *("replay", "try_alerts", "silence", "end_silence"),
    *("get_prompt", "list_versions", "list_moves", "diff_versions", "render_prompt", "summarize_prompt"),
    *("move_label", "remove_label", "delete_version"),
    *("start_canary", "show_canary", "advance_canary", "promote_canary", "roll_back_canary", "show_shadows"),
    "show_tiers",
    *("get_experiment", "list_decisions", "get_unit", "archive_experiment"),
    *("start_experiment", "advance_experiment", "promote_experiment", "take_back_experiment", "stop_experiment"),
    *("report_experiment", "report_live", "recompute_experiment"),
}
NAMES = {"name": "x", "unit": "u", "hit": "req_1", "label": "live", "number": 1, "base": "y", **TARGET}
IDS = {"organisations": "acme", "teams": "search", "users": "ann"}
ROLES = ("nobody", "member", "viewer", "manager", "admin")


def routes(routers: tuple[APIRouter, ...] = ROUTERS) -> list[APIRoute]:
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


def policy_of(route: APIRoute) -> Policy:
    """What it declares; an AssertionError when it declares nothing, or two things."""
    declared = [one.call for one in route.dependant.dependencies if isinstance(one.call, Policy)]
    assert len(declared) == 1, f"{route.path}: declares {len(declared)} policies; say one: principal: Managing"
    return declared[0]


class Town(House):
    """A house with an organisation, two teams, their people and their keys."""

    keys: dict[str, str]
    ids: dict[str, str]

    @classmethod
    async def found(cls, house: House) -> Town:
        town = cls(house.app, house.clock, house.key)
        desk = house.app.gateway.auth.desk
        await desk.add(Organisation, "acme", "Acme")
        for team in ("search", "ads"):
            await desk.add(Team, team, team.title(), organisation_id="acme")
        await desk.add(User, "ann", "Ann", team_id="search")
        await desk.add(User, "eve", "Eve", team_id="ads")
        await desk.add(User, "boss", "Boss", team_id="search", role="admin")
        town.keys, town.ids = {"nobody": "tg_live_no_key_000000", "admin": house.key}, {}
        for role in ("member", "viewer", "manager"):
            for team in ("search", "ads"):
                name = role if team == "search" else f"{role} of ads"
                town.keys[name], key = await desk.make_key(name, role=role, team_id=team)
                town.ids[name] = key.id
        town.keys["viewer of all"], _ = await desk.make_key("board", role="viewer")
        _, key = await desk.make_key("target", team_id="search")
        town.ids["target"] = key.id
        return town

    async def call(self, route: APIRoute, who: str, more: str = "") -> Reply:
        """`route`, of the team `search` and of what is its."""
        (method,) = route.methods
        id = self.ids["target"] if route.path.startswith("/admin/keys") else IDS.get(route.path.split("/")[2], "x")
        body = json.dumps(BODIES[route.name]).encode() if route.name in BODIES else b""
        if route.name.startswith("create_") and route.name != "create_key":
            body = json.dumps({"id": who.replace(" ", "-")}).encode()
        query = "&".join(filter(None, (QUERIES.get(route.name, "").removeprefix("?"), more)))
        return await self.begin(
            path=f"{route.path_format.format(**NAMES, id=id)}?{query}",
            method=method,
            body=body,
            key=self.keys[who],
        ).reply()

    async def kept(self) -> list[bytes]:
        """All that is kept, but for when keys were used."""
        everything: list[Any] = []
        for kind in (Organisation, Team, User, Key):
            everything += await self.app.world.store.every(kind)
        return [msgspec.json.encode(one) for one in everything]


@pytest.fixture
async def town(build_house: Build) -> Town:
    return await Town.found(
        await build_house(f"{TWO_PROVIDERS}vault: {{keys: ['{'00' * 32}']}}\naudit: {{enabled: true}}\n")
    )


def test_every_path_declares_who_may() -> None:
    for route in routes():
        policy_of(route)


def test_there_is_no_path_besides_those() -> None:
    app = create(lambda: None)  # type: ignore[arg-type, return-value]
    assert {route.path for route in app.routes if not isinstance(route, APIRoute)} == OPEN
    assert [route for route in app.routes if isinstance(route, APIRoute)] == routes(), "a router not among ROUTERS"
    described = {(path, method) for path, methods in app.openapi()["paths"].items() for method in methods}
    assert described == {(route.path_format, method.lower()) for route in routes() for method in route.methods}


def test_the_fields_of_queries_are_those_of_the_document() -> None:
    app = create(lambda: None)  # type: ignore[arg-type, return-value]
    assert app.openapi_schema is None, "it is made for whoever asks for it, and for nobody else"
    assert app.state.queries == {
        (path, method.upper()): [one["name"] for one in said.get("parameters", ()) if one["in"] == "query"]
        for path, methods in app.openapi()["paths"].items()
        for method, said in methods.items()
    }


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.name)
async def test_a_field_of_the_query_that_a_path_does_not_have_is_refused(town: Town, route: APIRoute) -> None:
    """It would be passed over, and whoever misspelt one would believe the answer."""
    before = await town.kept()
    reply = await town.call(route, "admin", more="colour=red")
    assert (reply.status, reply.error.param) == (400, "colour")
    assert await town.kept() == before


def test_a_path_without_a_policy_is_seen() -> None:
    router = APIRouter()

    @router.get("/admin/open")
    async def open_to_all() -> None: ...

    @router.get("/admin/unclear", dependencies=[Depends(ADMINISTER), Depends(LOOK)])
    async def unclear() -> None: ...

    for route in routes((router,)):
        with pytest.raises(AssertionError, match="say one"):
            policy_of(route)


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.name)
async def test_each_role_may_do_what_is_declared_and_nothing_else(town: Town, route: APIRoute) -> None:
    policy = policy_of(route)
    for role in ROLES:
        before = await town.kept()
        reply = await town.call(route, role)
        if role == "nobody":
            assert (reply.status, reply.error.code) == (401, "invalid_api_key")
        elif role not in policy.roles:
            assert (reply.status, reply.error.code) == (403, "permission_denied")
        else:
            good = reply.status in (200, 201) or (route.name in ABSENT and reply.status == 404)
            assert good, f"{role} at {route.path}: {reply.status} {reply.body!r}"
            continue
        assert await town.kept() == before, f"{role} changed something"


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.name)
async def test_of_another_team_a_manager_sees_and_changes_nothing(town: Town, route: APIRoute) -> None:
    for who in ("manager of ads", "viewer of ads"):
        before = await town.kept()
        reply = await town.call(route, who)
        theirs = (town.ids["target"], '"ann"', '"search"')
        if "{id}" in route.path and "organisations" not in route.path:
            assert reply.status in (403, 404)
        if reply.status < 300:
            assert not any(id in reply.body.decode() for id in theirs), f"{who} at {route.path}: {reply.body!r}"
            assert who == "manager of ads" or route.methods == {"GET"}
        if route.name != "chat":
            assert await town.kept() == before


@pytest.mark.parametrize("path", ["/admin/keys", "/admin/teams", "/admin/users", "/admin/organisations"])
async def test_a_viewer_without_a_team_sees_everything(town: Town, path: str) -> None:
    everything = (await town.get(path)).events[0]
    assert (await town.get(path, key=town.keys["viewer of all"])).events[0] == everything
    mine = (await town.get(path, key=town.keys["viewer"])).events[0]
    assert 0 < len(mine) < len(everything)


# --- what no manager has to give


async def asked(town: Town, method: str, path: str, who: str = "manager", **fields: Any) -> Reply:
    return await town.begin(path=path, method=method, body=json.dumps(fields).encode(), key=town.keys[who]).reply()


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "admin"},
        {"admin": True},
        {"endpoints": ["chat", "account"]},
        {"scopes": ["override"]},
        {"team_id": "ads"},
        {"team_id": None},
        {"user_id": "bob"},
    ],
)
async def test_a_manager_gives_nothing_that_is_not_theirs(town: Town, fields: dict[str, Any]) -> None:
    await town.app.gateway.auth.desk.add(User, "bob", "Bob", team_id="ads")
    before = await town.kept()
    assert (await asked(town, "POST", "/admin/keys", name="new", **fields)).status in (400, 403)
    if "admin" not in fields:
        assert (await asked(town, "PATCH", f"/admin/keys/{town.ids['target']}", **fields)).status in (400, 403)
    assert await town.kept() == before


@pytest.mark.parametrize(
    "more",
    [{"role": "admin"}, {"endpoints": ("account",)}, {"scopes": ("override",)}],
    ids=["role", "account", "scope"],
)
@pytest.mark.parametrize("does", ["rotate", "disable", "enable", "revoke", "change"])
async def test_a_manager_does_not_touch_a_key_that_may_do_more(town: Town, more: dict[str, Any], does: str) -> None:
    """Whoever rotates a key holds it."""
    _, key = await town.app.gateway.auth.desk.make_key("more", team_id="search", **more)
    before = await town.kept()
    path = f"/admin/keys/{key.id}" + (f"/{does}" if does in ("rotate", "disable", "enable") else "")
    method = {"revoke": "DELETE", "change": "PATCH"}.get(does, "POST")
    reply = await town.begin(
        path=path, method=method, body=b"{}" if method == "PATCH" else b"", key=town.keys["manager"]
    ).reply()
    assert reply.status == 403 and "only an administrator" in reply.error.message
    assert await town.kept() == before


async def test_a_managers_new_key_is_of_their_team(town: Town) -> None:
    key = (await asked(town, "POST", "/admin/keys", name="new")).events[0]
    assert (key["team_id"], key["role"]) == ("search", "member")


@pytest.mark.parametrize(
    ("id", "fields"),
    [("ann", {"role": "admin"}), ("ann", {"team_id": "ads"}), ("ann", {"team_id": None}), ("boss", {"role": "member"})],
)
async def test_a_manager_makes_no_administrators_and_moves_nobody(town: Town, id: str, fields: dict[str, Any]) -> None:
    before = await town.kept()
    assert (await asked(town, "PATCH", f"/admin/users/{id}", **fields)).status == 403
    assert (await asked(town, "DELETE", "/admin/users/boss")).status == 403
    assert await town.kept() == before


async def test_what_an_administrator_does_is_told(town: Town) -> None:
    told: list[tuple[str, Any]] = []
    events = town.app.world.events
    events.notice = lambda name, fields: told.append((name, fields))  # type: ignore[method-assign]
    await asked(town, "PATCH", f"/admin/keys/{town.ids['target']}", tags=["x"])
    await asked(town, "DELETE", "/admin/teams/search", who="admin")
    assert told == [
        (
            "administered",
            {
                "did": "key_changed",
                "id": town.ids["target"],
                "by": town.ids["manager"],
                "name": "manager",
                "changed": "tags",
            },
        ),
        ("administered", {"did": "team_disabled", "id": "search", "by": told[1][1]["by"], "name": "a test"}),
    ]


def test_the_roles_of_looking_and_changing_are_as_the_guide_says() -> None:
    changes = {route.name: policy_of(route).roles for route in routes((teams.router,)) if route.methods != {"GET"}}
    assert all("viewer" not in roles and "member" not in roles for roles in changes.values())


@pytest.mark.parametrize(
    "route",
    [route for route in routes() if route.methods != {"GET"} or route.name == "get_body"],
    ids=lambda one: one.name,
)
async def test_whatever_is_done_stands_in_the_audit_log_with_who_did_it(town: Town, route: APIRoute) -> None:
    archive = town.app.gateway.archive
    reply = await town.call(route, "admin")
    await town.app.world.ledger.flush()
    acts = [await archive.entry(link) for link in await archive.log.latest(2**62, "~", 5)]
    did = [act for act in acts if act["kind"] == "act"]
    if reply.status < 300 and route.name not in ("chat", "attempt", "evaluate", "render_draft"):
        (act,) = did
        assert act["by"] in {key.id for key in await town.app.world.store.every(Key) if key.role == "admin"}
        assert act["name"] == "a test" and act["id"].startswith("act_")
    else:
        assert did == []


async def acts(town: Town) -> list[dict[str, Any]]:
    await town.app.world.ledger.flush()
    archive = town.app.gateway.archive
    entries = [await archive.entry(link) for link in await archive.log.latest(2**62, "~", 200)]
    return [one for one in reversed(entries) if one["kind"] == "act"]


async def test_whatever_is_refused_stands_in_the_audit_log_with_who_asked_for_it(town: Town) -> None:
    refused = [(route, role) for route in routes() for role in ROLES[1:] if role not in policy_of(route).roles]
    for route, role in refused:
        await town.call(route, role)
    told = {(act["name"], act["of"], act["after"]["role"]) for act in await acts(town) if act["did"] == "refused"}
    for route, role in refused:
        kind = re.escape(f"{next(iter(route.methods))} {route.path_format}")
        path = re.compile(re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", kind))
        there = any(path.fullmatch(of) for name, of, as_whom in told if (name, as_whom) == (role, role))
        assert there or not route.path.startswith("/admin"), f"{role} at {route.path}"


async def test_what_a_manager_may_not_touch_is_told_too_and_once_a_minute_is_enough(town: Town) -> None:
    for _ in range(3):
        assert (await asked(town, "PATCH", "/admin/users/ann", role="admin")).status == 403
    (act,) = await acts(town)
    assert (act["did"], act["of"], act["name"]) == ("refused", "PATCH /admin/users/ann", "manager")
    assert act["after"] == {"role": "manager", "team": "search"}
    await town.clock.advance(60)
    assert (await asked(town, "PATCH", "/admin/users/ann", role="admin")).status == 403
    assert len(await acts(town)) == 2


async def test_an_act_says_what_it_was_before_and_after_and_never_what_a_key_is_known_by(town: Town) -> None:
    await asked(town, "PATCH", f"/admin/keys/{town.ids['target']}", who="admin", tags=["x"])
    await town.app.world.ledger.flush()
    archive = town.app.gateway.archive
    (link,) = await archive.log.latest(2**62, "~", 1)
    entry = await archive.entry(link)
    assert (entry["did"], entry["of"]) == ("key_changed", town.ids["target"])
    assert (entry["before"]["tags"], entry["after"]["tags"]) == ([], ["x"])
    assert "digest" not in entry["before"] and b"target" not in link.entry
