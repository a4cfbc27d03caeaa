"""What any provider says reads as a message of Anthropic's, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.anthropic.test_wire import decoded, decoded_body, meaning
from tests.providers.folding import folded_anthropic, payloads
from tests.providers.openai.foreign import Foreign, replies
from tidegate.core.call import Event
from tidegate.core.chat import Began, Change, Channel, Delta, Finished, ToolBegan
from tidegate.core.errors import UpstreamCutOff
from tidegate.core.money import Usage
from tidegate.providers.anthropic.messages import Messages
from tidegate.providers.anthropic.wire import STOP

MESSAGES = Messages()
TEXT, THOUGHT, REFUSAL = Channel(), Channel(0, "reasoning"), Channel(0, "refusal")
FIRST, SECOND = Channel(0, "tool", 4), Channel(0, "tool", 7)


def streamed(events: list[Foreign], size: int = 1) -> bytes:
    encoder = MESSAGES.encoder(stream=True, wants_usage=True, request_id="r", model="asked")
    return b"".join(encoder.feed(events[at : at + size]) for at in range(0, len(events), size))


def whole(events: list[Foreign]) -> dict[str, Any]:
    encoder = MESSAGES.encoder(stream=False, wants_usage=True, request_id="r", model="asked")
    message: dict[str, Any] = json.loads(encoder.feed(events))
    return message


def reply(*said: Change, reason: Any = "stop", usage: Usage | None = None) -> list[Foreign]:
    changes = [Began("id", "model", 1), *said, Finished(0, reason)]
    return [*(Foreign(change) for change in changes), Foreign(last=True, usage=usage)]


def content(*said: Change) -> list[dict[str, Any]]:
    events = reply(*said)
    message = whole(events)
    assert folded_anthropic(streamed(events)) == message
    blocks: list[dict[str, Any]] = message["content"]
    return blocks


def call(id: str, name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": given}


# --- streamed and whole


@given(replies(), st.integers(1, 5))
def test_a_stream_adds_up_to_the_whole_message(events: list[Foreign], size: int) -> None:
    assert folded_anthropic(streamed(events, size)) == whole(events)


@given(replies())
def test_a_stream_is_the_same_however_the_events_came(events: list[Foreign]) -> None:
    assert streamed(events, 1) == streamed(events, 100)


@given(replies())
def test_what_we_write_we_can_read(events: list[Foreign]) -> None:
    stream = decoded(streamed(events))
    assert stream[-1].last and stream[-1].raw == STOP
    read = meaning(stream)
    body = meaning(decoded_body(json.dumps(whole(events)).encode()))
    assert (read.id, read.model, read.usage, read.finished) == (body.id, body.model, body.usage, body.finished)
    texts = (TEXT, THOUGHT)
    assert [read.texts.get(channel) for channel in texts] == [body.texts.get(channel) for channel in texts]
    assert list(read.tools.values()) == list(body.tools.values())


@given(replies())
def test_every_message_has_the_fields_that_sdks_require(events: list[Foreign]) -> None:
    for message in (whole(events), payloads(streamed(events))[0]["message"]):
        assert message["type"] == "message" and message["role"] == "assistant"
        assert {"id", "model", "content", "stop_reason", "stop_sequence", "usage"} <= message.keys()
        assert {"input_tokens", "output_tokens"} <= message["usage"].keys()
    (delta,) = [event for event in payloads(streamed(events)) if event["type"] == "message_delta"]
    assert delta["delta"]["stop_reason"] and delta["usage"]["output_tokens"] >= 0


@given(replies())
def test_the_name_of_an_event_is_its_type(events: list[Foreign]) -> None:
    for frame in streamed(events).split(b"\n\n")[:-1]:
        name, _, data = frame.partition(b"\n")
        assert name.removeprefix(b"event: ").decode() == json.loads(data.removeprefix(b"data: "))["type"]


# --- the blocks of a message


def test_text_and_thoughts_are_blocks_in_the_order_in_which_they_came() -> None:
    said = (Delta(THOUGHT, "H"), Delta(THOUGHT, "m"), Delta(TEXT, "4"), Delta(TEXT, "2"), Delta(THOUGHT, "ok"))
    assert content(*said) == [
        {"type": "thinking", "thinking": "Hm", "signature": ""},
        {"type": "text", "text": "42"},
        {"type": "thinking", "thinking": "ok", "signature": ""},
    ]


def test_calls_that_are_told_a_little_of_each_in_turn_are_told_one_after_the_other() -> None:
    said = (
        *(ToolBegan(FIRST, "a", "f"), ToolBegan(SECOND, "b", "g")),
        *(Delta(SECOND, '{"y"'), Delta(FIRST, '{"x"'), Delta(TEXT, "and"), Delta(FIRST, ":1}"), Delta(SECOND, ":2}")),
        Delta(TEXT, " so"),
    )
    assert content(*said) == [call("a", "f", x=1), call("b", "g", y=2), {"type": "text", "text": "and so"}]


def test_the_first_call_is_told_as_it_comes() -> None:
    encoder = MESSAGES.encoder(stream=True, wants_usage=True, request_id="r", model="m")
    encoder.feed(reply(ToolBegan(FIRST, "a", "f"))[:2])
    assert b'"partial_json":"{\\"x\\""' in encoder.feed([Foreign(Delta(FIRST, '{"x"'))])


def test_a_call_without_arguments_has_an_empty_input() -> None:
    assert content(ToolBegan(FIRST, "a", "f"), ToolBegan(SECOND, "b", "g")) == [call("a", "f"), call("b", "g")]


@pytest.mark.parametrize("arguments", ['{"x": oops', "[1]", "null", '"x"', "{}{}", "[" * 5_000])
def test_arguments_that_are_no_object_are_kept_as_they_came(arguments: str) -> None:
    events = reply(ToolBegan(FIRST, "a", "f"), Delta(FIRST, arguments))
    assert whole(events)["content"] == [call("a", "f", invalid_json=arguments)]


def test_arguments_keep_their_numbers() -> None:
    arguments = '{"x": 12345678901234567890.50, "y": 1e2}'
    encoder = MESSAGES.encoder(stream=False, wants_usage=True, request_id="r", model="m")
    assert arguments.encode() in encoder.feed(reply(ToolBegan(FIRST, "a", "f"), Delta(FIRST, arguments)))


def test_a_call_that_begins_twice_is_one_and_arguments_without_a_call_are_seen() -> None:
    twice = (ToolBegan(FIRST, "a", "f"), Delta(FIRST, '{"x":'), ToolBegan(FIRST, "a", "f"), Delta(FIRST, "1}"))
    assert content(*twice, Delta(SECOND, '{"y":2}')) == [call("a", "f", x=1), call("", "", y=2)]


def test_an_answer_of_nothing_is_a_message_of_nothing() -> None:
    assert content() == []


# --- its end


@pytest.mark.parametrize(
    ("said", "reason", "expected"),
    [
        ((Delta(TEXT, "a"),), "stop", "end_turn"),
        ((Delta(TEXT, "a"),), "length", "max_tokens"),
        ((Delta(TEXT, "a"),), "content_filter", "refusal"),
        ((Delta(TEXT, "a"),), "other", "end_turn"),
        ((ToolBegan(FIRST, "a", "f"),), "tool_calls", "tool_use"),
        ((ToolBegan(FIRST, "a", "f"),), "stop", "tool_use"),  # or an agent would not call it
        ((ToolBegan(FIRST, "a", "f"),), "length", "max_tokens"),
        ((Delta(REFUSAL, "I can't"),), "stop", "refusal"),  # or a client would take it for an answer
        ((Delta(REFUSAL, "I can't"),), "length", "max_tokens"),
    ],
)
def test_why_it_stopped(said: tuple[Change, ...], reason: str, expected: str) -> None:
    events = reply(*said, reason=reason)
    assert whole(events)["stop_reason"] == expected
    assert folded_anthropic(streamed(events))["stop_reason"] == expected


def test_a_reply_whose_provider_never_said_why_has_ended() -> None:
    assert whole([*Foreign.of("a"), Foreign(last=True)])["stop_reason"] == "end_turn"


def test_usage_is_told_at_the_end_by_anthropics_kinds() -> None:
    usage = Usage(input=10, cached_read=5, cached_write=3, audio_input=1, output=20, reasoning=7, audio_output=2)
    events = reply(Delta(TEXT, "a"), usage=usage)
    assert (
        whole(events)["usage"]
        == folded_anthropic(streamed(events))["usage"]
        == {
            "input_tokens": 11,
            "cache_read_input_tokens": 5,
            "cache_creation_input_tokens": 3,
            "output_tokens": 29,
            "output_tokens_details": {"thinking_tokens": 7},
        }
    )


def test_a_reply_that_breaks_does_not_look_complete() -> None:
    """The error follows, written by whoever sends the reply; after message_stop no client would read it."""
    events: list[Event] = [*Foreign.of("hel"), Event(last=True, error=UpstreamCutOff("cut off"))]
    broken = MESSAGES.encoder(stream=True, wants_usage=True, request_id="r", model="m").feed(events)
    broken += MESSAGES.render_error_event(UpstreamCutOff("cut off"), 502)
    kinds = [event["type"] for event in payloads(broken)]
    assert kinds == ["message_start", "content_block_start", "content_block_delta", "error"]
    assert MESSAGES.encoder(stream=False, wants_usage=True, request_id="r", model="m").feed(events) == b""


def test_a_reply_without_a_name_gets_one_of_ours() -> None:
    for message in (whole([Foreign(last=True)]), folded_anthropic(streamed([Foreign(last=True)]))):
        assert (message["id"], message["model"], message["content"]) == ("msg_r", "asked", [])
