"""What was said stands in traces where its route allows it, as guards let it pass, and not where the client says no."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.house import Build, House
from tests.telemetry.receiver import Receiver, receiving
from tests.telemetry.test_traces import Seen, spans
from tidegate import config
from tidegate.app import codecs
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Body
from tidegate.providers.scripted.script import Tool
from tidegate.telemetry import traces
from tidegate.telemetry.traces.content import MOST_READ, MOST_TOLD, Content, content_of

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
ROUTES = """
logs: {calls: false}
limits: {}
budgets: {default_day: 0}
providers: {main: {type: scripted}}
routes:
  fast:
    targets: [{provider: main, model: m}]
    store: {traces: true}
    cache: {exact: true}
    guardrails: {input: [{type: pii, action: placeholder}], output: [{type: pii, action: mask}]}
  silent:
    targets: [{provider: main, model: m}]
"""
ASKED, ANSWERED, SYSTEM = "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    async with receiving() as found:
        yield found


@pytest.fixture
async def traced(build_house: Build, receiver: tuple[Receiver, str]) -> House:
    return await build_house(f'traces: {{to: [{{url: "{receiver[1]}"}}]}}\n{ROUTES}')


def said(seen: list[Seen], name: str) -> list[Any]:
    return [json.loads(span.said[name]) for span in seen if name in span.said]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_what_was_said_stands_at_the_attempt_that_answered(traced: House, receiver, path: str, stream: bool):
    traced.provider("main").says(status=503)
    traced.provider("main").says("hello")
    await traced.ask("hi", path=path, stream=stream, max_tokens=9)
    seen = await spans(receiver[0])
    assert [ASKED in span.said for span in seen] == [False, False, False, True]
    assert said(seen, ASKED) == [[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]]
    assert said(seen, ANSWERED) == [
        [{"role": "assistant", "parts": [{"type": "text", "content": "hello"}], "finish_reason": "stop"}]
    ]


async def test_what_guards_masked_is_in_none(traced: House, receiver):
    traced.provider("main").says("ask [[EMAIL_1]] or eve@example.com")
    reply = await traced.ask("I am ann@example.com")
    assert "ann@example.com" in reply.text
    seen = await spans(receiver[0])
    assert "[[EMAIL_1]]" in str(said(seen, ASKED)) and "[EMAIL]" in str(said(seen, ANSWERED))
    assert not [body for _, body in receiver[0].heard if b"example.com" in traces.gzip.decompress(body)]


async def test_a_client_that_says_no_is_in_none(traced: House, receiver):
    await traced.ask(headers={"x-tidegate-trace-content": "off"})
    assert not said(await spans(receiver[0]), ASKED)


async def test_a_client_cannot_say_yes_where_its_route_does_not(traced: House, receiver):
    await traced.ask(route="silent", headers={"x-tidegate-trace-content": "on"})
    seen = await spans(receiver[0])
    assert len(seen) == 3 and not said(seen, ASKED)


async def test_of_a_refusal_by_a_guard_nothing_is_told(build_house: Build, receiver):
    text = ROUTES.replace("input: [{type: pii, action: placeholder}]", "input: [{type: pii, action: block}]")
    house = await build_house(f'traces: {{to: [{{url: "{receiver[1]}"}}]}}\n{text}')
    assert (await house.ask("I am ann@example.com")).status == 400
    assert not said(await spans(receiver[0]), ASKED)


async def test_what_a_cache_answered_stands_at_our_step(traced: House, receiver):
    for _ in range(2):
        await traced.ask("hi")
    seen = await spans(receiver[0], calls=2)
    assert [span.name for span in seen if ASKED in span.said] == ["chat m", "tidegate chat fast"]


async def test_it_is_nothing_that_is_stored(traced: House, receiver):
    reply = await traced.ask("hi")
    await spans(receiver[0])
    assert await traced.app.gateway.archive.body(reply.id or "") is None


async def test_a_client_that_leaves_is_told_with_what_had_come(traced: House, receiver):
    traced.provider("main").says(("hello there ", "and more"), cut_off=1, then="stall")
    asking = traced.begin("hi")
    await asking.heard("hello")
    asking.leave()
    (answer,) = said(await spans(receiver[0]), ANSWERED)
    assert answer[0]["parts"][0]["content"] == "hello there " and answer[0]["finish_reason"] == "error"


async def test_tools_and_instructions_have_their_places(traced: House, receiver):
    traced.provider("main").says(tools=(Tool("look", '{"at": 1}'),))
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    called = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 0}}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "see"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "I look"}, called]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "nothing"}]},
    ]
    await traced.ask(turns, path="/v1/messages", system="be brief", tools=tools, max_tokens=9, stream=False)
    seen = await spans(receiver[0])
    assert said(seen, SYSTEM) == [[{"type": "text", "content": "be brief"}]]
    (asked,), (answered,) = said(seen, ASKED), said(seen, ANSWERED)
    assert [one["role"] for one in asked] == ["user", "assistant", "tool"]
    assert [part["type"] for part in asked[1]["parts"]] == ["text", "tool_call"]
    assert asked[2]["parts"] == [{"type": "tool_call_response", "id": "t1", "response": "nothing"}]
    assert answered[0]["finish_reason"] == "tool_call" and answered[0]["parts"][0]["name"] == "look"


def body(request: Any, reply: bytes | None = None, dialect: str = "openai") -> Body:
    text = request if isinstance(request, bytes) else json.dumps(request).encode()
    return Body("req_1", 1, 2, "t", None, None, "k", dialect, text, dialect, reply)


def content(one: Body, operation: str = "chat") -> Content:
    return content_of(codecs(), operation, one)


def test_the_newest_of_a_long_conversation_is_told_and_that_it_is_cut() -> None:
    turns = [{"role": "user", "content": f"{at} " + "é" * 1_500} for at in range(20)]
    told = content(body({"model": "m", "messages": turns}))
    kept = json.loads(told.asked)
    assert len(told.asked) <= MOST_TOLD and told.cut
    assert kept[-1]["parts"][0]["content"].startswith("19 ") and len(kept) < 20


def test_one_long_text_is_cut_and_stays_json() -> None:
    told = content(body({"model": "m", "messages": [{"role": "user", "content": "x" * 100_000}]}))
    assert told.cut and json.loads(told.asked)[0]["parts"][0]["content"].endswith("…[cut]")


def test_what_is_longer_than_is_read_is_not_told() -> None:
    assert content(body(b" " * (MOST_READ + 1))) == Content(cut=True)


def test_pictures_are_named_and_left_out() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
        {"type": "text", "text": "?"},
    ]
    told = content(body({"model": "m", "messages": [{"role": "user", "content": parts}]}))
    kinds = [part["type"] for part in json.loads(told.asked)[0]["parts"]]
    assert kinds == ["left_out", "text"] and b"aGVsbG8" not in told.asked


@pytest.mark.parametrize(
    ("operation", "asked", "words"),
    [("complete", {"prompt": "once"}, ["once"]), ("complete", {"prompt": ["a", "b"]}, ["a", "b"]),
     ("embed", {"input": "vector"}, ["vector"])],
)  # fmt: skip
def test_what_is_no_conversation_is_told_by_its_texts(operation: str, asked: dict[str, Any], words: list[str]) -> None:
    told = json.loads(content(body({"model": "m"} | asked), operation).asked)
    assert [one["parts"][0]["content"] for one in told] == words


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"messages": 3}', b"[" * 2000])
def test_what_makes_no_sense_is_told_as_nothing(text: bytes) -> None:
    assert content(body(text, text)) == Content()


def test_an_answer_of_anthropic_is_read_as_it_came() -> None:
    reply = (TRANSCRIPTS / "anthropic-thinking.sse").read_bytes()
    (answer,) = json.loads(content(body({"model": "m"}, reply, "anthropic")).answered)
    assert [part["type"] for part in answer["parts"]] == ["reasoning", "text"]


def test_of_words_only_so_many_wait_and_the_newest_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MOST_WORDS", 25)
    steps = [traces.Step(None, body(b"x" * 10)) for _ in range(3)]  # type: ignore[arg-type]
    line = object.__new__(traces.Line)
    line._steps = steps
    line._trim()
    assert [step.said is not None for step in steps] == [False, True, True]


def test_a_route_that_would_tell_nobody_is_told() -> None:
    with pytest.raises(ConfigError, match=r"routes.fast.store.traces: is of no use while nobody is sent any"):
        config.parse(ROUTES, {})


def test_off_costs_nothing_and_hands_on_the_very_reply() -> None:
    assert not config.parse(ROUTES.replace("store: {traces: true}", ""), {}).routes["fast"].store.traces
    assert msgspec.structs.asdict(config.RouteConfig(targets=()).store)["traces"] is False
