"""The same is told once in a while with how often it was, what is silenced to nobody, what is over as being over."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.house import TWO_PROVIDERS, Build, House, until
from tests.telemetry.receiver import Receiver, receiving
from tidegate.telemetry.settings import Settings


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    async with receiving("/hook") as found:
        yield found


EVENTS = "events: [loop_stopped, store_down, breaker_open]"


def text(url: str, more: str = "", hook: str = "secret: s") -> str:
    return f'alerts: {{webhooks: [{{url: "{url}", {hook}, {EVENTS}}}]{more}}}\nlimits: {{}}\n{TWO_PROVIDERS}'


@pytest.fixture
async def told(build_house: Build, receiver: tuple[Receiver, str]) -> House:
    house = await build_house(text(receiver[1]))
    house.clock.hold()
    return house


def notice(house: House, name: str, **fields: Any) -> None:
    house.app.world.events.notice(name, fields)


async def bodies(heard: Receiver, count: int) -> list[Any]:
    await until(lambda: len(heard.heard) >= count)
    assert len(heard.heard) == count
    return [json.loads(body) for _, body in heard.heard]


async def later(house: House, seconds: float) -> None:
    await house.clock.advance(seconds)
    house.app.gateway.outlets.take_up()


async def test_the_same_is_told_once_and_then_how_often_it_was(told: House, receiver):
    for calls in range(5):
        notice(told, "loop_stopped", key="k", calls=calls)
    await bodies(receiver[0], 1)
    await later(told, 599)
    await bodies(receiver[0], 1)
    await later(told, 2)
    _, again = await bodies(receiver[0], 2)
    assert (again["times"], again["fields"]["calls"]) == (4, 4) and "(4 times)" in again["text"]
    await later(told, 601)  # nothing happened: it is forgotten
    notice(told, "loop_stopped", key="k", calls=9)
    assert (await bodies(receiver[0], 3))[-1]["times"] == 1


async def test_the_same_of_another_key_is_another(told: House, receiver):
    notice(told, "loop_stopped", key="k")
    notice(told, "loop_stopped", key="l")
    assert [one["fields"]["key"] for one in await bodies(receiver[0], 2)] == ["k", "l"]


async def test_each_is_told_where_every_is_0(build_house: Build, receiver):
    house = await build_house(text(receiver[1], ", every: 0s"))
    for _ in range(3):
        notice(house, "loop_stopped", key="k")
    await bodies(receiver[0], 3)


async def test_what_is_over_is_told_to_whoever_was_told_that_it_began(told: House, receiver):
    notice(told, "store_back", database="d")
    notice(told, "store_down", database="d", error="gone")
    notice(told, "store_back", database="d")
    notice(told, "store_down", database="d", error="gone")
    found = await bodies(receiver[0], 3)
    assert [(one["event"], one["state"]) for one in found] == [
        *[("store_down", "fired"), ("store_down", "resolved"), ("store_down", "fired")],
    ]
    assert found[1]["text"].startswith("Tidegate: over: store_down")


async def test_a_breaker_that_opens_and_closes_is_told(build_house: Build, receiver):
    house = await build_house(text(receiver[1]))
    for said in ("open", "reset"):
        body = json.dumps({"breaker": said}).encode()
        reply = await house.begin(path="/admin/targets/main/m", body=body).reply()
        assert reply.status == 200, reply.body
    found = await bodies(receiver[0], 2)
    assert [(one["event"], one["state"], one["fields"]["target"]) for one in found] == [
        *[("breaker_open", "fired", "main/m"), ("breaker_open", "resolved", "main/m")],
    ]


@pytest.mark.parametrize("name", ["loop_stopped", "all"])
async def test_what_is_silenced_is_told_to_nobody_until_its_time_is_over(told: House, receiver, name: str):
    done = await told.begin(path=f"/admin/alerts/{name}/silence", method="PUT", body=b'{"for": "10m"}').reply()
    assert done.status == 200, done.body
    notice(told, "loop_stopped", key="k")
    listed = (await told.get("/admin/alerts")).events[0]
    assert [one["name"] for one in listed["silences"]] == [name]
    assert [one["outcome"] for one in listed["lately"]] == ["silenced"]
    await later(told, 601)
    assert (await told.get("/admin/alerts")).events[0]["silences"] == []
    notice(told, "loop_stopped", key="k")
    assert len(await bodies(receiver[0], 1)) == 1


async def test_a_silence_can_be_ended(told: House, receiver):
    path = "/admin/alerts/loop_stopped/silence"
    await told.begin(path=path, method="PUT", body=b"{}").reply()
    await told.begin(path=path, method="DELETE", body=b"").reply()
    notice(told, "loop_stopped", key="k")
    await bodies(receiver[0], 1)


async def test_a_silence_is_known_to_every_process_and_after_a_restart(told: House):
    world = told.app.world
    await told.app.gateway.outlets.settings.put("silence:all", "silenced", 60, "k")
    other = Settings(world.store, world.clock)
    assert other.get("silence:all") is None
    await other.look()
    found = other.get("silence:all")
    assert found is not None and found.by == "k"


async def test_a_silence_stands_in_the_audit_log(build_house: Build, receiver):
    house = await build_house(text(receiver[1]) + "audit: {enabled: true}\n")
    await house.begin(path="/admin/alerts/all/silence", method="PUT", body=b"{}").reply()
    await house.app.world.ledger.flush()
    assert "alert_silenced" in (await house.get("/admin/audit?limit=5")).body.decode()


@pytest.mark.parametrize(
    ("name", "body", "status", "words"),
    [
        ("loop_stoped", b"{}", 404, "no alert 'loop_stoped'"),
        ("all", b'{"for": "x"}', 400, "for: how long is expected"),
        ("all", b'{"for": "0s"}', 400, "for: how long is expected"),
        ("all", b'{"for": "400d"}', 400, "30 days at most"),
        ("all", b'{"fro": "1h"}', 400, "fro"),
    ],
)
async def test_a_silence_that_cannot_be_is_told(told: House, name: str, body: bytes, status: int, words: str):
    reply = await told.begin(path=f"/admin/alerts/{name}/silence", method="PUT", body=body).reply()
    assert reply.status == status and words in (reply.error.message or "")


async def test_a_test_says_who_takes_it_and_who_does_not(told: House, receiver):
    receiver[0].answers = [200, 404]
    for said in (None, "it answers 404"):
        reply = await told.begin(path="/admin/alerts/test", body=b"").reply()
        assert list(reply.events[0]["taken"].values()) == [said]
    assert json.loads(receiver[0].heard[0][1])["event"] == "test"


async def test_a_test_with_nobody_to_tell_says_what_to_set(house: House):
    reply = await house.begin(path="/admin/alerts/test", body=b"").reply()
    assert reply.status == 404 and "alerts.webhooks" in (reply.error.message or "")


async def test_a_channel_of_slack_is_sent_a_message_and_no_mention(build_house: Build, receiver):
    house = await build_house(text(receiver[1], hook="form: slack"))
    receiver[0].kind = "text/html"  # as Slack does
    notice(house, "loop_stopped", key="<!channel> & co", calls=9)
    (found,) = await bodies(receiver[0], 1)
    assert set(found) == {"text", "blocks"} and "<" not in found["text"] + found["blocks"][0]["text"]["text"]
    assert "*loop_stopped*" in found["blocks"][0]["text"]["text"] and "calls: 9" in found["text"]
    headers = receiver[0].heard[0][0]
    assert "x-tidegate-signature" not in headers
    await until(lambda: house.app.gateway.outlets.alerts.lines[0].sent == 1)


async def test_how_many_are_remembered_is_bounded(told: House):
    alerts = told.app.gateway.outlets.alerts
    for at in range(2_500):
        notice(told, "loop_stopped", key=f"k{at}")
    assert len(alerts._told) <= 1_000 and len(alerts._open) <= 1_000 and len(alerts.lately) <= 50
