"""What a client of Anthropic's messages sends goes out as it came, and is understood as far as it must be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_body import values, written_members
from tests.providers.anthropic.test_wire import decoded
from tidegate.core.errors import BadRequest, Internal, UpstreamFailed
from tidegate.providers.anthropic.count import Count
from tidegate.providers.anthropic.messages import Messages

MESSAGES = Messages()
HELLO = {"role": "user", "content": "hello"}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "max_tokens": 9, "messages": [HELLO]} | fields).encode()


def saying(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(blocks)}]}


# --- what is asked


def test_the_typed_minimum_is_read() -> None:
    asked = MESSAGES.parse_request(body(stream=True, metadata={"user_id": "ada", "more": 1}))
    assert (asked.model, asked.stream, asked.user) == ("m", True, "ada")
    assert asked.wants_usage, "it is part of every message"


def test_nothing_said_is_nothing_asked_for() -> None:
    for asked in (MESSAGES.parse_request(body()), MESSAGES.parse_request(body(stream=None, metadata=None))):
        assert (asked.stream, asked.user) == (False, None)


def test_whether_max_tokens_is_there_is_the_providers_business() -> None:
    text = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    assert MESSAGES.outgoing(MESSAGES.parse_request(text), "m") is text
    assert Count().parse_request(text).model == "m"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 5}, "model"),
        ({"model": None}, "model"),
        ({"messages": {}}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [HELLO, 5]}, "messages[1]"),
        ({"messages": [{"role": 5, "content": ""}]}, "messages[0].role"),
        ({"messages": [HELLO, {"role": "user", "content": None}]}, "messages[1].content"),
        ({"messages": [HELLO, {"role": "user", "content": {"type": "text"}}]}, "messages[1].content"),
        (saying("hello"), "messages[0].content[0]"),
        (saying({"type": 5}), "messages[0].content[0].type"),
        (saying({"type": "text", "text": 5}), "messages[0].content[0].text"),
        (saying({"type": "thinking", "thinking": []}), "messages[0].content[0].thinking"),
        ({"system": 5}, "system"),
        ({"system": [5]}, "system[0]"),
        ({"system": [{"type": "text", "text": 5}]}, "system[0].text"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"stop_sequences": "stop"}, "stop_sequences"),
        ({"stop_sequences": [5]}, "stop_sequences[0]"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"name": "f", "description": 5}]}, "tools[0].description"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"thinking": True}, "thinking"),
        ({"output_config": {"effort": 5}}, "output_config.effort"),
        ({"output_config": {"format": "json"}}, "output_config.format"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
    ],
)
def test_what_has_a_wrong_type_is_named_by_its_path(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        MESSAGES.parse_request(body(**fields))
    assert refused.value.param == param
    assert refused.value.message.startswith(f"{param}: ")


@pytest.mark.parametrize("field", ["model", "messages"])
def test_what_is_missing_is_named(field: str) -> None:
    fields = json.loads(body())
    del fields[field]
    with pytest.raises(BadRequest, match=field):
        MESSAGES.parse_request(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"model":"m","messages":[{"role":"user","content":NaN}]}',
        b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"m","messages":[{"role":"user","content":""}],"x":"\xff"}',
        b'{"model":"m","messages":[{"role":"user","content":""}],"model":"m"}',
        b'{"model":"m","messages":[{"role":"user","content":""}],"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"x","input":'
        + b"[" * 5_000
        + b"]" * 5_000
        + b"}]}]}",
    ],
)
def test_what_cannot_be_read_is_a_bad_request(text: bytes) -> None:
    with pytest.raises(BadRequest):
        MESSAGES.parse_request(text)


json_fields = st.dictionaries(
    st.sampled_from([*json.loads(body()), "system", "stream", "tools", "thinking", "tool_choice"]), values
)


@given(st.binary(max_size=80) | json_fields.map(lambda fields: body(**fields)))
def test_any_bytes_are_understood_or_a_bad_request(text: bytes) -> None:
    try:
        asked = MESSAGES.parse_request(text)
    except BadRequest:
        return
    list(MESSAGES.texts(asked))
    MESSAGES.outgoing(asked, "another")


# --- what goes out

# Shapes of a coding agent's request: nothing here is ours to understand, and all of it must arrive.
AGENT = b"""{"model": "claude-sonnet-5", "max_tokens": 32000, "stream": true,
  "betas_of_tomorrow": ["interleaved-thinking-2027-01-01"],
  "thinking": {"type": "adaptive", "display": "summarized"},
  "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
  "output_config": {"effort": "high", "task_budget": {"type": "tokens", "total": 1.0e5}},
  "metadata": {"user_id": "user_ab", "session": "s"},
  "system": [{"type": "text", "text": "You are\\u00a0an agent.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
  "tools": [{"name": "Bash", "input_schema": {"type": "object"}, "eager_input_streaming": true, "defer_loading": false},
            {"type": "web_search_20260318", "name": "web_search", "max_uses": 8},
            {"type": "tool_of_2027", "anything": [null, 1e999]}],
  "messages": [
    {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
                                 {"type": "hologram", "source": [1, 2], "content": [["deep"]], "title": {"a": 1}}]},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "Eq=="},
      {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
      {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": {"type": "some_error"}},
      {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}, "caller": {"type": "direct"}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": false}]},
    {"role": "system", "content": "The date is new."},
    {"role": "narrator", "content": []}]}"""


def test_the_very_bytes_go_out_when_there_is_nothing_to_change() -> None:
    asked = MESSAGES.parse_request(AGENT)
    assert MESSAGES.outgoing(asked, "claude-sonnet-5") is AGENT


def test_a_change_of_the_model_leaves_every_other_byte_where_it_was() -> None:
    out = MESSAGES.outgoing(MESSAGES.parse_request(AGENT), "another")
    assert out == AGENT.replace(b'"claude-sonnet-5"', b'"another"')


@given(
    st.dictionaries(st.text(st.characters(codec="ascii"), max_size=5).map("new_{}".format), values, max_size=4),
    st.sampled_from(["m", "claude", "grüße/🌍", 'q"\\']),
    st.booleans(),
    st.data(),
)
def test_only_the_model_is_changed(more: dict[str, Any], model: str, stream: bool, data: st.DataObject) -> None:
    fields = more | {"model": model, "messages": [HELLO], "stream": stream}
    members = data.draw(st.permutations(list(fields.items())))
    text = data.draw(written_members(members)).encode()
    asked = MESSAGES.parse_request(text)
    assert MESSAGES.outgoing(asked, model) is text
    out = MESSAGES.outgoing(asked, "another")
    assert json.loads(out) == fields | {"model": "another"}
    after = MESSAGES.parse_request(out)
    for key in fields.keys() - {"model"}:
        assert out[slice(*after.spans[key])] == text[slice(*asked.spans[key])]


# --- what is text


def test_every_part_that_is_text_is_walked_in_order() -> None:
    schema = {
        "type": "object",
        "description": "where",
        "properties": {"city": {"type": "string", "title": "City", "description": "a city"}},
    }
    asked = MESSAGES.parse_request(
        body(
            system=[{"type": "text", "text": "be brief"}],
            messages=[
                {"role": "user", "content": "what is"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": ""},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                        {
                            "type": "document",
                            "source": {"type": "text", "media_type": "text/plain", "data": "a page"},
                            "title": "A title",
                            "context": "a context",
                        },
                        {
                            "type": "document",
                            "source": {"type": "content", "content": [{"type": "text", "text": "in pieces"}]},
                        },
                        {
                            "type": "search_result",
                            "source": "https://example.com",
                            "title": "Found",
                            "content": [{"type": "text", "text": "a find"}],
                        },
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                        {"type": "redacted_thinking", "data": "c2Vj"},
                        {"type": "tool_use", "id": "t", "name": "f", "input": {"city": "Oslo", "all": [{"a": "b"}, 1]}},
                        {
                            "type": "bash_code_execution_tool_result",
                            "tool_use_id": "s",
                            "content": {"type": "bash_code_execution_result", "stdout": "out", "stderr": "err"},
                        },
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": "sunny"},
                        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "rainy"}]},
                        {"type": "tool_result", "tool_use_id": "t"},
                    ],
                },
            ],
            tools=[{"name": "f", "description": "the weather", "input_schema": schema}, {"type": "bash_20250124"}],
        )
    )
    assert list(MESSAGES.texts(asked)) == [
        ("system[0].text", "be brief"),
        ("messages[0].content", "what is"),
        ("messages[1].content[2].title", "A title"),
        ("messages[1].content[2].context", "a context"),
        ("messages[1].content[2].source.data", "a page"),
        ("messages[1].content[3].source.content[0].text", "in pieces"),
        ("messages[1].content[4].title", "Found"),
        ("messages[1].content[4].content[0].text", "a find"),
        ("messages[1].content[4].source", "https://example.com"),
        ("messages[2].content[0].thinking", "hm"),
        ("messages[2].content[2].input.city", "Oslo"),
        ("messages[2].content[2].input.all[0].a", "b"),
        ("messages[2].content[3].content.stdout", "out"),
        ("messages[2].content[3].content.stderr", "err"),
        ("messages[3].content[0].content", "sunny"),
        ("messages[3].content[1].content[0].text", "rainy"),
        ("tools[0].description", "the weather"),
        ("tools[0].input_schema.description", "where"),
        ("tools[0].input_schema.properties.city.description", "a city"),
    ]


def test_text_is_found_however_deeply_it_is_nested() -> None:
    for depth in (800, 900, 980):
        deep = b'{"a":' * depth + b'"bottom"' + b"}" * depth
        text = b'{"model":"m","messages":[{"role":"user","content":[{"type":"tool_use","input":%b}]}]}' % deep
        try:
            asked = MESSAGES.parse_request(text)
        except BadRequest:
            continue
        assert [found for _, found in MESSAGES.texts(asked)] == ["bottom"]


# --- errors


def test_an_error_event_is_a_frame_that_sdks_raise() -> None:
    error = Internal("a mistake")
    event = MESSAGES.render_error_event(error, 500)
    assert event.startswith(b"event: error\ndata: {") and event.endswith(b"\n\n")
    assert json.loads(event.partition(b"data: ")[2]) == json.loads(MESSAGES.render_error(error, 500))
    with pytest.raises(UpstreamFailed, match="it sent an error: a mistake"):
        decoded(event)
