"""Experiments are described, looked at and put away over the API, and whoever did it is in the audit log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import TWO_PROVIDERS, Build, House, Reply
from tidegate.core.ports import Closed, Team

SPEC: dict[str, Any] = {"name": "shorter", "route": "fast", "arms": [{"name": "b", "target": "spare/n"}], "ramp": [1]}


async def asked(house: House, method: str, path: str = "", said: Any = None, **options: Any) -> Reply:
    body = b"" if said is None else json.dumps(said).encode()
    return await house.begin(path=f"/v1/experiments{path}", method=method, body=body, **options).reply()


async def made(house: House, **fields: Any) -> dict[str, Any]:
    reply = await asked(house, "POST", said=SPEC | fields)
    assert reply.status == 201, reply.body
    found: dict[str, Any] = reply.events[0]
    return found


async def started(house: House, **fields: Any) -> None:
    name, desk = (await made(house, **fields))["name"], house.app.gateway.experiments.desk
    await desk.move(await desk.named(name), "started", "running", 0, by="k", why="go")


async def test_what_is_described_is_a_draft_with_all_its_defaults(house):
    one = await made(house)
    assert (one["id"], one["state"], one["share"], one["stage"]) == ("shorter.1", "draft", 1.0, 0)
    assert one["spec"]["confidence"] == 0.95 and one["warnings"] == []
    assert (await asked(house, "GET", "/shorter")).events[0] == one
    assert (await asked(house, "GET")).events[0] == [one]


async def test_all_that_is_wrong_is_said_at_once_and_nothing_is_kept(house):
    reply = await asked(house, "POST", said=SPEC | {"route": "fats", "ramp": [0.5, 0.1]})
    assert reply.status == 400 and reply.error.param == "route"
    assert "did you mean 'fast'?" in reply.error.message and "ramp[1]: 10% is not more than 50%" in reply.error.message
    assert (await asked(house, "GET")).events[0] == []


async def test_what_is_no_description_says_which_field(house):
    reply = await asked(house, "POST", said=SPEC | {"confidence": 7})
    assert (reply.status, reply.error.param) == (400, "confidence")
    assert (await asked(house, "POST", said=[])).status == 400


async def test_a_name_and_a_layer_are_taken_once(house):
    await made(house)
    assert (await asked(house, "POST", said=SPEC)).status == 409
    second = await asked(house, "POST", said=SPEC | {"name": "other"})
    assert second.status == 400 and "experiment 'shorter' has 0 to 1 of layer 'default'" in second.error.message
    await made(house, name="third", layer="style", arms=[{"name": "b", "parameters": {"temperature": 0.1}}])


async def test_a_metric_that_nobody_sends_is_warned_of_until_somebody_does(house):
    primary = {"primary": {"metric": "satisfaction", "margin": 0.05}}
    assert "nobody has said what answers are worth" in (await made(house, **primary))["warnings"][0]
    await asked(house, "DELETE", "/shorter")
    call = Closed("req_1", house.app.now_ms(), house.key, "openai", "chat", "ok", 200, 1, 1, route="fast")
    house.app.world.ledger.append(call)
    said = json.dumps({"request_id": "req_1", "thumbs": "up"}).encode()
    assert (await house.begin(path="/v1/feedback", body=said).reply()).status == 201
    assert (await made(house, **primary))["warnings"] == []


async def test_what_a_unit_would_get_is_what_it_gets(house):
    await started(house, arms=[{"name": "b", "target": "spare/n"}, {"name": "c", "target": "spare/c"}], ramp=[0.5])
    for user in "abcdefgh":
        told = (await asked(house, "GET", f"/shorter/units/{user}")).events[0]
        row = (await house.ask("hi", headers={"x-tidegate-user": user})).row
        assert [(one.arm, one.unit, one.experiment) for one in row.arms] == [
            (told["arm"], told["unit"], told["experiment"])
        ]
    other = (await asked(house, "GET", "/shorter/units/a?organisation=acme")).events[0]
    assert other["unit"] != (await asked(house, "GET", "/shorter/units/a")).events[0]["unit"]


async def test_of_a_draft_it_is_said_what_it_would_be(house):
    await made(house)
    told = (await asked(house, "GET", "/shorter/units/ann")).events[0]
    assert told["arm"] is None and told["why"] == "the experiment is draft; running, it would have b"
    await made(house, name="each", layer="x", unit="request", automatic=False, route=None,
               arms=[{"name": "b", "parameters": {"top_p": 1}}])  # fmt: skip
    assert (await asked(house, "GET", "/each/units/ann")).status == 400


async def test_what_was_decided_can_be_read(house):
    await started(house)
    (decision,) = (await asked(house, "GET", "/shorter/decisions")).events[0]
    assert decision["id"] == "shorter.1#0"
    assert (decision["did"], decision["by"], decision["why"], decision["inputs"]) == ("started", "k", "go", {})


async def test_only_what_is_not_under_way_is_put_away_and_then_its_name_is_free(house):
    await started(house)
    reply = await asked(house, "DELETE", "/shorter")
    assert reply.status == 409 and "stop it first" in reply.error.message
    desk = house.app.gateway.experiments.desk
    await desk.move(await desk.named("shorter"), "stopped", "stopped", 0, by="k", why="")
    assert (await asked(house, "DELETE", "/shorter")).events[0]["archived_ms"] > 0
    assert (await asked(house, "GET")).events[0] == []
    assert len((await asked(house, "GET", "?archived=true")).events[0]) == 1
    assert (await made(house))["id"] == "shorter.2"


async def test_who_did_it_is_in_the_audit_log(build_house: Build):
    house = await build_house(f"{TWO_PROVIDERS}audit: {{enabled: true}}\n")
    await made(house)
    await asked(house, "DELETE", "/shorter")
    await house.app.world.ledger.flush()
    entries = (await house.get("/admin/audit")).events[0]["entries"]
    acts = [one for one in entries if one.get("of") == "shorter.1"]
    assert sorted(one["did"] for one in acts) == ["experiment_archived", "experiment_created"]
    assert {one["name"] for one in acts} == {"a test"}


@pytest.mark.parametrize("path", ["/x", "/x/decisions", "/x/units/u"])
async def test_what_is_not_there_is_not_found(house, path):
    reply = await asked(house, "GET", path)
    assert reply.status == 404 and "tidegate experiments list" in reply.error.message


async def test_a_teams_people_see_none(house):
    await made(house)
    desk = house.app.gateway.auth.desk
    await desk.add(Team, "search", "Search")
    manager, _ = await desk.make_key("m", role="manager", team_id="search")
    board, _ = await desk.make_key("v", role="viewer")
    assert (await asked(house, "GET", key=manager)).events[0] == []
    assert (await asked(house, "GET", "/shorter", key=manager)).status == 404
    assert (await asked(house, "GET", "/shorter", key=board)).status == 200
