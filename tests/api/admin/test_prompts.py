"""Prompts over HTTP: every key reads them, managers change them, what is protected needs an administrator."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests.house import TWO_PROVIDERS, Build, House, Reply
from tidegate.core.ports import Team


async def say(house: House, method: str, path: str, key: str | None = None, **said: Any) -> Reply:
    body = json.dumps(said).encode() if said or method in ("POST", "PUT") else b""
    return await house.begin(path=f"/v1/prompts{path}", method=method, body=body, key=key).reply()


@pytest.fixture
async def stocked(build_house: Build) -> House:
    house = await build_house(f"{TWO_PROVIDERS}prompts: {{protected: [live]}}\naudit: {{enabled: true}}\n")
    for text in ("Hello {{name}}", "Hi {{name}}"):
        reply = await say(house, "POST", "", id="greet", template=text, labels=["production"], note="because")
        assert reply.status == 201
    return house


async def test_a_version_is_made_shown_and_rendered(stocked: House) -> None:
    shown = (await stocked.get("/v1/prompts/greet")).events[0]
    assert (shown["version"], shown["template"], shown["labels"]) == (2, "Hi {{name}}", ["production"])
    assert shown["variables"] == [{"name": "name"}] and shown["author"] == "a test" and len(shown["hash"]) == 64
    assert (await stocked.get("/v1/prompts/greet?version=1")).events[0]["template"] == "Hello {{name}}"
    said = (await say(stocked, "POST", "/greet/render", variables={"name": "Ann"})).events[0]
    assert (said["text"], said["version"], said["hash"]) == ("Hi Ann", 2, shown["hash"])
    (one,) = (await stocked.get("/v1/prompts")).events[0]
    assert (one["id"], one["latest"], one["labels"]) == ("greet", 2, {"production": 2})


async def test_messages_with_all_that_belongs_to_them_come_back(stocked: House) -> None:
    said = {
        "messages": [
            {"role": "system", "content": "You help {{who}}"},
            {"role": "user", "content": "{{#more}}x{{/more}}"},
        ],
        "variables": [
            {"name": "who", "type": "text", "description": "A name"},
            {"name": "more", "type": "boolean", "required": False, "default": False},
        ],
        "parameters": {"temperature": 0},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_schema": {"type": "object"},
    }  # fmt: skip
    made = await say(stocked, "POST", "", id="help", **said)
    assert made.status == 201, made.body
    found = (await stocked.get("/v1/prompts/help?version=1")).events[0]
    assert found["messages"] == said["messages"] and found["parameters"] == said["parameters"]
    assert found["tools"] == said["tools"] and found["response_schema"] == said["response_schema"]
    assert found["variables"][1]["default"] is False
    rendered = (await say(stocked, "POST", "/help/render", version=1, variables={"who": "Ann", "more": True})).events[0]
    assert [one["content"] for one in rendered["messages"]] == ["You help Ann", "x"]


async def test_what_says_the_same_is_no_new_version(stocked: House) -> None:
    reply = await say(stocked, "POST", "", id="greet", template="Hi {{name}}")
    assert (reply.status, reply.events[0]["version"]) == (200, 2)


async def test_the_difference_and_the_history_are_shown(stocked: House) -> None:
    shown = (await stocked.get("/v1/prompts/greet/diff?base=1&head=production")).events[0]
    assert (shown["base"], shown["head"]) == (1, 2) and "-Hello {{name}}" in shown["lines"]
    moved = await say(stocked, "PUT", "/greet/labels/production", version=1, why="worse")
    assert (moved.events[0]["was"], moved.events[0]["version"]) == (2, 1)
    history = (await stocked.get("/v1/prompts/greet/history")).events[0]
    assert [(one["was"], one["version"], one["why"]) for one in history] == [
        (2, 1, "worse"),
        (1, 2, "because"),
        (None, 1, "because"),
    ]
    assert [one["version"] for one in (await stocked.get("/v1/prompts/greet/versions")).events[0]] == [2, 1]


async def test_of_two_who_began_from_one_version_the_second_is_shown_the_firsts(stocked: House) -> None:
    assert (await say(stocked, "POST", "", id="greet", template="Hey", expected_version=2)).status == 201
    late = await say(stocked, "POST", "", id="greet", template="Hallo", expected_version=2)
    told = late.events[0]
    assert (late.status, told["error"]["code"]) == (409, "version_conflict")
    assert "its newest is version 3" in told["error"]["message"]
    assert (told["newer"]["version"], told["newer"]["template"], told["newer"]["author"]) == (3, "Hey", "a test")
    assert (
        await say(stocked, "POST", "", id="greet", template="Hey", expected_version=2)
    ).status == 200  # it says that
    assert (await say(stocked, "POST", "", id="new", template="x", expected_version=4)).events[0]["newer"] is None
    assert (await say(stocked, "POST", "", id="new", template="x", expected_version=0)).status == 201


async def test_a_label_that_was_moved_meanwhile_is_not_moved_again_unseen(stocked: House) -> None:
    late = await say(stocked, "PUT", "/greet/labels/production", version=2, expected_version=1)
    assert (late.status, late.events[0]["newer"]["version"]) == (409, 2)
    assert (await say(stocked, "PUT", "/greet/labels/production", version=1, expected_version=2)).status == 200
    assert (await say(stocked, "PUT", "/greet/labels/other", version=1, expected_version=0)).status == 200


async def test_a_draft_is_rendered_compared_and_not_kept(stocked: House) -> None:
    draft = {"messages": [{"role": "user", "content": "Hi {{name}}, {{mood}}"}], "variables": [{"name": "name"}]}
    said = (await say(stocked, "POST", "/draft", id="greet", **draft, values={"name": "Ann", "gone": 1})).events[0]
    assert said["messages"] == [{"role": "user", "content": "Hi Ann, {{mood}}"}]
    assert (said["wrong"], said["missing"]) == ("", ["mood"])
    assert [one["name"] for one in said["variables"]] == ["name", "mood"]
    assert "+Hi {{name}}, {{mood}}" in said["lines"] and "-Hi {{name}}" in said["lines"]
    assert (await stocked.get("/v1/prompts/greet/summary")).events[0]["latest"] == 2


@pytest.mark.parametrize(
    ("draft", "why"),
    [
        ({"template": "{{#x}}"}, "is not closed"),
        ({"template": "{{> nobody@1}}"}, "there is no prompt 'nobody'"),
        ({}, "say messages, or a template"),
        ({"template": "{{n}}", "variables": [{"name": "n", "type": "number"}], "values": {"n": "x"}}, "type number"),
    ],
)
async def test_what_is_wrong_with_a_draft_is_said_and_no_error(stocked: House, draft: dict[str, Any], why: str) -> None:
    reply = await say(stocked, "POST", "/draft", id="fresh", **draft)
    assert reply.status == 200 and why in reply.events[0]["wrong"]


async def test_a_summary_has_labels_versions_and_moves_in_pages(stocked: House) -> None:
    first = (await stocked.get("/v1/prompts/greet/summary?limit=1")).events[0]
    assert (first["labels"], first["protected"], first["next"]) == ({"production": 2}, ["live"], 2)
    assert [(one["version"], one["labels"], one["note"]) for one in first["versions"]] == [
        (2, ["production"], "because")
    ]
    assert "template" not in first["versions"][0]
    rest = (await stocked.get("/v1/prompts/greet/summary?limit=1&before=2")).events[0]
    assert ([one["version"] for one in rest["versions"]], rest["next"]) == ([1], None)
    assert [(one["was"], one["version"]) for one in first["moves"]] == [(1, 2)]


async def test_every_change_is_in_the_audit_log(stocked: House) -> None:
    await say(stocked, "PUT", "/greet/labels/staging", version=1)
    await say(stocked, "DELETE", "/greet/labels/staging")
    await say(stocked, "DELETE", "/greet/versions/1")
    await stocked.app.world.ledger.flush()
    entries = (await stocked.get("/admin/audit?limit=50")).body.decode()
    assert Counter(re.findall(r'"did":"(prompt_\w+)"', entries)) == {
        "prompt_version_created": 2,
        "prompt_label_moved": 4,
        "prompt_version_deleted": 1,
    }


WRONG: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/gret", {}, 404, "did you mean 'greet'?"),
    ("GET", "/greet?label=staging", {}, 404, "no label 'staging'"),
    ("GET", "/greet?version=9", {}, 404, "no version 9"),
    ("GET", "/greet?version=1&label=x", {}, 400, "say one of the two"),
    ("GET", "/greet?verson=1", {}, 400, "no such field"),
    ("POST", "", {"id": "a b", "template": "x"}, 400, "cannot be a prompt's name"),
    ("POST", "", {"id": "x"}, 400, "say messages, or a template"),
    ("POST", "", {"id": "x", "template": "{{"}, 400, "is not closed"),
    ("POST", "", {"id": "x", "template": "{{> x@1}}"}, 400, "includes itself"),
    ("POST", "", {"id": "x", "template": "{{> y@1}}"}, 404, "there is no prompt 'y'"),
    ("POST", "", {"id": "x", "template": "x", "parameters": {"temperature": "hot"}}, 400, "temperature"),
    ("POST", "", {"id": "x", "template": "x", "variables": [{"name": "a", "type": "date"}]}, 400, "type"),
    ("POST", "", {"id": "x", "template": "x", "labels": ["A"]}, 400, "cannot be a label"),
    ("POST", "", {"id": "x", "template": "x", "colour": 1}, 400, "colour"),
    ("POST", "/greet/render", {}, 422, "missing: name"),
    ("PUT", "/greet/labels/x", {"version": 7}, 404, "no version 7"),
    ("PUT", "/greet/labels/x", {}, 400, "version"),
    ("DELETE", "/greet/labels/x", {}, 404, "no label 'x'"),
    ("DELETE", "/greet/versions/2", {}, 409, "the label 'production' points to it"),
    ("DELETE", "/greet/versions/7", {}, 404, "no version 7"),
]


async def test_what_cannot_be_is_told(stocked: House) -> None:
    for method, path, said, status, words in WRONG:
        reply = await say(stocked, method, path, **said)
        assert (reply.status, words in reply.body.decode()) == (status, True), reply.body


async def test_members_read_and_managers_move_what_is_not_protected(stocked: House) -> None:
    keys = stocked.app.gateway.auth.desk
    member, _ = await keys.make_key("member")
    await keys.add(Team, "search", "Search")
    manager, _ = await keys.make_key("manager", role="manager", team_id="search")
    assert (await stocked.get("/v1/prompts/greet", key=member)).status == 200
    assert (await say(stocked, "PUT", "/greet/labels/staging", member, version=1)).status == 403
    assert (await say(stocked, "PUT", "/greet/labels/staging", manager, version=1)).status == 200
    assert (await say(stocked, "PUT", "/greet/labels/live", manager, version=1)).status == 200  # it points nowhere yet
    assert (await say(stocked, "PUT", "/greet/labels/live", manager, version=2)).status == 403
    assert (await say(stocked, "PUT", "/greet/labels/live", manager, version=2, protected=True)).status == 403
    assert (await say(stocked, "PUT", "/greet/labels/live", version=2)).status == 403
    assert (await say(stocked, "PUT", "/greet/labels/live", version=2, protected=True)).status == 200
    assert (await say(stocked, "DELETE", "/greet/versions/1", manager)).status == 403
