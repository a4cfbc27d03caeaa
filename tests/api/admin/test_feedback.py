"""What an answer was worth is said by whoever got it, and counts for its call."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.house import House, Reply
from tidegate.core.ports import Team


async def say(house: House, key: str | None = None, **said: Any) -> Reply:
    asked = {"key": key} if key else {}
    return await house.begin(path="/v1/feedback", body=json.dumps(said).encode(), **asked).reply()


async def sums(house: House, **asked: Any) -> list[dict[str, Any]]:
    reply = await house.get(f"/admin/feedback?{urlencode(asked)}")
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.events[0]["lines"]
    return found


async def test_a_thumb_stands_at_its_call_and_in_the_sums(house):
    reply = await house.ask()
    said = await say(house, request_id=reply.id, thumbs="down", label="wrong_language", comment="It is German.")
    assert (said.status, said.events[0]["request_id"]) == (201, reply.id)
    (opinion,) = (await house.get(f"/v1/requests/{reply.id}")).events[0]["feedback"]
    assert opinion | {"at_ms": 0, "id": ""} == {
        **{"id": "", "request_id": reply.id, "at_ms": 0, "source": "user", "score": 0.0},
        **{"label": "wrong_language", "comment": "It is German."},
    }
    (line,) = await sums(house, by="route,source")
    assert (line["route"], line["source"], line["bad"], line["mean_score"]) == ("fast", "user", 1, 0.0)


async def test_saying_it_again_replaces_it_and_another_source_stands_beside_it(house):
    reply = await house.ask()
    for said in ({"thumbs": "down"}, {"thumbs": "up"}, {"score": 0.25, "source": "judge"}):
        await say(house, request_id=reply.id, **said)
    (line,) = await sums(house)
    assert (line["opinions"], line["good"], line["bad"]) == (2, 1, 1)


async def test_the_same_id_is_one_opinion_and_two_ids_are_two(house):
    reply = await house.ask()
    for id in ("first", "first", "second"):
        assert (await say(house, request_id=reply.id, id=id, thumbs="up")).status == 201
    assert (await sums(house))[0]["opinions"] == 2


async def test_an_opinion_of_a_session_is_of_its_last_call(house):
    await house.ask(headers={"x-tidegate-session": "s1"})
    await house.clock.sleep(1)
    last = await house.ask(headers={"x-tidegate-session": "s1"})
    said = await say(house, session="s1", task_completed=True)
    assert said.events[0]["request_id"] == last.id
    (line,) = await sums(house)
    assert (line["tasks"], line["completed"], line["completion_rate"]) == (1, 1, 1.0)


async def test_late_feedback_counts_on_the_day_of_its_call(house):
    reply = await house.ask()
    await house.clock.sleep(3 * 86_400)
    await say(house, request_id=reply.id, thumbs="up")
    (line,) = await sums(house, since="7d")
    assert line["from"].startswith("2026-01-01")


@pytest.mark.parametrize(
    ("said", "status", "says"),
    [
        ({"request_id": "req_0", "thumbs": "up"}, 404, "there is no request 'req_0' that is yours to judge"),
        ({"session": "none", "thumbs": "up"}, 404, "has asked nothing in a session 'none'"),
        ({"thumbs": "up"}, 400, "request_id, session: say which call"),
        ({"request_id": "a", "session": "b", "thumbs": "up"}, 400, "request_id, session: say which call"),
        ({"request_id": "a"}, 400, "nothing is said"),
        ({"request_id": "a", "score": 1.5}, 400, "score: Input should be less than or equal to 1"),
        ({"request_id": "a", "score": 0.5, "thumbs": "up"}, 400, "score, thumbs: say one of the two"),
        ({"request_id": "a", "thumbs": "sideways"}, 400, "thumbs: Input should be 'up' or 'down'"),
        ({"request_id": "a", "stars": 5}, 400, "stars: Extra inputs are not permitted"),
    ],
)
async def test_what_makes_no_sense_is_told_why(house, said, status, says):
    reply = await say(house, **said)
    assert (reply.status, says in reply.error.message) == (status, True), reply.error.message


async def test_nobody_judges_a_strangers_call(house):
    desk = house.app.gateway.auth.desk
    await desk.add(Team, "search", "Search")
    member, _ = await desk.make_key("member", team_id="search")
    manager, _ = await desk.make_key("manager", role="manager", team_id="search")
    stranger, _ = await desk.make_key("stranger")
    theirs, others = await house.ask(key=member), await house.ask(key=stranger)
    assert (await say(house, member, request_id=theirs.id, thumbs="up")).status == 201
    assert (await say(house, manager, request_id=theirs.id, thumbs="up")).status == 201
    assert (await say(house, manager, request_id=others.id, thumbs="up")).status == 404
    assert (await say(house, stranger, request_id=theirs.id, thumbs="up")).status == 404
    assert (await house.get("/admin/feedback?by=team", key=manager)).events[0]["lines"][0]["team"] == "search"
