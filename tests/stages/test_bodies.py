"""What is said is kept where a route says so, as guards let it pass, and nowhere else."""

from __future__ import annotations

import pytest

from tests.house import Build, House, until
from tidegate.core.ports import Body

KEPT = """
logs: {calls: false}
providers: {main: {type: scripted}}
routes:
  fast:
    targets: [{provider: main, model: m}]
    store: {STORE}
    guardrails: {input: [{type: pii, action: placeholder}], output: [{type: pii, action: mask}]}
  silent:
    targets: [{provider: main, model: m}]
"""


def kept(store: str = "{prompts: true, replies: true, ttl: 1h}") -> str:
    return KEPT.replace("{STORE}", store)


async def body(house: House, id: str | None) -> Body | None:
    assert id is not None
    return await house.app.gateway.archive.body(id)


@pytest.mark.parametrize("stream", [True, False])
async def test_question_and_answer_are_kept_as_they_went_out_and_came_back(build_house: Build, stream: bool):
    house = await build_house(kept())
    house.provider("main").says("ask [[EMAIL_1]] or eve@example.com")
    reply = await house.ask("I am ann@example.com", stream=stream, user="ann")
    assert reply.text == "ask ann@example.com or [EMAIL]"
    found = await body(house, reply.id)
    assert found is not None and found.whole and found.user == "ann" and found.until_ms - found.at_ms == 3_600_000
    assert b"[[EMAIL_1]]" in found.request and b"ann@" not in found.request
    assert b"example.com" not in found.reply


@pytest.mark.parametrize(
    ("store", "request_kept", "reply_kept"),
    [("{prompts: true}", True, False), ("{replies: true}", False, True), ("{}", None, None)],
)
async def test_only_what_the_route_says_is_kept(build_house: Build, store, request_kept, reply_kept):
    house = await build_house(kept(store))
    house.provider("main").says("hello")
    found = await body(house, (await house.ask("hi")).id)
    if request_kept is None:
        assert found is None
    else:
        assert (found.request is not None, found.reply is not None) == (request_kept, reply_kept)


async def test_a_route_that_says_nothing_keeps_nothing_and_hands_on_the_very_reply(build_house: Build):
    house = await build_house(kept())
    house.provider("main").says("hello")
    assert await body(house, (await house.ask("hi", route="silent")).id) is None


async def test_what_was_longer_than_is_kept_is_not_kept_and_says_so(build_house: Build):
    house = await build_house(kept("{prompts: true, replies: true, max_bytes: 300}"))
    house.provider("main").says("x" * 500)
    found = await body(house, (await house.ask("hi")).id)
    assert (found.reply, found.whole) == (None, False) and found.request is not None


async def test_of_an_answer_whose_client_left_what_came_is_kept(build_house: Build):
    house = await build_house(kept())
    house.provider("main").says(("hello there ", "and more"), cut_off=1, then="stall")
    asking = house.begin("hi")
    await asking.heard("hello")
    asking.leave()
    await until(lambda: asking.task.done())
    id = dict(asking.sent[0]["headers"])[b"x-tidegate-request-id"].decode()
    await until(lambda: not house.app.world.flights)
    found = await body(house, id)
    assert found is not None and not found.whole and b"hel" in found.reply


async def test_bodies_leave_when_their_time_is_over(build_house: Build):
    house = await build_house(kept())
    house.provider("main").says("hello")
    reply = await house.ask("hi")
    found = await body(house, reply.id)
    store = house.app.gateway.archive._bodies
    assert await store.forget(found.until_ms, 10) == 0
    assert await store.forget(found.until_ms + 1, 10) == 1
    assert await body(house, reply.id) is None


async def test_what_is_too_much_to_wait_is_dropped_and_told_once(build_house: Build):
    house = await build_house(kept())
    store = house.app.gateway.archive._bodies
    store._most = 100
    house.provider("main").says("hello")
    assert await body(house, (await house.ask("hi")).id) is None
    assert store.dropped == 1
    page = (await house.get("/metrics")).body.decode()
    assert 'tidegate_bodies_total{outcome="dropped"} 1.0' in page


async def test_a_body_is_read_by_an_administrator_and_that_is_told(build_house: Build):
    house = await build_house(kept() + "audit: {enabled: true}\n")
    house.provider("main").says("hello")
    id = (await house.ask("hi")).id
    shown = (await house.get(f"/admin/bodies/{id}")).events[0]
    assert '"hi"' in shown["request"] and "hello" in shown["reply"]
    await house.app.world.ledger.flush()
    archive = house.app.gateway.archive
    (act,) = [await archive.entry(one) for one in await archive.log.latest(2**62, "~", 9) if one.id[:3] == "act"]
    assert (act["did"], act["of"]) == ("body_read", id)


async def test_a_time_that_is_none_is_an_error_that_says_which(build_house: Build):
    with pytest.raises(Exception, match=r"routes\.fast\.store\.ttl: must be longer than nothing"):
        await build_house(kept("{prompts: true, ttl: 0s}"))
