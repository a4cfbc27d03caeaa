"""A conversation that is written in Anthropic's dialect reads as the same, with all that only this dialect can say."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    data_url,
)
from tidegate.core.errors import BadRequest
from tidegate.providers.anthropic.messages import Messages

MESSAGES = Messages()
HELLO = {"role": "user", "content": "hello"}
SAID = Message("user", (Text("a"),))


def body(*messages: Any, **fields: Any) -> bytes:
    return json.dumps({"model": "m", "max_tokens": 9, "messages": list(messages) or [HELLO]} | fields).encode()


def read(*messages: Any, **fields: Any) -> Conversation:
    return MESSAGES.conversation(MESSAGES.parse_request(body(*messages, **fields)))


def written(conversation: Conversation, model: str = "m") -> dict[str, Any]:
    out: dict[str, Any] = json.loads(MESSAGES.render_request(conversation, model).body)
    return out


# --- what is written reads as the same

names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)
words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=10)
schemas = st.dictionaries(words, st.integers() | words, max_size=2).map(msgspec.json.encode)


def extra(*fields: tuple[str, bytes, bool]) -> st.SearchStrategy[Extra]:
    """At most one of these: what this dialect has beside what every dialect has. (name, JSON, whether it is a hint)"""
    return st.sampled_from([(), *(((name, Opaque("anthropic", raw, name, hint)),) for name, raw, hint in fields)])


CACHED = ("cache_control", b'{"type":"ephemeral"}', True)
NEW = ("brand_new", b'{"a":1.0}', False)
texts = st.builds(Text, words, extra=extra(CACHED, ("citations", b'[{"type":"char_location"}]', True), NEW))
images = st.builds(
    Image,
    st.sampled_from(["https://example.com/a.png", "data:image/png;base64,aGVsbG8="]),
    extra=extra(CACHED, ("source.brand_new", b"[1]", False)),
)
files = st.builds(
    File,
    st.sampled_from(["data:application/pdf;base64,aGVsbG8=", "data:text/plain;base64,R3LDvMOfZQ=="]),
    st.none() | names,
    extra=extra(("context", b'"a letter"', False), ("citations", b'{"enabled":true}', False)),
)
unknown = st.sampled_from([b'{"type":"search_result","title":"x"}', b'{"type":"hologram"}']).map(
    lambda raw: Opaque("anthropic", raw, "somewhere")
)
thoughts = st.sampled_from([b'{"type":"thinking","thinking":"hm","signature":"c2ln"}', b'{"type":"redacted_thinking"}'])
parts: st.SearchStrategy[tuple[Part, ...]] = st.lists(texts | images | files | unknown, min_size=1, max_size=3).map(
    tuple
)
said: st.SearchStrategy[tuple[Part, ...]] = st.lists(
    texts | unknown | thoughts.map(lambda raw: Opaque("anthropic", raw, "somewhere", hint=True)), min_size=1, max_size=3
).map(tuple)
calls = st.builds(
    ToolCall,
    names,
    names,
    st.dictionaries(words, words | st.integers(), max_size=2).map(lambda given: msgspec.json.encode(given).decode()),
    extra=extra(CACHED, ("caller", b'{"type":"code_execution"}', False)),
)


@st.composite
def turns(draw: st.DrawFn) -> list[Item]:
    """A user's turn and an assistant's; with calls of tools, each of which is answered in the turn after it."""
    items: list[Item] = [Message("user", draw(parts), extra=draw(extra(NEW)))]
    asked: list[ToolCall] = []
    for piece in draw(st.lists(said | calls, min_size=1, max_size=3)):
        if isinstance(piece, ToolCall):
            piece = msgspec.structs.replace(piece, id=f"{piece.id}-{len(asked)}")
            asked.append(piece)
            items.append(piece)
        elif not isinstance(items[-1], Message) or items[-1].role != "assistant":
            items.append(Message("assistant", piece))
    items += (
        ToolResult(call.id, draw(st.just(()) | parts), draw(st.booleans()), extra=draw(extra(CACHED, NEW)))
        for call in asked
    )
    return items


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    items: list[Item] = [Message("system", draw(st.lists(texts, min_size=1).map(tuple)))] * draw(st.integers(0, 1))
    for turn in draw(st.lists(turns(), min_size=1, max_size=3)):
        items += turn
        if draw(st.booleans()):
            items.append(Message("system", draw(st.lists(texts, min_size=1).map(tuple))))
    tools = draw(
        st.lists(
            st.builds(
                Tool,
                names,
                st.none() | words,
                schemas,
                st.none() | st.booleans(),
                extra=extra(("defer_loading", b"true", True)),
            )
            | st.just(Opaque("anthropic", b'{"type":"web_search_20260318","name":"web_search"}', "tools[0]")),
            max_size=2,
        ).map(tuple)
    )
    choice = draw(st.sampled_from([None, "auto", "none", "required", "tool:f"]))
    thinks = draw(st.sampled_from([None, "none", "low", "max"])) if choice in (None, "auto", "none") else None
    own = [NEW, ("cache_control", b'{"type":"ephemeral"}', True), ("metadata.team", b'"x"', True)]
    own += (
        [("output_config.brand_new", b"1", False), ("thinking.display", b'"omitted"', True)] if thinks == "low" else []
    )
    return Conversation(
        items=tuple(items),
        stream=draw(st.booleans()),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=draw(st.none() | st.booleans()) if choice not in (None, "none") else None,
        max_tokens=draw(st.integers(0, 1000)),
        temperature=draw(st.none() | st.floats(0, 1)),
        top_p=draw(st.none() | st.floats(0, 1)),
        top_k=draw(st.none() | st.integers(1, 50)),
        stop=draw(st.lists(words, max_size=2).map(tuple)),
        effort=thinks,
        output_schema=draw(
            st.none() | st.builds(OutputSchema, st.just("answer"), schemas, st.just(True), extra=extra(NEW))
        ),
        user=draw(st.none() | words),
        extra=draw(extra(*own)),
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
    out = MESSAGES.render_request(conversation, "m")
    assert out.left_out == ()
    again = MESSAGES.conversation(MESSAGES.parse_request(out.body))
    assert comparable(again) == comparable(conversation)
    assert MESSAGES.render_request(again, "m") == out


# --- what only this dialect can say


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"container": "c"}, "container"),
        ({"metadata": {"user_id": "a", "team": "x"}}, "metadata.team"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0]"),
        ({"tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tool_choice": {"type": "auto", "brand_new": 1}}, "tool_choice.brand_new"),
        ({"system": [{"type": "text", "text": "a", "cache_control": {}, "mood": 1}]}, "system[0].mood"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2_000}}, "thinking"),
        ({"thinking": {"type": "between_tools"}}, "thinking"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}, "mood": 1}}}, "output_config.format.mood"),
    ],
)
def test_it_is_in_the_conversation_under_its_path(fields: dict[str, Any], path: str) -> None:
    conversation = read(**fields)
    assert path in {opaque.path for opaque in opaques(conversation)}
    for key, value in fields.items():
        assert same(written(conversation)[key], value)


def opaques(value: object) -> list[Opaque]:
    if isinstance(value, Opaque):
        return [value]
    inner = value if isinstance(value, tuple) else ()
    if isinstance(value, msgspec.Struct):
        inner = tuple(getattr(value, field) for field in value.__struct_fields__)
    return [opaque for one in inner for opaque in opaques(one)]


def same(ours: Any, theirs: Any) -> bool:
    """Nothing of theirs is lost; ours may say more, and leaves out what says nothing."""
    if isinstance(theirs, dict):
        return all(value in ({}, [], None) or same(ours.get(key), value) for key, value in theirs.items())
    if isinstance(theirs, list):
        return all(same(one, other) for one, other in zip(ours, theirs, strict=True))
    return bool(ours == theirs)


@pytest.mark.parametrize(
    "idle",
    [
        {"thinking": None, "metadata": {}, "stop_sequences": [], "system": "", "tools": None, "service_tier": None},
        {"output_config": {"effort": None, "format": None}, "tool_choice": None, "container": None, "system": []},
        {"tools": [{"name": "f", "input_schema": {}, "type": "custom", "cache_control": None, "input_examples": []}]},
    ],
)
def test_what_asks_for_nothing_is_nothing(idle: dict[str, Any]) -> None:
    assert opaques(read(**idle)) == []


def test_a_message_of_the_model_comes_back_as_it_was_sent() -> None:
    """SDKs send all fields of a block that they know, most of them null."""
    blocks = [
        {"type": "text", "text": "Okay.", "citations": None},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}, "toolset_name": None},
    ]
    answer = {"type": "tool_result", "tool_use_id": "t", "content": "5", "is_error": False, "cache_control": None}
    conversation = read(HELLO, {"role": "assistant", "content": blocks}, {"role": "user", "content": [answer]})
    assert conversation.items[1:] == (
        Message("assistant", (Text("Okay."),)),
        ToolCall("t", "f", "{}"),
        ToolResult("t", (Text("5"),)),
    )
    assert opaques(conversation) == []


# --- thinking, in one word

BUDGETS = [(1_024, "low"), (2_048, "low"), (2_049, "medium"), (16_384, "medium"), (16_385, "high"), (64_000, "high")]


@pytest.mark.parametrize(("tokens", "effort"), BUDGETS)
def test_a_budget_is_an_effort(tokens: int, effort: str) -> None:
    assert read(thinking={"type": "enabled", "budget_tokens": tokens}).effort == effort


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, None),
        ({"output_config": {"effort": "max"}}, "max"),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "high"}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, None),
        ({"thinking": {"type": "disabled"}}, "none"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, "none"),
    ],
)
def test_how_much_is_to_be_thought(fields: dict[str, Any], effort: str | None) -> None:
    assert read(**fields).effort == effort


def test_a_limit_is_always_said_and_leaves_room_to_think() -> None:
    assert written(Conversation((SAID,)))["max_tokens"] == 4_096
    assert written(Conversation((SAID,), effort="none"))["max_tokens"] == 4_096
    assert written(Conversation((SAID,), effort="low"))["max_tokens"] == 32_000
    assert written(Conversation((SAID,), effort="low", max_tokens=0))["max_tokens"] == 0


# --- documents


def test_a_document_of_text_stays_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Grüße 🌍"}
    (message,) = read({"role": "user", "content": [{"type": "document", "source": source}]}).items
    assert message == Message("user", (File("data:text/plain;base64,R3LDvMOfZSDwn4yN"),))
    markdown = Conversation((Message("user", (File(data_url("text/markdown", "IyBIaQ==")),)),))
    assert written(markdown)["messages"][0]["content"][0]["source"] == source | {"data": "# Hi"}


@given(st.binary(max_size=30))
def test_a_picture_is_passed_on_to_the_byte(content: bytes) -> None:
    data = msgspec.json.encode(content).decode().strip('"')
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    said = {"role": "user", "content": [block]}
    if not content:
        with pytest.raises(BadRequest):
            read(said)
        return
    assert written(read(said))["messages"] == [said]
