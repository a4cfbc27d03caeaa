"""Plain completions: a prompt goes out as it came, and a chat model's answer can be its continuation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_body import values, written_members
from tests.providers.openai.foreign import Foreign, expected, replies, rows
from tests.providers.openai.test_wire import decoded, decoded_body, meaning
from tidegate.core.call import Event
from tidegate.core.chat import Conversation, Image, Message, Opaque, Text, ToolCall
from tidegate.core.errors import BadRequest, UpstreamCutOff
from tidegate.providers.openai.complete import Complete
from tidegate.providers.openai.wire import DONE

COMPLETE = Complete()


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "prompt": "Once"} | fields).encode()


def test_the_typed_minimum_is_read() -> None:
    asked = COMPLETE.parse_request(body(stream=True, stream_options={"include_usage": True}, user="ada"))
    assert (asked.model, asked.stream, asked.wants_usage, asked.user) == ("m", True, True, "ada")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"suffix": 5}, "suffix"),
        ({"stream": "yes"}, "stream"),
        ({"n": 0}, "n"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"stop": [5]}, "stop[0]"),
    ],
)
def test_what_has_a_wrong_type_is_named_by_its_path(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        COMPLETE.parse_request(body(**fields))
    assert refused.value.param == param


@given(st.dictionaries(st.sampled_from(["best_of", "echo", "logit_bias", "new"]), values), st.booleans(), st.data())
def test_only_the_model_and_the_wish_for_usage_are_changed(
    more: dict[str, Any], stream: bool, data: st.DataObject
) -> None:
    fields = {"model": "m", "prompt": data.draw(st.text(max_size=5)), "stream": stream} | more
    text = data.draw(written_members(data.draw(st.permutations(list(fields.items()))))).encode()
    asked = COMPLETE.parse_request(text)
    assert json.loads(COMPLETE.outgoing(asked, "other")) == fields | {"model": "other"} | (
        {"stream_options": {"include_usage": True}} if stream else {}
    )
    if not stream:
        assert COMPLETE.outgoing(asked, "m") is text


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({}, [("prompt", "Once")]),
        ({"suffix": "The end."}, [("prompt", "Once"), ("suffix", "The end.")]),
        ({"prompt": ["Once", "Twice"]}, [("prompt[0]", "Once"), ("prompt[1]", "Twice")]),
        ({"prompt": [1, 2]}, []),
        ({"prompt": [[1], [2]]}, []),
        ({"prompt": None}, []),
    ],
)
def test_every_part_that_is_text_is_walked(fields: dict[str, Any], texts: list[tuple[str, str]]) -> None:
    assert list(COMPLETE.texts(COMPLETE.parse_request(body(**fields)))) == texts


# --- in any dialect


@given(
    st.builds(
        Conversation,
        items=st.text(st.characters(exclude_categories=("Cs",))).map(lambda text: (Message("user", (Text(text),)),)),
        stream=st.booleans(),
        max_tokens=st.none() | st.integers(1, 1000),
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 1),
        stop=st.lists(st.text(st.characters(codec="ascii"), min_size=1), max_size=2).map(tuple),
        user=st.none() | st.just("ada"),
        extra=st.sampled_from([(), (("echo", Opaque("openai", b"true", "echo")),)]),
    )
)
def test_a_conversation_that_we_write_reads_as_the_same(conversation: Conversation) -> None:
    written = COMPLETE.render_request(conversation, "m")
    assert COMPLETE.conversation(COMPLETE.parse_request(written.body)) == conversation
    assert written.left_out == ()


@pytest.mark.parametrize("prompt", [None, ["a", "b"], [1, 2], [[1]]])
def test_several_prompts_or_tokens_stay_in_this_dialect(prompt: object) -> None:
    with pytest.raises(BadRequest, match="only a single text") as refused:
        COMPLETE.conversation(COMPLETE.parse_request(body(prompt=prompt)))
    assert refused.value.param == "prompt"


@pytest.mark.parametrize(
    "items",
    [
        (),
        (Message("user", ()),),
        (Message("user", (Text("a"), Text("b"))),),
        (Message("user", (Text("a"), Image("https://example.com/a.png"))),),
        (Message("user", (Image("https://example.com/a.png"),)),),
        (Message("system", (Text("a"),)), Message("user", (Text("b"),))),
        (ToolCall("c", "f", "{}"),),
    ],
)
def test_what_is_more_than_a_text_is_refused_and_never_dropped(items: tuple[Any, ...]) -> None:
    with pytest.raises(BadRequest, match="plain completions take one text"):
        COMPLETE.render_request(Conversation(items), "m")


@pytest.mark.parametrize("body", [{"tools": [1]}, {"effort": "high"}])
def test_a_foreign_field_is_refused(body: dict[str, Any]) -> None:
    (key,) = body
    extra = ((key, Opaque("klingon", json.dumps(body[key]).encode(), key)),)
    with pytest.raises(BadRequest, match=f"{key}: only providers that speak klingon"):
        COMPLETE.render_request(Conversation((Message("user", (Text("a"),)),), extra=extra), "m")


# --- replies of another dialect


@given(replies(), st.integers(1, 5))
def test_a_foreign_reply_means_the_same_streamed_and_whole(events: list[Foreign], size: int) -> None:
    streamer = COMPLETE.encoder(stream=True, wants_usage=True, request_id="r", model="asked")
    streamed = b"".join(streamer.feed(events[at : at + size]) for at in range(0, len(events), size))
    whole = COMPLETE.encoder(stream=False, wants_usage=False, request_id="r", model="asked").feed(events)
    wanted = expected(events)
    wanted = wanted._replace(
        texts={channel: text for channel, text in wanted.texts.items() if channel.kind == "text"}, tools={}
    )
    assert meaning(decoded(streamed)) == wanted
    assert meaning(decoded_body(whole)) == wanted
    assert streamed.endswith(DONE)


def test_chunks_and_bodies_have_the_fields_that_sdks_require() -> None:
    events = [*Foreign.of("upon", " a time"), Foreign(last=True)]
    streamed = COMPLETE.encoder(stream=True, wants_usage=False, request_id="r", model="asked").feed(events)
    whole = COMPLETE.encoder(stream=False, wants_usage=False, request_id="r", model="asked").feed(events)
    for row in [*rows(streamed), json.loads(whole)]:
        assert {"id", "object", "created", "model", "choices"} <= row.keys()
        assert row["object"] == "text_completion"
        for choice in row["choices"]:
            assert {"index", "text", "finish_reason", "logprobs"} <= choice.keys()


def test_a_reply_that_breaks_does_not_look_complete() -> None:
    encoder = COMPLETE.encoder(stream=True, wants_usage=True, request_id="r", model="asked")
    broken = encoder.feed([*Foreign.of("upon"), Event(last=True, error=UpstreamCutOff("cut off"))])
    assert DONE not in broken
