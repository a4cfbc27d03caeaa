"""Guards that look at answers when they are whole: every dialect, streamed or not, and what nobody can look at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.house import Build, Reply
from tests.rawserver import Server, once, serving
from tests.stages.guardrails.test_asking import JUDGE, Service
from tests.stages.guardrails.test_guardrails import ask, words
from tidegate.core.values import Duration
from tidegate.stages.guardrails import bodies

PIECES = ["buy pluto", "nium ", "today"]
SAID = "buy plutonium today"


@pytest.fixture
async def there() -> AsyncIterator[tuple[Server, Service]]:
    async with serving() as server:
        server.script = service = Service()
        yield server, service


def guarded(*guards: str, more: str = "", main: str = "{type: scripted}") -> str:
    return f"""
logs: {{calls: false}}
providers:
  main: {main}
  judge: {{type: scripted, price: {{input: 1, output: 1}}}}
routes:
  fast:
    targets: [{{provider: main, model: m}}]
    guardrails: {{output: [{", ".join(guards)}]}}
{more}"""


def hook(server: Server, action: str, more: str = "") -> str:
    return f"{{type: webhook, url: '{server.url}/look', secret: s3cret, action: {action}{more}}}"


def verdicts(reply: Reply) -> list[tuple[str, str, str]]:
    return [(one.guard, one.direction, one.verdict) for one in reply.row.guards]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["chat", "completions", "messages"])
@pytest.mark.parametrize("verdict", ["pass", "flag", "mask", "block"])
async def test_a_service_looks_at_the_whole_of_an_answer(
    build_house: Build, there: tuple[Server, Service], kind: str, verdict: str, stream: bool
):
    server, service = there
    house = await build_house(guarded(hook(server, "mask" if verdict == "pass" else verdict)))
    pieces = ["nothing ", "of note"] if verdict == "pass" else PIECES
    house.provider("main").says(pieces)
    reply = await ask(house, kind, "hi", stream=stream)
    asked = json.loads(service.asked[-1].body)
    assert asked["direction"] == "output"
    assert asked["texts"] == [{"path": "0.text", "role": "assistant", "text": "".join(pieces)}]
    assert verdicts(reply) == [("webhook", "output", verdict)]
    if verdict == "block":
        assert (reply.status, reply.row.error) == (400, "guardrail_blocked")
        assert b"pluto" not in reply.body
    else:
        assert words(reply) == "".join(pieces).replace("plutonium", "[MATTER]" if verdict == "mask" else "plutonium")
        assert reply.row.outcome == "ok"


async def test_what_is_only_flagged_streams_by(build_house: Build, there: tuple[Server, Service]):
    server, _ = there
    house = await build_house(guarded(hook(server, "flag")))
    house.provider("main").says(PIECES, between=Duration(1))
    reply = await house.ask("hi", stream=True)
    assert len([line for line in reply.body.splitlines() if b'"content"' in line]) >= len(PIECES)
    assert verdicts(reply) == [("webhook", "output", "flag")]


async def test_guards_that_look_word_by_word_come_first(build_house: Build, there: tuple[Server, Service]):
    server, service = there
    house = await build_house(guarded(hook(server, "mask"), "{type: pii, action: mask}"))
    house.provider("main").says(["plutonium for bob@exa", "mple.com"])
    reply = await house.ask("hi", stream=True)
    assert json.loads(service.asked[-1].body)["texts"][0]["text"] == "plutonium for [EMAIL]"
    assert words(reply) == "[MATTER] for [EMAIL]"
    assert sorted(verdicts(reply)) == [("pii", "output", "mask"), ("webhook", "output", "mask")]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("on_failure", "status"), [("closed", 503), ("open", 200)])
async def test_a_service_that_fails_has_no_verdict(
    build_house: Build, there: tuple[Server, Service], on_failure: str, status: int, stream: bool
):
    server, service = there
    service.status = b"500 Oh"
    house = await build_house(guarded(hook(server, "block", f", on_failure: {on_failure}")))
    house.provider("main").says(PIECES)
    reply = await house.ask("hi", stream=stream)
    assert (reply.status, verdicts(reply)) == (status, [])
    assert (SAID in words(reply)) == (status == 200)


@pytest.mark.parametrize("action", ["flag", "mask"])
@pytest.mark.parametrize("on_failure", ["closed", "open"])
async def test_an_answer_that_is_too_long_was_not_looked_at(
    build_house: Build, there: tuple[Server, Service], on_failure: str, action: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bodies, "MOST", 400)
    server, service = there
    house = await build_house(guarded(hook(server, action, f", on_failure: {on_failure}")))
    house.provider("main").says(["plutonium "] * 40)
    reply = await house.ask("hi", stream=True)
    assert verdicts(reply) == [] and not service.asked
    assert (words(reply) == "plutonium " * 40) == (on_failure == "open")
    assert (b"guardrail_failed" in reply.body) == (on_failure == "closed")


async def test_of_an_answer_that_breaks_off_nothing_is_shown(build_house: Build, there: tuple[Server, Service]):
    server, service = there
    house = await build_house(guarded(hook(server, "mask")))
    house.provider("main").says(PIECES, cut_off=True)
    reply = await house.ask("hi", stream=True)
    assert b"pluto" not in reply.body and not service.asked
    assert verdicts(reply) == []


async def test_who_leaves_while_an_answer_is_looked_at_leaves_nothing_behind(
    build_house: Build, there: tuple[Server, Service]
):
    server, _ = there
    house = await build_house(guarded(hook(server, "mask", ", timeout: 5s")))
    held: list[object] = []

    async def waits(peer: object) -> None:
        held.append(peer)
        await house.clock.sleep(60)

    server.script = waits  # type: ignore[assignment]
    house.provider("main").says(PIECES)
    asking = house.begin("hi", stream=True)
    while not held:
        await house.clock.sleep(0.1)
    asking.leave()
    await house.clock.sleep(10)
    assert not house.app.world.flights


async def test_a_model_is_asked_about_an_answer(build_house: Build):
    house = await build_house(guarded("{type: model, route: judging, forbidden: weapons, action: mask}", more=JUDGE))
    house.provider("main").says(PIECES)
    house.provider("judge").says('{"findings": [{"text": 0, "rule": "weapons", "quote": "plutonium"}]}')
    reply = await house.ask("hi")
    assert reply.text == "buy [WEAPONS] today" and verdicts(reply) == [("model", "output", "mask")]


async def test_a_model_that_guards_its_own_route_is_not_asked_about_its_own_answers(build_house: Build):
    house = await build_house(guarded("{type: model, route: fast, forbidden: weapons, action: block}"))
    house.provider("main").says("hello")
    house.provider("main").says('{"findings": []}')
    reply = await house.ask("hi")
    assert verdicts(reply) == [("model", "output", "pass")]
    assert len(house.provider("main").requests) == 2


async def test_an_answer_whose_meaning_nobody_knows_is_looked_at_string_by_string(
    build_house: Build, there: tuple[Server, Service]
):
    server, service = there
    async with serving() as far:
        main = f"{{type: openai, base_url: '{far.url}/v1', keys: [sk-test-123456789]}}"
        house = await build_house(guarded(hook(server, "mask"), main=main))
        said = json.dumps({"output": [{"text": "buy plutonium"}], "n": 1.5}).encode()
        far.script = once(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(said) + said
        )
        body = json.dumps({"model": "fast", "input": "hi"}).encode()
        reply = await house.begin(path="/v1/responses", body=body).reply()
    assert json.loads(reply.body) == {"output": [{"text": "buy [MATTER]"}], "n": 1.5}
    assert [one["text"] for one in json.loads(service.asked[-1].body)["texts"]] == ["buy plutonium"]
    assert verdicts(reply) == [("webhook", "output", "mask")]
