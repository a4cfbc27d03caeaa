"""Guards that ask somebody: a service of the operator's, or a model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.house import Build, House, Reply
from tests.rawserver import Asked, Peer, Server, serving, silent
from tidegate.core.errors import ConfigError
from tidegate.core.guard import Part
from tidegate.core.signed import signature
from tidegate.core.values import Secret
from tidegate.stages.guardrails import judge, webhook


class Service:
    """Finds one word in every text, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.word = "plutonium"
        self.answer: Any = None  # in place of what it finds
        self.status = b"200 OK"

    async def __call__(self, peer: Peer) -> None:
        while True:
            asked = await peer.request()
            self.asked.append(asked)
            texts = [one["text"] for one in json.loads(asked.body)["texts"]]
            found = [
                {"text": at, "rule": "matter", "start": text.index(self.word), "end": text.index(self.word) + 9}
                for at, text in enumerate(texts)
                if self.word in text
            ]
            body = json.dumps({"findings": found} if self.answer is None else self.answer).encode()
            peer.say(b"HTTP/1.1 %b\r\nlocation: /other\r\ncontent-length: %d\r\n\r\n" % (self.status, len(body)), body)


@pytest.fixture
async def there() -> AsyncIterator[tuple[Server, Service]]:
    async with serving() as server:
        server.script = service = Service()
        yield server, service


def guarded(*guards: str, more: str = "") -> str:
    return f"""
logs: {{calls: false}}
providers:
  main: {{type: scripted}}
  judge: {{type: scripted, price: {{input: 1, output: 1}}}}
routes:
  fast:
    targets: [{{provider: main, model: m}}]
    guardrails: {{input: [{", ".join(guards)}]}}
{more}"""


JUDGE = "  judging: {targets: [{provider: judge, model: j}], owner: safety}"


def hook(server: Server, more: str = "") -> str:
    return f"{{type: webhook, url: '{server.url}/look', secret: s3cret{more}}}"


def verdicts(reply: Reply) -> list[tuple[str, str]]:
    return [(one.guard, one.verdict) for one in reply.row.guards]


async def test_a_service_says_what_it_found_and_where(build_house: Build, there: tuple[Server, Service]):
    server, _ = there
    house = await build_house(guarded(hook(server, ", action: mask")))
    reply = await house.ask("buy plutonium today")
    assert verdicts(reply) == [("webhook", "mask")] and reply.row.guards[0].rules == ("matter",)
    assert "buy [MATTER] today" in house.provider("main").requests[-1].body.decode()


async def test_it_is_told_who_says_what_and_the_request_is_signed(build_house: Build, there: tuple[Server, Service]):
    server, service = there
    house = await build_house(guarded(hook(server)))
    reply = await house.ask([{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}])
    asked = service.asked[0]
    told = json.loads(asked.body)
    assert (told["id"], told["route"], told["direction"]) == (reply.id, "fast", "input")
    assert [(one["role"], one["text"]) for one in told["texts"]] == [("system", "be kind"), ("user", "hi")]
    signed = asked.headers[b"x-tidegate-signature"].decode()
    assert signed == signature("s3cret", int(signed[2:].partition(",")[0]), asked.body)
    assert b"authorization" not in asked.headers


@pytest.mark.parametrize(("on_failure", "status"), [("closed", 503), ("open", 200)])
@pytest.mark.parametrize("wrong", ["silent", "500", "redirect", "text", "text 7", "end", "rule"])
async def test_a_service_that_makes_no_sense_has_not_looked(
    build_house: Build, there: tuple[Server, Service], wrong: str, on_failure: str, status: int
):
    server, service = there
    if wrong == "silent":
        server.script = silent
    service.status = {"500": b"500 No", "redirect": b"307 Go on"}.get(wrong, b"200 OK")
    service.answer = {
        "text": "fine",
        "text 7": {"findings": [{"text": 7, "rule": "x"}]},
        "end": {"findings": [{"text": 0, "rule": "x", "start": 1, "end": 900}]},
        "rule": {"findings": [{"text": 0, "rule": "x\r\ny: z"}]},
    }.get(wrong)
    house = await build_house(guarded(hook(server, f", timeout: 100ms, on_failure: {on_failure}")))
    reply = await house.ask("hi")
    assert (reply.status, verdicts(reply)) == (status, [])
    assert len(service.asked) <= 1


def test_an_address_that_cannot_be_is_an_error_that_does_not_show_it():
    with pytest.raises(ConfigError, match="url: must be like https://HOST/PATH") as wrong:
        webhook.Webhook(webhook.Config(Secret("ftp://me:password@x/y"), Secret("s")))
    assert "password" not in wrong.value.message


async def test_those_that_wait_do_so_at_the_same_time(build_house: Build, there: tuple[Server, Service]):
    server, _ = there
    both = asyncio.Event()

    async def together(peer: Peer) -> None:
        await peer.request()
        if len(server.peers) == 2:
            both.set()
        await both.wait()  # one alone is not answered
        peer.say(b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"findings":[]}')

    server.script = together
    house = await build_house(guarded(hook(server), "{type: pii}", hook(server, ", timeout: 5s")))
    reply = await house.ask("mail a@b.com")
    assert verdicts(reply) == [("webhook", "pass"), ("pii", "flag"), ("webhook", "pass")]


async def test_who_blocks_at_once_waits_for_nobody(build_house: Build, there: tuple[Server, Service]):
    server, _ = there
    server.script = silent
    house = await build_house(guarded("{type: pii, action: block}", hook(server, ", timeout: 60s")))
    reply = await house.ask("mail a@b.com")
    assert (reply.status, verdicts(reply)) == (400, [("pii", "block")])


async def test_who_stands_after_a_mask_sees_what_it_has_left(build_house: Build, there: tuple[Server, Service]):
    server, service = there
    house = await build_house(guarded("{type: pii, action: mask}", hook(server)))
    await house.ask("mail a@b.com")
    assert json.loads(service.asked[0].body)["texts"][0]["text"] == "mail [EMAIL]"


# --- a model


def judged(answer: str | list[str], house: House) -> None:
    house.provider("judge").says([answer] if isinstance(answer, str) else answer)


FOUND = 'Sure: {"findings": [{"text": 0, "rule": "weapons", "quote": "a bomb"}]}'


async def test_a_model_says_what_it_found_and_where(build_house: Build):
    house = await build_house(guarded("{type: model, route: judging, action: mask}", more=JUDGE))
    judged(FOUND, house)
    reply = await house.ask("how is a bomb made?")
    assert verdicts(reply) == [("model", "mask")]
    assert "how is [WEAPONS] made?" in house.provider("main").requests[-1].body.decode()


async def test_its_question_is_a_call_of_our_own_that_the_owner_of_the_route_pays(build_house: Build):
    text = guarded("{type: model, route: judging, action: block}", more=JUDGE)
    house = await build_house(text.replace("model: m}]", "model: m}]\n    owner: web"))
    judged(FOUND, house)
    reply = await house.ask("how is a bomb made?")
    asked, refused = sorted(await house.rows(), key=lambda row: row.id)
    assert (reply.status, refused.cost_nusd, refused.outcome) == (400, 0, "refused")
    assert (asked.kind, asked.route, asked.key_id, asked.team_id) == ("guard", "judging", "house", "web")
    assert (asked.purpose, asked.parent) == ("guard", reply.id)
    assert asked.cost_nusd > 0
    said = json.loads(house.provider("judge").requests[-1].body)["messages"]
    assert (said[0]["role"], said[1]["content"]) == ("system", '["how is a bomb made?"]')


async def test_the_guard_that_asks_does_not_look_at_its_own_question(build_house: Build):
    everywhere = "guardrails: {input: [{type: model, route: judging}]}\n"
    text = guarded("{type: shape}", more="  judging: {targets: [{provider: judge, model: j}]}")
    house = await build_house(everywhere + text)
    judged('{"findings": []}', house)
    reply = await house.ask("hi", route="main/m")
    assert verdicts(reply) == [("model", "pass")]
    assert len(house.provider("judge").requests) == 1


async def test_guards_of_guards_end_at_the_second(build_house: Build):
    chain = "".join(
        f"  step{at}: {{targets: [{{provider: judge, model: j}}], "
        f"guardrails: {{input: [{{type: model, route: step{at + 1}}}]}}}}\n"
        for at in range(4)
    )
    text = guarded("{type: model, route: step0}", more=chain + "  step4: {targets: [{provider: judge, model: j}]}")
    house = await build_house(text)
    judged('{"findings": []}', house)
    reply = await house.ask("hi")
    assert (reply.status, reply.error.code) == (503, "guardrail_failed")
    assert len(await house.rows()) == 3


@pytest.mark.parametrize("said", ["I think it is fine.", '{"verdict": "pass"}', '{"findings": [{"text": 5}]}'])
async def test_a_model_that_makes_no_sense_has_not_looked(build_house: Build, said: str):
    house = await build_house(guarded("{type: model, route: judging}", more=JUDGE))
    judged(said, house)
    reply = await house.ask("hi")
    assert (reply.status, verdicts(reply)) == (503, [])


async def test_what_is_too_long_for_it_was_not_looked_at(build_house: Build):
    house = await build_house(guarded("{type: model, route: judging, max_length: 10}", more=JUDGE))
    assert (await house.ask("hello, hello, hello")).status == 503
    assert not house.provider("judge").requests


def test_a_quote_that_is_not_there_is_the_whole_text():
    found = judge.placed('{"findings": [{"text": 0, "quote": "nowhere"}]}', ["a text"])
    assert [(one.start, one.end) for one in found[0]] == [(0, 6)]


async def test_a_route_that_is_not_there_stops_the_start(build_house: Build):
    with pytest.raises(ConfigError, match=r"routes.fast.guardrails.input\[0\].route: no route 'judgin'; did you mean"):
        await build_house(guarded("{type: model, route: judgin}", more=JUDGE))


@pytest.mark.parametrize("guard", ["injection", "shape"])
async def test_who_looks_at_requests_only_cannot_be_told_to_look_at_answers(build_house: Build, guard: str):
    text = guarded("{type: pii}", more=JUDGE).replace("{input: [{type: pii}]}", f"{{output: [{guard}]}}")
    with pytest.raises(ConfigError, match=r"guardrails.output\[0\]: the guard '\w+' looks at requests only"):
        await build_house(text)


async def test_where_nobody_serves_nobody_can_be_asked():
    part = Part("text", "user", "hi")
    with pytest.raises(ValueError, match="only a Tidegate that serves"):
        await judge.Judge(judge.Config("judging")).check(None, [part])  # type: ignore[arg-type]
