"""A person moves an experiment on, ends it, and looks at it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import House
from tidegate.core.experiments import Experiment, read
from tidegate.core.prompts import Wording

SPEC = {"name": "shorter", "route": "fast", "arms": [{"name": "a", "target": "spare/m"}], "ramp": ["20%", "50%"]}


async def made(house: House, **fields: Any) -> Experiment:
    return await house.app.gateway.experiments.desk.make(read(SPEC | fields), "key")


async def post(house: House, verb: str, name: str = "shorter", **fields: Any) -> tuple[int, Any]:
    body = json.dumps(fields).encode()
    reply = await house.ask(path=f"/v1/experiments/{name}/{verb}", body=body)
    return reply.status, reply.events[0]


async def report(house: House, name: str = "shorter") -> Any:
    reply = await house.get(f"/v1/experiments/{name}/report")
    assert reply.status == 200, reply.body
    return reply.events[0]


async def test_it_is_started_moved_on_and_promoted_and_the_log_has_who_and_why(house: House) -> None:
    await made(house)
    status, moved = await post(house, "start", why="too long")
    assert status == 200 and (moved["state"], moved["stage"]) == ("running", 0)
    assert moved["can"] == ["advance", "promote", "rollback", "stop"]
    assert (await post(house, "advance", why="a quiet day"))[1]["stage"] == 1
    status, moved = await post(house, "promote")
    assert (moved["state"], moved["arm"], moved["can"]) == ("promoted", "a", ["rollback"])
    said = (await report(house))["decisions"]
    assert [(one["did"], one["why"]) for one in said] == [
        ("started", "too long"),
        ("advanced", "a quiet day"),
        ("promoted", ""),
    ]
    assert {one["by"] for one in said} == {house.app.gateway.auth.remembered(house.key).key_id}


@pytest.mark.parametrize(
    ("before", "verb", "said"),
    [
        ((), "advance", "cannot advance: it is draft; it can: start, stop"),
        (("start",), "start", "it can: advance, promote, rollback, stop"),
        (("start", "advance"), "advance", "running at its last stage, 50%; it can: promote, rollback, stop"),
        (("start", "stop"), "promote", "it has ended; begin another one"),
    ],
)
async def test_in_a_wrong_state_it_is_409_and_says_what_is_possible(
    house: House, before: tuple[str, ...], verb: str, said: str
) -> None:
    await made(house)
    for one in before:
        assert (await post(house, one))[0] == 200
    status, answer = await post(house, verb)
    assert status == 409 and said in answer["error"]["message"]


async def test_a_draft_that_fits_no_more_is_not_started(house: House) -> None:
    await made(house, arms=[{"name": "a", "target": "gone/m"}])
    status, answer = await post(house, "start")
    assert status == 400 and "arms[0].target" in answer["error"]["message"]
    assert (await report(house))["decisions"] == []


async def test_what_is_wrong_is_said(house: House) -> None:
    await made(house, arms=[{"name": "a", "target": "spare/m"}, {"name": "b", "target": "main/m"}])
    assert (await post(house, "start", "longer"))[0] == 404
    assert (await post(house, "start", because="?"))[0] == 400
    assert (await post(house, "pause"))[0] == 404
    await post(house, "start")
    for arm in ("", "c"):
        status, answer = await post(house, "promote", arm=arm)
        assert status == 400 and "say which is promoted: a, b" in answer["error"]["message"]


async def test_from_the_decision_on_everybody_has_the_control_again(house: House) -> None:
    await made(house, ramp=["100%"])
    await post(house, "start")
    assert (await house.ask("hi", user="ann")).row.target == "spare/m"
    await post(house, "rollback", why="complaints")
    assert (await house.ask("hi", user="ann")).row.target == "main/m"


async def test_the_report_has_what_was_seen_and_each_decision_follows_again(house: House) -> None:
    await made(house, guards=[{"metric": "error_rate", "margin": 0.1}])
    await post(house, "start")
    for number in range(60):
        assert (await house.ask("hi", user=f"user {number}")).status == 200
    found = await report(house)
    assert sum(found["units"].values()) == 60 and set(found["units"]) == {"control", "a"}
    (error_rate,) = found["findings"]
    assert error_rate["units"] == found["units"]["a"] and len(found["looks"]) == 30
    status, again = await post(house, "recompute")
    assert status == 200 and [(one["did"], one["same"]) for one in again] == [("started", None)]


async def test_what_calls_show_takes_it_back_by_itself(house: House) -> None:
    await made(house, ramp=["50%"], tripwires={"failures": 3}, min_duration="0s")
    await post(house, "start")
    house.provider("spare").always(status=400)
    asked = 0
    while (await report(house))["state"] == "running":
        asked += 1
        await house.ask("hi", user=f"user {asked}")
        assert asked < 100
    found = await report(house)
    assert found["state"] == "rolled_back" and "3 calls of a failed one after the other" in found["why"]
    assert [one["same"] for one in (await post(house, "recompute"))[1]] == [None, True]
    page = (await house.get("/metrics")).body.decode()
    assert 'tidegate_experiment_decisions_total{did="rolled_back"} 1.0' in page


async def test_answers_without_their_form_take_it_back_where_that_is_asked(house: House) -> None:
    await made(house, ramp=["100%"], tripwires={"malformed": 2, "failures": 0})
    await post(house, "start")
    house.provider("spare").always("no JSON at all")
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "required": ["city"]}}}
    for number in range(2):
        await house.ask("hi", user=f"u{number}", response_format=form, stream=bool(number))
    await house.app.world.nursery.wait(5)
    assert "are not what the response schema asks for" in (await report(house))["why"]


async def test_a_gate_is_passed_before_anybody_gets_an_arm(build_house: Any, tmp_path: Any) -> None:
    (tmp_path / "words.yaml").write_text("""
scorers: [{type: contains}]
cases: [{id: one, input: hi, expected_elements: [hello]}]
""")
    house = await build_house(f"""
logs: {{calls: false}}
experiments: {{suites: "{tmp_path}", look_every: 50ms}}
providers: {{main: {{type: scripted}}, spare: {{type: scripted}}}}
routes: {{fast: {{targets: [{{provider: main, model: m}}]}}}}
""")
    for said, state, part in (("hello", "running", [0, 0.5]), ("good bye", "stopped", [0.5, 1])):
        house.provider("spare").always(said)
        await made(house, name=state, gate="words", layer_share=part)
        assert (await post(house, "start", state))[1]["state"] == "gate"
        while (found := await report(house, state))["state"] == "gate":
            pass
        assert found["state"] == state
    assert "1 of 1 answers failed" in found["why"]


async def test_decisions_are_in_the_audit_log(build_house: Any) -> None:
    house = await build_house("""
logs: {calls: false}
audit: {enabled: true}
providers: {main: {type: scripted}, spare: {type: scripted}}
routes: {fast: {targets: [{provider: main, model: m}]}}
""")
    await made(house)
    await post(house, "start", why="to see")
    await house.app.world.ledger.flush()
    entries = (await house.get("/admin/audit")).events[0]["entries"]
    assert "experiment_started" in json.dumps(entries) and "to see" in json.dumps(entries)


async def test_a_promotion_moves_the_label_and_from_then_on_the_label_says_it(house: House) -> None:
    prompts = house.app.gateway.prompts.desk
    for text, label in (("Be kind.", "production"), ("Be brief.", "next")):
        await prompts.make("support", Wording(template=text), by="k", labels=[label])
    arm = {"name": "b", "prompts": {"support": 2}}
    await made(house, prompt="support", arms=[arm], route=None)
    await post(house, "start")
    await post(house, "promote", why="liked")
    assert (await prompts.find("support")).at("production") == 2
    assert [one["did"] for one in (await report(house))["decisions"]] == ["started", "promoted", "labelled"]
    asked = await house.ask("hi", stream=False, prompt={"id": "support"})
    assert asked.row.prompt == "support@2"
    await prompts.move("support", "production", 1, by="k", why="complaints")
    asked = await house.ask("hi", stream=False, prompt={"id": "support"})
    assert asked.row.prompt == "support@1"


async def test_what_is_decided_is_told_to_who_watches_in_plain_words(house: House) -> None:
    await made(house)
    watching = house.begin(path="/v1/experiments/shorter/live?seconds=2", method="GET", body=b"")
    await post(house, "start", why="too long")
    reply = await watching.reply()
    told = [json.loads(one[6:]) for one in reply.body.decode().split("\n\n") if one.startswith("data: ")]
    assert "running at stage 1 of 2" in told[-1]["headline"] and told[-1]["decisions"][0]["why"] == "too long"
    assert {one["kind"] for one in told[-1]["findings"]} == {"share", "ratio"} and told[-1]["minds"]
    assert (await house.get("/v1/experiments/none/live")).status == 404


async def test_of_one_that_has_ended_there_is_one_report(house: House) -> None:
    await made(house)
    await post(house, "stop")
    reply = await house.get("/v1/experiments/shorter/live?seconds=3")
    assert reply.body.count(b"data: ") == 1
