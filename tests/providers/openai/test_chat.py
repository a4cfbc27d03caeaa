"""What a client of OpenAI's chat sends goes out as it came, is understood, and can be said in any dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_body import values, written_members
from tests.providers.openai.foreign import Foreign, expected, replies, rows
from tests.providers.openai.test_wire import decoded, decoded_body, meaning
from tidegate.core.call import Event
from tidegate.core.chat import (
    Conversation,
    Extra,
    File,
    Image,
    Item,
    Message,
    Opaque,
    OutputSchema,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from tidegate.core.errors import BadRequest, Internal, UpstreamCutOff
from tidegate.core.money import NO_USAGE
from tidegate.providers.openai.chat import Chat
from tidegate.providers.openai.wire import DONE

CHAT = Chat()
HELLO = {"role": "user", "content": "hello"}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [HELLO]} | fields).encode()


# --- what is asked


def test_the_typed_minimum_is_read() -> None:
    asked = CHAT.parse_request(body(stream=True, stream_options={"include_usage": True}, user="ada"))
    assert (asked.model, asked.stream, asked.wants_usage, asked.user) == ("m", True, True, "ada")


def test_nothing_said_is_nothing_asked_for() -> None:
    for asked in (CHAT.parse_request(body()), CHAT.parse_request(body(stream=None, stream_options=None, user=None))):
        assert (asked.stream, asked.wants_usage, asked.user) == (False, False, None)


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"user": "a", "safety_identifier": "b", "metadata": {"user_id": "c"}}, "a"),
        ({"safety_identifier": "b", "metadata": {"user_id": "c"}}, "b"),
        ({"metadata": {"user_id": "c"}}, "c"),
        ({"metadata": {"user_id": 5}}, None),
        ({"metadata": {}}, None),
        ({}, None),
    ],
)
def test_the_end_user_is_who_the_first_of_these_fields_says(fields: dict[str, Any], user: str | None) -> None:
    assert CHAT.parse_request(body(**fields)).user == user


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 5}, "model"),
        ({"model": None}, "model"),
        ({"messages": {}}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [HELLO, 5]}, "messages[1]"),
        ({"messages": [{"role": 5}]}, "messages[0].role"),
        ({"messages": [HELLO, HELLO, {"role": "user", "content": 5}]}, "messages[2].content"),
        ({"messages": [{"role": "user", "content": {"type": "text"}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["hello"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": 5}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stop": 5}, "stop"),
        ({"stop": [5]}, "stop[0]"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"function": {"description": 5}}]}, "tools[0].function.description"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"user": 5}, "user"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_what_has_a_wrong_type_is_named_by_its_path(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        CHAT.parse_request(body(**fields))
    assert refused.value.param == param
    assert refused.value.message.startswith(f"{param}: ")


@pytest.mark.parametrize("field", ["model", "messages"])
def test_what_is_missing_is_named(field: str) -> None:
    fields = json.loads(body())
    del fields[field]
    with pytest.raises(BadRequest, match=field):
        CHAT.parse_request(json.dumps(fields).encode())


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
        b'{"model":"m","messages":[{"role":"user"}],"x":"\xff"}',
        b'{"model":"m","messages":[{"role":"user"}],"model":"m"}',
        b'{"model":"m","messages":[{"role":"user"}],"\\u006dodel":"m"}',
        b'{"model":"m","messages":[{"role":"user"}],"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"model":"m","messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"model":"m","messages":[{"role":"user"}],"metadata":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    ],
)
def test_what_cannot_be_read_is_a_bad_request(text: bytes) -> None:
    with pytest.raises(BadRequest):
        CHAT.parse_request(text)


json_fields = st.dictionaries(st.sampled_from([*json.loads(body()), "stream", "stop", "n", "tools", "user"]), values)


@given(st.binary(max_size=80) | json_fields.map(lambda fields: body(**fields)))
def test_any_bytes_are_understood_or_a_bad_request(text: bytes) -> None:
    try:
        asked = CHAT.parse_request(text)
    except BadRequest:
        return
    list(CHAT.texts(asked))
    CHAT.outgoing(asked, "another")
    try:
        CHAT.render_request(CHAT.conversation(asked), "another")
    except BadRequest:
        return


# --- what goes out


@st.composite
def requests(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """A request with fields that nobody here knows, written in any way."""
    fields: dict[str, Any] = draw(
        st.dictionaries(st.text(st.characters(codec="ascii"), max_size=5), values, max_size=4)
    )
    fields |= {"model": draw(st.sampled_from(["m", "gpt-4o", "grüße/🌍", 'q"\\'])), "messages": [HELLO]}
    options = st.none() | st.dictionaries(st.sampled_from(["include_usage", "include_obfuscation"]), st.booleans())
    fields |= draw(st.fixed_dictionaries({}, optional={"stream": st.booleans() | st.none(), "stream_options": options}))
    for known in ("stop", "n", "user", "tools", "top_p", "top_k"):
        fields.pop(known, None)
    members = draw(st.permutations(list(fields.items())))
    return fields, draw(written_members(members)).encode()


@given(requests(), st.booleans())
def test_only_the_model_and_the_wish_for_usage_are_changed(made: tuple[dict[str, Any], bytes], same: bool) -> None:
    fields, text = made
    asked = CHAT.parse_request(text)
    model = asked.model if same else "another-model"
    out = CHAT.outgoing(asked, model)
    wanted = dict(fields)
    wanted["model"] = model
    if asked.stream and not asked.wants_usage:
        wanted["stream_options"] = (fields.get("stream_options") or {}) | {"include_usage": True}
    assert json.loads(out) == wanted
    if wanted == fields:
        assert out is text
    after = CHAT.parse_request(out)
    for key in fields.keys() - {"model", "stream_options"}:
        assert out[slice(*after.spans[key])] == text[slice(*asked.spans[key])], "what we do not change keeps its bytes"


def test_the_very_bytes_go_out_when_there_is_nothing_to_change() -> None:
    text = b' {"temperature" : 1.0e0,\r\n "model":"m","messages":[{"role":"user","content":"\\u00e9"}],"x":1E400 } '
    assert CHAT.outgoing(CHAT.parse_request(text), "m") is text


def test_a_change_leaves_every_other_byte_where_it_was() -> None:
    text = b'{"stream":true, "x":1.0e0,"model" : "m", "messages":[{"role":"user","content":"\\u00e9"}] }'
    out = CHAT.outgoing(CHAT.parse_request(text), "other")
    assert out == (
        b'{"stream":true, "x":1.0e0,"model" : "other", "messages":[{"role":"user","content":"\\u00e9"}] '
        b',"stream_options":{"include_usage":true}}'
    )


# --- what is text


def test_every_part_that_is_text_is_walked_in_order() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    asked = CHAT.parse_request(
        body(
            messages=[
                {"role": "system", "content": "be brief"},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "what is"}, {"type": "image_url", "image_url": {}}],
                },
                {"role": "assistant", "content": None, "tool_calls": [call, call]},
                {"role": "tool", "tool_call_id": "c", "content": "sunny"},
                {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "thanks"}]},
            ],
            tools=[{"type": "function", "function": {"name": "f", "description": "tells the weather"}}, {"type": "x"}],
        )
    )
    assert list(CHAT.texts(asked)) == [
        ("messages[0].content", "be brief"),
        ("messages[1].content[0].text", "what is"),
        ("messages[2].tool_calls[0].function.arguments", '{"a":1}'),
        ("messages[2].tool_calls[1].function.arguments", '{"a":1}'),
        ("messages[3].content", "sunny"),
        ("messages[4].content[1].text", "thanks"),
        ("tools[0].function.description", "tells the weather"),
    ]


# --- in any dialect

names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)
words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=10)
schemas = st.dictionaries(words, st.integers() | words, max_size=2).map(msgspec.json.encode)


def extra(*fields: tuple[str, bytes, bool]) -> st.SearchStrategy[Extra]:
    """At most one of these: what this dialect has beside what every dialect has. (name, JSON, whether it is a hint)"""
    return st.sampled_from([(), *(((name, Opaque("openai", raw, name, hint)),) for name, raw, hint in fields)])


texts = st.builds(Text, words, extra=extra(("cache_control", b'{"type":"ephemeral"}', True)))
images = st.builds(
    Image,
    st.sampled_from(["https://example.com/a.png", "data:image/png;base64,aGVsbG8="]),
    extra=extra(("image_url.detail", b'"low"', True), ("image_url.brand_new", b"[1]", False)),
)
files = st.builds(File, st.just("data:application/pdf;base64,aGVsbG8="), names)
unknown_parts = st.just(Opaque("openai", b'{"type":"input_audio","input_audio":{"data":"x"}}', "somewhere"))
parts: st.SearchStrategy[tuple[Part, ...]] = st.lists(
    texts | images | files | unknown_parts, min_size=1, max_size=3
).map(tuple)
messages = st.builds(
    Message,
    st.sampled_from(["system", "developer", "user", "assistant"]),
    parts,
    extra=extra(("audio", b'{"id":"x"}', False), ("name", b'"ada"', True), ("brand.new", b"1", False)),
).map(lambda message: [message])
unknown_roles = st.just([Opaque("openai", b'{"role":"function","name":"f","content":"1"}', "messages[0]")])
calls = st.builds(
    ToolCall, names, names, words, extra=extra(("brand_new", b"1", False), ("function.mood", b'"x"', False))
)


@st.composite
def exchanges(draw: st.DrawFn) -> list[Item]:
    """What an assistant says, asks for and is told, as one item after another."""
    asked = draw(st.lists(calls, max_size=3, unique_by=lambda call: call.id))
    results = [ToolResult(call.id, draw(st.lists(texts, max_size=2).map(tuple))) for call in asked]
    return [*asked, *results]


schema = st.dictionaries(words, st.integers() | words, max_size=2).map(msgspec.json.encode)
tools = st.builds(Tool, names, st.none() | words, st.none() | schema, st.sampled_from([None, True, False]))
unknown_tools = st.just(Opaque("openai", b'{"type":"web_search"}', "tools[0]"))
items = st.lists(messages | exchanges() | unknown_roles, min_size=1, max_size=4).map(
    lambda groups: tuple(item for group in groups for item in group)
)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    has = draw(st.lists(tools | unknown_tools, max_size=2).map(tuple))
    return Conversation(
        items=draw(items.filter(bool)),
        stream=draw(st.booleans()),
        tools=has,
        tool_choice=draw(st.sampled_from([None, "auto", "none", "required", "tool:f"])),
        parallel_tool_calls=draw(st.none() | st.booleans()) if has else None,
        max_tokens=draw(st.none() | st.integers(0, 1000)),
        temperature=draw(st.none() | st.floats(0, 2)),
        top_p=draw(st.none() | st.floats(0, 1)),
        stop=draw(st.lists(words, max_size=2).map(tuple)),
        effort=draw(st.sampled_from([None, "low", "xhigh"])),
        output_schema=draw(st.none() | st.builds(OutputSchema, names, schema, st.sampled_from([None, True, False]))),
        user=draw(st.none() | words),
        extra=draw(extra(("seed", b"7", True), ("logprobs", b"true", False), ("brand_new", b'{"a":1.0}', False))),
    )


def comparable(value: Any) -> Any:
    """Without where things stood, which writing may change, and with JSON read."""
    if isinstance(value, Opaque):
        return ("opaque", value.dialect, json.loads(value.raw), value.hint)
    if isinstance(value, tuple):
        return tuple(comparable(one) for one in value)
    if isinstance(value, msgspec.Struct):
        return (type(value), *(comparable(getattr(value, field)) for field in value.__struct_fields__))
    return value


@given(conversations())
def test_a_conversation_that_we_write_reads_as_the_same(conversation: Conversation) -> None:
    written = CHAT.render_request(conversation, "m")
    assert written.left_out == ()
    asked = CHAT.parse_request(written.body)
    assert asked.model == "m"
    assert asked.wants_usage == conversation.stream
    again = CHAT.conversation(asked)
    assert comparable(again) == comparable(conversation)
    assert CHAT.render_request(again, "m") == written


def conversation_of(*messages: dict[str, Any], **fields: Any) -> Conversation:
    return CHAT.conversation(CHAT.parse_request(body(messages=list(messages), **fields)))


def test_a_tool_call_of_a_kind_we_do_not_know_is_kept_and_not_made_up() -> None:
    custom = {"id": "c1", "type": "custom", "custom": {"name": "grep", "input": "x"}}
    known = {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [custom, known]}
    conversation = conversation_of(HELLO, said)
    opaque, call = conversation.items[1:]
    assert call == ToolCall("c2", "f", "{}")
    assert isinstance(opaque, Opaque) and json.loads(opaque.raw) == custom
    assert opaque.path == "messages[1].tool_calls[0]"
    assert json.loads(CHAT.render_request(conversation, "m").body)["messages"] == [HELLO, said]


def test_an_assistant_message_of_nothing_we_know_keeps_its_place() -> None:
    said = {"role": "assistant", "content": None, "tool_calls": [], "audio": {"id": "a1"}}
    conversation = conversation_of(HELLO, said)
    assert [type(item) for item in conversation.items] == [Message, Message]
    assert json.loads(CHAT.render_request(conversation, "m").body)["messages"][1]["audio"] == {"id": "a1"}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"messages": [HELLO, {"role": "function", "name": "f", "content": "1"}]}, "messages[1]"),
        ({"messages": [{"role": "assistant", "content": "a", "audio": {"id": "x"}}]}, "messages[0].audio"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"type": "custom"}]}]}, "messages[0].tool_calls[0]"),
        ({"logprobs": True}, "logprobs"),
        ({"n": 2}, "n"),
        ({"brand_new": {"a": 1}}, "brand_new"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
    ],
)
def test_what_only_this_dialect_can_say_is_in_the_conversation_under_its_path(
    fields: dict[str, Any], path: str
) -> None:
    assert path in [opaque.path for opaque in opaques(CHAT.conversation(CHAT.parse_request(body(**fields))))]


def opaques(value: object) -> Iterator[Opaque]:
    if isinstance(value, Opaque):
        yield value
    elif isinstance(value, msgspec.Struct):
        yield from opaques(tuple(getattr(value, field) for field in value.__struct_fields__))
    elif isinstance(value, tuple):
        for one in value:
            yield from opaques(one)


@pytest.mark.parametrize(
    "conversation",
    [
        Conversation((Opaque("klingon", b"1", "nuq[3]"),)),
        Conversation((Message("user", (Text("a"), Opaque("klingon", b"1", "nuq[3]"))),)),
        Conversation((Message("user", (Text("a"),)),), extra=(("nuq", Opaque("klingon", b"1", "nuq[3]")),)),
    ],
)
def test_what_only_another_dialect_can_say_is_refused_and_never_dropped(conversation: Conversation) -> None:
    with pytest.raises(BadRequest, match=r"nuq\[3\]: only providers that speak klingon") as refused:
        CHAT.render_request(conversation, "m")
    assert refused.value.param == "nuq[3]"


def test_a_hint_of_another_dialect_is_left_out_and_said_so() -> None:
    hint = Opaque("klingon", b"1", "honour", hint=True)
    written = CHAT.render_request(Conversation((Message("user", (Text("a"),)),), extra=(("honour", hint),)), "m")
    assert written.left_out == ("honour",)
    assert b"honour" not in written.body


# --- replies of another dialect


@given(replies(), st.integers(1, 5))
def test_a_foreign_reply_means_the_same_streamed_and_whole(events: list[Foreign], size: int) -> None:
    chunks = CHAT.encoder(stream=True, wants_usage=True, request_id="r", model="asked")
    streamed = b"".join(chunks.feed(events[at : at + size]) for at in range(0, len(events), size))
    whole = CHAT.encoder(stream=False, wants_usage=False, request_id="r", model="asked").feed(events)
    wanted = expected(events)
    assert meaning(decoded(streamed)) == wanted
    assert meaning(decoded_body(whole)) == wanted
    assert streamed.endswith(DONE)


@given(replies())
def test_chunks_are_the_same_however_the_events_came(events: list[Foreign]) -> None:
    def written(groups: list[list[Foreign]]) -> bytes:
        encoder = CHAT.encoder(stream=True, wants_usage=False, request_id="r", model="asked")
        return b"".join(encoder.feed(group) for group in groups)

    assert written([[event] for event in events]) == written([events])


@given(replies())
def test_usage_is_told_in_the_stream_only_to_who_asked_for_it(events: list[Foreign]) -> None:
    encoder = CHAT.encoder(stream=True, wants_usage=False, request_id="r", model="asked")
    assert all(event.usage is None for event in decoded(encoder.feed(events)))


@given(replies())
def test_every_chunk_and_every_body_has_the_fields_that_sdks_require(events: list[Foreign]) -> None:
    chunks = rows(CHAT.encoder(stream=True, wants_usage=True, request_id="r", model="asked").feed(events))
    for chunk in chunks:
        assert {"id", "object", "created", "model", "choices"} <= chunk.keys()
        assert chunk["object"] == "chat.completion.chunk"
        for choice in chunk["choices"]:
            assert {"index", "delta", "finish_reason"} <= choice.keys()
    assert len({chunk["id"] for chunk in chunks}) == 1, "one reply, one id"
    body = json.loads(CHAT.encoder(stream=False, wants_usage=False, request_id="r", model="asked").feed(events))
    assert body["object"] == "chat.completion"
    for choice in body["choices"]:
        assert choice["message"]["role"] == "assistant" and "content" in choice["message"]


def test_a_reply_that_breaks_does_not_look_complete() -> None:
    """The error follows, written by whoever sends the reply; after [DONE] no client would read it."""
    encoder = CHAT.encoder(stream=True, wants_usage=True, request_id="r", model="asked")
    broken = encoder.feed([*Foreign.of("hel"), Event(last=True, error=UpstreamCutOff("cut off"))])
    broken += CHAT.render_error_event(UpstreamCutOff("cut off"), 502)
    assert DONE not in broken
    assert rows(broken)[-1]["error"]["code"] == "upstream_cut_off"


def test_a_reply_without_a_name_gets_one_of_ours() -> None:
    encoder = CHAT.encoder(stream=False, wants_usage=False, request_id="r7", model="asked")
    body = json.loads(encoder.feed([Event(last=True, usage=NO_USAGE)]))
    assert (body["id"], body["model"], body["choices"]) == ("chatcmpl-r7", "asked", [])


def test_an_error_event_is_a_frame_that_sdks_raise() -> None:
    frame = CHAT.render_error_event(Internal("a mistake"), 500)
    assert frame.startswith(b"data: {") and frame.endswith(b"\n\n")
    assert json.loads(frame[6:])["error"] == json.loads(CHAT.render_error(Internal("a mistake"), 500))["error"]
