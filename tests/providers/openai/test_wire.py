"""What providers of OpenAI's dialect say, whatever the network makes of it: the same events, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.openai import transcripts
from tests.providers.openai.transcripts import BODIES, STREAMS, Meaning
from tidegate.core.call import Event
from tidegate.core.chat import Began, Channel, Delta, Finished, ToolBegan
from tidegate.core.errors import (
    BadRequest,
    Forbidden,
    Internal,
    NotFound,
    Unauthenticated,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamRefused,
)
from tidegate.core.money import KINDS, NO_USAGE, Usage
from tidegate.providers.openai.said import InputDetails, OutputDetails, UsageSaid
from tidegate.providers.openai.wire import (
    DONE,
    BodyDecoder,
    StreamDecoder,
    error_message,
    read_reply,
    write_error,
    write_usage,
)


def decoded(stream: bytes, *sizes: int, withhold_usage: bool = False) -> list[Event]:
    """`stream` cut into pieces of these sizes, the last of which repeats."""
    decoder = StreamDecoder(withhold_usage=withhold_usage)
    events: list[Event] = []
    at, turn = 0, 0
    while at < len(stream):
        size = sizes[min(turn, len(sizes) - 1)] if sizes else len(stream)
        events += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    return events + decoder.end()


def seen(events: Iterable[Event]) -> list[tuple[object, ...]]:
    """All there is to an event."""
    return [
        (event.raw, event.opens, event.last, event.usage, event.error, list(event.texts()), list(event.changes()))
        for event in events
    ]


def meaning(events: list[Event]) -> Meaning:
    """What the changes of these events amount to."""
    texts: dict[Channel, str] = {}
    finished: dict[int, str] = {}
    tools: dict[Channel, tuple[str, str]] = {}
    began: list[Began] = []
    for event in events:
        for change in event.changes():
            if isinstance(change, Began):
                began.append(change)
            elif isinstance(change, Delta):
                texts[change.channel] = texts.get(change.channel, "") + change.text
            elif isinstance(change, ToolBegan):
                assert change.channel not in tools and change.channel not in texts
                tools[change.channel] = (change.id, change.name)
            elif isinstance(change, Finished):
                assert change.choice not in finished
                finished[change.choice] = change.reason
    said: dict[Channel, str] = {}
    for event in events:
        for channel, text in event.texts():
            said[channel] = said.get(channel, "") + text
    assert said == texts, "what a guardrail reads is what another dialect is told"
    (only,) = began
    usages = [event.usage for event in events if event.usage is not None]
    return Meaning(texts, usages[-1] if usages else None, only.id, only.model, finished, tools)


# --- streams


@pytest.mark.parametrize("name", STREAMS)
def test_what_a_stream_means(name: str) -> None:
    events = decoded(transcripts.stream(name))
    assert meaning(events) == STREAMS[name]
    assert [event.last for event in events] == [False] * (len(events) - 1) + [True]
    assert all(event.error is None for event in events)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("sizes", [(1,), (7,), (64,), (1, 1000), (1000, 3)], ids=str)
def test_a_stream_means_the_same_in_any_pieces(name: str, sizes: tuple[int, ...]) -> None:
    stream = transcripts.stream(name)
    assert seen(decoded(stream, *sizes)) == seen(decoded(stream))


@pytest.mark.parametrize("name", STREAMS)
def test_joined_the_events_are_the_very_bytes_that_came(name: str) -> None:
    stream = transcripts.stream(name)
    joined = b"".join(event.raw for event in decoded(stream))
    assert joined == (stream + DONE if name == "no-done" else stream)


@pytest.mark.parametrize("name", STREAMS)
def test_a_usage_chunk_that_only_we_asked_for_is_withheld_and_nothing_else(name: str) -> None:
    stream = transcripts.stream(name)
    kept, withheld = decoded(stream), decoded(stream, withhold_usage=True)
    assert meaning(withheld) == meaning(kept), "it is counted all the same"
    for shown, hidden in zip(kept, withheld, strict=True):
        carries_only_usage = b'"choices":[]' in shown.raw and shown.usage is not None
        assert hidden.raw == (b"" if carries_only_usage else shown.raw)


def test_a_preamble_opens_nothing() -> None:
    for name, preamble in {"deepseek": 3, "azure": 2, "openai-chat": 1, "llama-cpp": 1, "openrouter": 2}.items():
        opens = [event.opens for event in decoded(transcripts.stream(name))]
        assert opens[: preamble + 1] == [False] * preamble + [True], name


@pytest.mark.parametrize("name", ["openai-tools", "openai-refusal", "openai-function-call", "groq"])
def test_a_tool_a_refusal_and_a_thought_open_the_reply(name: str) -> None:
    first = next(event for event in decoded(transcripts.stream(name)) if event.opens)
    assert not first.last


def test_usage_alone_opens_nothing() -> None:
    (usage,) = StreamDecoder(withhold_usage=False).feed(b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n')
    assert not usage.opens
    assert usage.usage == Usage(input=1)


# --- the end of a stream


def chunk(text: str = "", finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode() + b"\n\n"


def test_an_end_without_done_is_complete_when_every_answer_had_finished() -> None:
    both = chunk("a") + chunk("b", index=1) + chunk(finish="stop", index=1)
    assert decoded(both + chunk(finish="stop"))[-1].last
    assert not decoded(both)[-1].last


def test_an_end_in_the_middle_is_not_complete() -> None:
    stream = transcripts.stream("openai-chat")
    finish = stream.index(b'"finish_reason":"stop"')
    for cut in range(0, finish, 97):
        decoder = StreamDecoder(withhold_usage=False)
        events = decoder.feed(stream[:cut])
        with suppress(UpstreamFailed):  # cut in the middle of an event, it cannot be read
            events += decoder.end()
        assert not any(event.last for event in events)


def test_a_finish_reason_of_nothing_is_no_finish() -> None:
    said = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":""}]}\n\n'
    assert [event.last for event in decoded(said)] == [False]


def test_a_last_word_after_the_finish_does_not_take_it_back() -> None:
    assert decoded(chunk("a") + chunk(finish="stop") + chunk(""))[-1].last


@pytest.mark.parametrize(
    "after", [b": bye\n\n", DONE, b"\n", b"\n\n", b"event: end\n\n", b"data: {broken\n\n", chunk("more"), b"data: x"]
)
@pytest.mark.parametrize("together", [True, False])
def test_the_last_event_is_the_last_whatever_comes_after_it(after: bytes, together: bool) -> None:
    decoder = StreamDecoder(withhold_usage=False)
    pieces = [chunk("a") + DONE + after] if together else [chunk("a") + DONE, after]
    events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.end()
    assert [event.last for event in events] == [False, True]


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_an_end_without_its_empty_line_is_given_one(ending: bytes) -> None:
    assert decoded(chunk("a") + b"data: [DONE]" + ending)[-1].last
    stream = chunk("a") + chunk(finish="stop").strip() + ending
    joined = b"".join(event.raw for event in decoded(stream))
    assert meaning(decoded(joined)).texts == {Channel(): "a"}, "a client can read what we pass on"


def test_an_empty_stream_has_no_end() -> None:
    assert decoded(b"") == []
    assert decoded(b"\n\n : nothing\n\n")[-1].last is False


# --- what is no answer


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_an_error_in_the_middle_comes_after_what_came_before_it(size: int) -> None:
    stream = transcripts.stream("error-in-the-middle")
    decoder = StreamDecoder(withhold_usage=False)
    events: list[Event] = []
    with pytest.raises(UpstreamFailed, match="CUDA out of memory"):
        for at in range(0, len(stream), size):
            events += decoder.feed(stream[at : at + size])
        decoder.end()
    assert [text for event in events for _, text in event.texts()] == ["Half an"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"error":{"message":"overloaded","code":529}}', "it sent an error: overloaded"),
        (b'{"error":"overloaded"}', "it sent an error: overloaded"),
        (b'{"error":{"code":1}}', "it sent an error: without words"),
        (b'{"error":{"message":null}}', "it sent an error: without words"),
        (b'{"error":true}', "it sent an error: without words"),
        (b"<html>502</html>", "it sent something that is no answer"),
        (b"{broken", "it sent something that is no answer"),
        (b"[]", "it sent something that is no answer"),
        (b'{"choices":5}', "it sent something that is no answer"),
        (b'{"choices":[{"delta":{"content":5}}]}', "it sent something that is no answer"),
        (b'{"id":"\xff"}', "it sent something that is no answer"),
        (b'{"choices":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "it sent something that is no answer"),
    ],
)
def test_what_is_no_answer_is_a_failure_that_says_so(data: bytes, said: str) -> None:
    with pytest.raises(UpstreamFailed, match=said):
        read_reply(data)
    with pytest.raises(UpstreamFailed, match=said):
        decoded(b"data: " + data + b"\n\n")


def test_an_error_of_null_is_none() -> None:
    reply = read_reply(b'{"error":null,"choices":[{"message":{"content":"a"}}]}')
    assert reply.choices is not None


@given(st.binary(max_size=60) | st.text('{}[]":,choiestdlauge0 \n', max_size=60).map(str.encode), st.integers(1, 20))
def test_random_bytes_raise_nothing_but_an_upstream_failure(noise: bytes, size: int) -> None:
    for stream in (noise, b"data: " + noise + b"\n\n" + noise):
        with suppress(UpstreamFailed):
            decoded(stream, size)


KNOWN = [
    *(
        "id",
        "model",
        "created",
        "choices",
        "usage",
        "error",
        "index",
        "delta",
        "message",
        "content",
        "text",
        "thinking",
    ),
    *("finish_reason", "tool_calls", "function", "name", "arguments", "prompt_tokens", "prompt_tokens_details"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KNOWN), inner, max_size=5),
    max_leaves=10,
)


@given(json_values)
def test_any_json_is_an_event_or_an_upstream_failure(value: object) -> None:
    try:
        events = decoded(b"data: " + json.dumps(value).encode() + b"\n\n")
    except UpstreamFailed:
        return
    seen(events)


# --- whole bodies


def decoded_body(body: bytes, size: int = 1000) -> list[Event]:
    decoder = BodyDecoder()
    for at in range(0, len(body), size):
        assert decoder.feed(body[at : at + size]) == []
    return decoder.end()


@pytest.mark.parametrize("name", BODIES)
def test_what_a_whole_reply_means(name: str) -> None:
    body = transcripts.body(name)
    events = decoded_body(body)
    (event,) = events
    assert event.raw == body
    assert event.last and event.opens
    assert meaning(events) == BODIES[name]
    assert seen(decoded_body(body, 1)) == seen(events)


def test_a_whole_reply_and_a_streamed_one_mean_the_same() -> None:
    for name in ("openai-chat", "openai-tools", "openai-complete"):
        assert STREAMS[name]._replace(id="") == BODIES[name]._replace(id="")


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', b'{"choices":null,"id":"x"}', b'{"object":"error"}'])
def test_a_whole_reply_with_nothing_in_it_is_a_failure(body: bytes) -> None:
    with pytest.raises(UpstreamFailed, match="an answer with nothing in it"):
        decoded_body(body)


def test_an_empty_body_is_a_failure() -> None:
    with pytest.raises(UpstreamFailed, match="no answer"):
        decoded_body(b"")


# --- usage

counts = st.none() | st.integers(-3, 2000)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": counts,
            "completion_tokens": counts,
            "prompt_cache_hit_tokens": counts,
            "prompt_tokens_details": st.none()
            | st.fixed_dictionaries(
                {}, optional={"cached_tokens": counts, "audio_tokens": counts, "text_tokens": counts}
            ),
            "completion_tokens_details": st.none()
            | st.fixed_dictionaries({}, optional={"reasoning_tokens": counts, "audio_tokens": counts}),
            "total_tokens": counts,
            "cost": st.floats(0, 1),
        },
    )
)
def test_usage_is_never_negative_and_never_less_than_reported(said: dict[str, object]) -> None:
    reply = read_reply(json.dumps({"choices": [], "usage": said}).encode())
    assert isinstance(reply.usage, UsageSaid)
    usage = reply.usage.usage()
    assert all(getattr(usage, kind) >= 0 for kind in KINDS)
    assert usage.input_total >= (reply.usage.prompt_tokens or 0)
    assert usage.output_total >= (reply.usage.completion_tokens or 0)


@given(st.builds(Usage, **{kind: st.integers(0, 1000) for kind in KINDS if not kind.startswith("cached_write")}))
def test_usage_that_we_write_reads_as_the_same(usage: Usage) -> None:
    reply = read_reply(json.dumps({"usage": write_usage(usage)}).encode())
    assert reply.usage is not None and reply.usage.usage() == usage
    said = write_usage(usage)
    assert said["total_tokens"] == sum(getattr(usage, kind) for kind in KINDS)


def test_no_usage_is_written_as_nothing_used() -> None:
    assert write_usage(NO_USAGE)["total_tokens"] == 0


# --- errors


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error":{"message":"You exceeded your quota","code":null}}', "You exceeded your quota"),
        (b'{"error":"model not found"}', "model not found"),
        (b'{"object":"error","message":"max_tokens is too large","code":400}', "max_tokens is too large"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"detail":[{"loc":["body"],"msg":"field required"}]}', '[{"loc":["body"],"msg":"field required"}]'),
        (b'{"error":{}}', ""),
        (b"{}", ""),
        (b"", ""),
        (b"<html><body>502 Bad Gateway</body></html>", ""),
        (b'{"error":{"message":5}}', ""),
        (b"\xff\xfe", ""),
        (b'{"detail":"caf\xe9"}', "caf\ufffd"),
        (b"[" * 10_000, ""),
    ],
)
def test_the_words_of_an_error_in_whatever_shape(body: bytes, said: str) -> None:
    assert error_message(body) == said


@given(st.binary(max_size=60))
def test_the_words_of_any_bytes_are_text(body: bytes) -> None:
    assert isinstance(error_message(body), str)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BadRequest("wrong", param="messages[0]"), 400, "invalid_request_error"),
        (Unauthenticated("who?"), 401, "authentication_error"),
        (Forbidden("no"), 403, "permission_error"),
        (NotFound("where?"), 404, "not_found_error"),
        (UpstreamLimited("slow down"), 429, "rate_limit_error"),
        (UpstreamFailed("nobody"), 502, "server_error"),
        (Internal("oh"), 500, "server_error"),
    ],
)
def test_an_error_of_ours_has_the_shape_that_sdks_read(error: BadRequest, status: int, kind: str) -> None:
    written = json.loads(write_error(error, status))
    assert written == {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


def test_what_a_provider_refused_is_passed_on_in_its_own_words() -> None:
    body = b'{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context","x":1}}'
    refused = UpstreamRefused("too long", status=400, dialect="openai", body=body, content_type="application/json")
    assert write_error(refused, 400) == body


@pytest.mark.parametrize(
    ("dialect", "body"),
    [("anthropic", b'{"type":"error"}'), ("openai", b"<html>"), ("openai", b""), ("openai", b"[1]")],
)
def test_what_another_dialect_or_nobody_refused_is_said_in_ours(dialect: str, body: bytes) -> None:
    refused = UpstreamRefused("too long", status=400, dialect=dialect, body=body, content_type="text/html")
    assert json.loads(write_error(refused, 400))["error"]["message"] == "too long"


def test_reasoning_that_is_only_in_the_total_is_counted():
    said = UsageSaid(prompt_tokens=10, completion_tokens=5, total_tokens=115)
    said.completion_tokens_details = OutputDetails(reasoning_tokens=100)
    assert said.usage() == Usage(input=10, output=5, reasoning=100)


def test_what_is_written_to_the_cache_is_a_kind_of_its_own():
    said = UsageSaid(prompt_tokens=100, completion_tokens=1)
    said.prompt_tokens_details = InputDetails(cached_tokens=20, cache_write_tokens=30)
    assert said.usage() == Usage(input=50, cached_read=20, cached_write=30, output=1)


def test_a_stream_of_another_dialect_fails_at_its_first_event():
    stream = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","content":[]}}\n\n'
    with pytest.raises(UpstreamFailed, match="does not speak OpenAI's dialect"):
        StreamDecoder(withhold_usage=False).feed(stream)
