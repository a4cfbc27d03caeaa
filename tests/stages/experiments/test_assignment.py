"""A call gets its arm of each experiment that it takes part in: always the same one, in every dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import House, Reply
from tests.stages.experiments.conftest import begin
from tidegate.core.experiments import Assigned

CHAT, COMPLETE, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
ANN = {"x-tidegate-user": "ann"}


async def ask(house: House, user: str | None = "ann", headers: dict[str, str] | None = None, **options: Any) -> Reply:
    said = ({"x-tidegate-user": user} if user else {}) | (headers or {})
    return await house.ask(options.pop("said", "hi"), headers=said, **options)


def got(reply: Reply) -> list[tuple[str, bool]]:
    assert reply.row is not None
    return [(one.arm, one.counted) for one in reply.row.arms]


async def plain_key(house: House, *scopes: Any) -> str:
    text, _ = await house.app.gateway.auth.desk.make_key("app", scopes=scopes)
    return text


async def test_nothing_is_assigned_while_nothing_runs(house):
    await house.app.gateway.experiments.running.look()
    reply = await ask(house)
    assert reply.row.arms == () and "x-tidegate-experiment" not in reply.headers


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [CHAT, COMPLETE, MESSAGES, "/v1/embeddings"])
async def test_an_arm_answers_in_every_dialect_and_the_row_says_what_was_asked_for(house, path, stream):
    experiment = await begin(house)
    more: dict[str, Any] = {"max_tokens": 50} if path == MESSAGES else {}
    if path == "/v1/embeddings":
        more = {"body": json.dumps({"model": "fast", "input": "hi"}).encode()}
    reply = await ask(house, path=path, stream=stream, **more)
    assert reply.status == 200, reply.body
    assert (reply.row.route, reply.row.target) == ("fast", "spare/n")
    (arm,) = reply.row.arms
    assert arm == Assigned(experiment.id, 0, "b", arm.unit) and len(arm.unit) == 16
    assert reply.headers["x-tidegate-experiment"] == "t=b" and reply.headers["x-tidegate-route"] == "fast"


async def test_what_has_no_codec_takes_part_too(house):
    await begin(house)
    reply = await ask(house, path="/v1/responses", body=b'{"model":"fast","input":"hi"}')
    assert reply.row.target in ("spare/n", None) and got(reply) == [("b", True)]


@pytest.mark.parametrize("name", ["fast", "quick"])
async def test_an_alias_is_the_same_route(house, name):
    await begin(house, route="quick")
    assert got(await ask(house, route=name)) == [("b", True)]


async def test_calls_of_other_routes_take_no_part(house):
    await begin(house)
    assert got(await ask(house, route="other")) == []


async def test_where_no_route_is_named_calls_of_all_take_part(house):
    await begin(house, route=None)
    assert got(await ask(house, route="other")) == [("b", True)]
    assert got(await ask(house, route="main/direct")) == [("b", True)]


async def test_a_unit_keeps_its_arm_and_others_have_other_ones(house):
    await begin(house, {"name": "b", "target": "spare/n"}, {"name": "c", "target": "spare/c"}, ramp=[0.5, 1.0])
    arms: dict[str, set[str]] = {}
    for number in range(60):
        user = f"u{number % 20}"
        arms.setdefault(user, set()).add(got(await ask(house, user))[0][0])
    assert all(len(found) == 1 for found in arms.values())
    assert len({found for some in arms.values() for found in some}) > 1


async def test_a_reload_changes_nobodys_arm(house):
    await begin(house, ramp=[0.5])
    first = {name: got(await ask(house, name))[0][0] for name in ("a", "b", "c", "d", "e", "f")}
    await house.app.reload(house.app.config)
    assert {name: got(await ask(house, name))[0][0] for name in first} == first


async def test_who_names_no_user_is_told_by_the_session_and_else_takes_no_part(house):
    await begin(house)
    assert got(await ask(house, None, {"x-tidegate-session": "s1"})) == [("b", True)]
    assert got(await ask(house, None)) == []


async def test_a_user_that_only_the_body_names_is_the_same_one(house):
    await begin(house)
    one, other = await ask(house), await house.ask("hi", user="ann")
    assert one.row.arms == other.row.arms


async def test_calls_of_one_request_each_are_units_of_their_own(house):
    await begin(house, unit="request", automatic=False, ramp=[0.5])
    assert len({(await ask(house)).row.arms[0].unit for _ in range(5)}) == 5


async def test_another_route_answers_with_its_own_guards_and_the_limits_of_the_one_asked_for(house):
    await begin(house, {"name": "b", "route": "other"})
    reply = await ask(house)
    assert (reply.row.route, reply.row.target) == ("fast", "spare/o")
    assert reply.headers["ratelimit-policy"] == '"requests-60s";q=1000;w=60'  # of `fast`
    refused = await ask(house, said="write to ann@example.com")
    assert refused.error.code == "guardrail_blocked" and got(refused) == [("b", True)]


async def test_all_arms_are_counted_by_the_limit_together(build_house):
    house = await build_house(
        "providers: {main: {type: scripted}}\n"
        "routes: {fast: {targets: [{provider: main, model: m}], limits: [{of: requests, most: 3, per: 60s}]}}\n"
    )
    await begin(house, {"name": "b", "target": "main/n"}, ramp=[0.5])
    users, arms = iter("abcdefghijklmn"), set()
    while len(arms) < 2:
        reply = await ask(house, next(users))
        if reply.status == 429:
            break
        arms.add(reply.row.target)
    for user in users:
        last = await ask(house, user)
    assert last.status == 429 and (await house.rows())[-1].arms


@pytest.mark.parametrize(
    ("path", "client", "said", "sent"),
    [
        (CHAT, {"temperature": 1}, {"temperature": 0.2}, {"temperature": 0.2}),
        (CHAT, {}, {"temperature": 0.2, "max_tokens": 7}, {"temperature": 0.2, "max_tokens": 7}),
        (CHAT, {"max_completion_tokens": 9}, {"max_tokens": 7}, {"max_completion_tokens": 7}),
        (COMPLETE, {}, {"temperature": 0.2}, {"temperature": 0.2}),
        (MESSAGES, {"max_tokens": 9}, {"top_p": 0.5, "max_tokens": 7}, {"top_p": 0.5, "max_tokens": 7}),
    ],
)
async def test_parameters_take_the_place_of_the_clients(house, path, client, said, sent):
    await begin(house, {"name": "b", "parameters": said})
    reply = await ask(house, path=path, stream=False, **client)
    assert reply.status == 200 and got(reply) == [("b", True)]
    asked = json.loads(house.provider("main").requests[-1].body)
    assert {name: asked.get(name) for name in sent} == sent


async def test_a_dialect_that_has_no_such_parameter_takes_no_part(house):
    await begin(house, {"name": "b", "parameters": {"seed": 1}})
    assert got(await ask(house)) == [("b", True)]
    assert got(await ask(house, path=MESSAGES, max_tokens=9)) == []


async def test_only_live_calls_of_clients_take_part(house):
    await begin(house)
    assert got(await ask(house, None, ANN | {"x-tidegate-kind": "eval"}, key=await plain_key(house, "eval"))) == []
    assert got(await ask(house, headers={"x-tidegate-target": "main/m"})) == []
    assert (await ask(house, path="/v1/messages/count_tokens", max_tokens=9)).row.arms == ()


async def test_what_was_promoted_is_everybodys_until_it_is_archived_and_not_counted(house):
    experiment = await begin(house, state="promoted", ramp=[0.01])
    for reply in (await ask(house), await ask(house, None), await ask(house, headers={"x-tidegate-kind": "eval"})):
        assert reply.row.target == "spare/n" and got(reply) == [("b", False)]
    await house.app.gateway.experiments.desk.archive(experiment, "k")
    assert (await ask(house)).row.target == "main/m"


async def test_in_any_other_state_everybody_gets_the_control_and_nothing_is_recorded(house):
    for state in ("draft", "gate", "stopped", "rolled_back", "inconclusive"):
        await begin(house, name=state, state=state)
    reply = await ask(house)
    assert reply.row.target == "main/m" and reply.row.arms == ()


async def test_what_is_taken_back_is_taken_back_at_once(house):
    experiment = await begin(house)
    assert (await ask(house)).row.target == "spare/n"
    await house.app.gateway.experiments.desk.move(
        experiment, "rolled_back", "rolled_back", 0, by="house", why="it is worse"
    )
    assert (await ask(house)).row.target == "main/m"


async def test_a_shadow_is_seen_by_nobody(house):
    await begin(house, mode="shadow")
    reply = await ask(house)
    assert reply.row.target == "main/m" and got(reply) == [("control", True)]


# --- several at once


async def test_of_one_layer_a_unit_takes_part_in_one_only_and_of_several_in_all(house):
    half = {"layer": "models"}
    await begin(house, {"name": "b", "target": "spare/n"}, name="one", layer_share=[0, 0.5], **half)
    await begin(house, {"name": "c", "target": "spare/c"}, name="two", layer_share=[0.5, 1], **half)
    await begin(house, {"name": "d", "parameters": {"temperature": 0.1}}, name="three", layer="style")
    seen = set()
    for number in range(20):
        arms = sorted(got(await ask(house, f"u{number}")))
        seen.add(tuple(arms))
    assert seen == {(("b", True), ("d", True)), (("c", True), ("d", True))}


async def test_what_is_tried_after_a_promotion_is_tried_on_top_of_it(house):
    await begin(house, {"name": "new", "parameters": {"temperature": 0.5}}, name="later", layer="x")
    await begin(house, {"name": "old", "target": "spare/n", "parameters": {"temperature": 0.1}}, state="promoted")
    reply = await ask(house)
    assert got(reply) == [("old", False), ("new", True)] and reply.row.target == "spare/n"
    assert json.loads(house.provider("spare").requests[-1].body)["temperature"] == 0.5


async def test_an_experiment_whose_route_has_gone_has_no_effect_and_that_is_told(house):
    await begin(house, {"name": "b", "route": "gone"})
    assert (await ask(house)).row.arms == ()
    assert 'tidegate_notices_total{name="experiment_without_route"} 1.0' in house.app.metrics.page().decode()


# --- chosen by header


async def test_a_call_can_choose_its_arm_and_is_not_counted(house):
    await begin(house, ramp=[0.01])
    reply = await ask(house, None, {"x-tidegate-arm": "t=b"}, key=await plain_key(house, "override"))
    assert reply.row.target == "spare/n" and got(reply) == [("b", False)]
    assert reply.headers["x-tidegate-experiment"] == "t=b"
    assert got(await ask(house, None, {"x-tidegate-arm": "t=control"})) == [("control", False)]


async def test_so_can_an_evaluation(house):
    await begin(house)
    headers = {"x-tidegate-arm": "t=b", "x-tidegate-kind": "eval"}
    reply = await ask(house, None, headers)
    assert reply.row.target == "spare/n" and got(reply) == [("b", False)]


async def test_so_can_a_draft_be_tried(house):
    await begin(house, state="draft")
    assert got(await ask(house, headers={"x-tidegate-arm": "t=b"})) == [("b", False)]


async def test_a_header_that_makes_no_sense_says_so(house):
    await begin(house)
    for said, status, why in (
        ("t", 400, "experiment=arm is expected"),
        ("t=", 400, "experiment=arm is expected"),
        ("u=b", 404, "no experiment 'u'"),
        ("t=z", 404, "there are: control, b"),
    ):
        reply = await ask(house, headers={"x-tidegate-arm": said})
        assert reply.status == status and why in reply.error.message


async def test_so_does_one_for_another_route_and_one_where_nothing_is_tried(house):
    reply = await ask(house, headers={"x-tidegate-arm": "t=b"})
    assert reply.status == 404
    await begin(house)
    reply = await ask(house, route="other", headers={"x-tidegate-arm": "t=b"})
    assert reply.status == 400 and "none that experiment 't' is about" in reply.error.message


async def test_a_plain_key_neither_chooses_nor_sees_its_arm(house):
    await begin(house)
    key = await plain_key(house)
    reply = await ask(house, headers={"x-tidegate-arm": "t=b"}, key=key)
    assert reply.status == 403 and "needs the scope override" in reply.error.message
    reply = await ask(house, key=key)
    assert got(reply) == [("b", True)] and "x-tidegate-experiment" not in reply.headers
    path = f"/v1/requests/{reply.id}"
    assert "arms" not in (await house.get(path, key=key)).events[0] and "arms" in (await house.get(path)).events[0]


async def test_calls_are_counted_by_arm(house):
    await begin(house)
    for _ in range(3):
        await ask(house)
    page = house.app.metrics.page().decode()
    assert 'tidegate_experiment_calls_total{arm="b",experiment="t"} 3.0' in page
