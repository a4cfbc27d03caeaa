"""What providers of Anthropic's dialect say, whatever the network makes of it: the same events, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.anthropic import transcripts
from tests.providers.anthropic.transcripts import BODIES, STREAMS
from tests.providers.openai import transcripts as openai
from tests.providers.openai.transcripts import Meaning
from tidegate.core.call import Event
from tidegate.core.chat import Began, Channel, Delta, Finished, ToolBegan
from tidegate.core.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    Internal,
    NotFound,
    ShuttingDown,
    TidegateError,
    Unauthenticated,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamTimeout,
)
from tidegate.core.money import KINDS, Price, Usage, nusd_per_million
from tidegate.providers.anthropic.wire import (
    STOP,
    BodyDecoder,
    StreamDecoder,
    UsageSaid,
    error_message,
    read,
    write_error,
    write_usage,
)
from tidegate.providers.openai.wire import BodyDecoder as OpenAIBodyDecoder
from tidegate.providers.openai.wire import StreamDecoder as OpenAIStreamDecoder


def decoded(stream: bytes, *sizes: int) -> list[Event]:
    """`stream` cut into pieces of these sizes, the last of which repeats."""
    decoder = StreamDecoder()
    events: list[Event] = []
    at, turn = 0, 0
    while at < len(stream):
        size = sizes[min(turn, len(sizes) - 1)] if sizes else len(stream)
        events += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    return events + decoder.end()


def decoded_body(body: bytes, size: int = 1000) -> list[Event]:
    decoder = BodyDecoder()
    for at in range(0, len(body), size):
        assert decoder.feed(body[at : at + size]) == []
    return decoder.end()


def seen(events: Iterable[Event]) -> list[tuple[object, ...]]:
    """All there is to an event."""
    return [
        (event.raw, event.opens, event.last, event.usage, event.error, list(event.texts()), list(event.changes()))
        for event in events
    ]


def meaning(events: list[Event]) -> Meaning:
    """What the changes of these events amount to. A tool has begun before it is given arguments."""
    began: list[Began] = []
    texts: dict[Channel, str] = {}
    finished: dict[int, str] = {}
    tools: dict[Channel, tuple[str, str]] = {}
    for change in [change for event in events for change in event.changes()]:
        if isinstance(change, Began):
            began.append(change)
        elif isinstance(change, ToolBegan):
            assert change.channel not in tools
            tools[change.channel] = (change.id, change.name)
        elif isinstance(change, Delta):
            assert change.channel.kind != "tool" or change.channel in tools
            texts[change.channel] = texts.get(change.channel, "") + change.text
        else:
            assert isinstance(change, Finished) and change.choice not in finished
            finished[change.choice] = change.reason
    (only,) = began
    usages = [event.usage for event in events if event.usage is not None]
    return Meaning(texts, usages[-1] if usages else None, only.id, only.model, finished, tools)


def frame(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


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


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_a_stream_means_the_same_however_it_was_cut(name: str, sizes: list[int]) -> None:
    stream = transcripts.stream(name)
    assert seen(decoded(stream, *sizes)) == seen(decoded(stream))


@pytest.mark.parametrize("name", STREAMS)
def test_joined_the_events_are_the_very_bytes_that_came(name: str) -> None:
    stream = transcripts.stream(name)
    joined = b"".join(event.raw for event in decoded(stream))
    assert joined == (stream + STOP if name == "anthropic-no-stop" else stream)


@pytest.mark.parametrize(
    ("name", "preamble"),
    [
        ("anthropic-text", 3),  # message_start, the beginning of a text, ping
        ("anthropic-tools", 1),
        ("anthropic-thinking", 2),
        ("anthropic-signed-only", 5),  # what was thought and is not shown carries nothing
        ("anthropic-search", 2),
        ("anthropic-refusal", 2),
    ],
)
def test_a_preamble_opens_nothing(name: str, preamble: int) -> None:
    opens = [event.opens for event in decoded(transcripts.stream(name))]
    assert opens[: preamble + 1] == [False] * preamble + [True]


def test_a_guardrail_reads_all_that_is_text_even_what_anthropics_own_tools_are_asked() -> None:
    read: dict[Channel, str] = {}
    for event in decoded(transcripts.stream("anthropic-search")):
        for channel, text in event.texts():
            read[channel] = read.get(channel, "") + text
    assert read == {Channel(): "I'll check.It is Oslo.", Channel(0, "tool", 1): '{"query": "capital of Norway"}'}


def test_what_is_new_in_a_stream_is_passed_on() -> None:
    stream = frame("message_start", message={"id": "m", "model": "c"}) + frame("tomorrow", delta={"type": "mood_delta"})
    events = decoded(stream + frame("content_block_start", index=0, content_block={"type": "hologram", "size": 3}))
    assert b"".join(event.raw for event in events).startswith(stream)
    assert events[-1].opens and not list(events[-1].changes())


def test_a_block_may_begin_with_what_it_says() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    (event,) = decoded(frame("content_block_start", index=2, content_block=block))
    channel = Channel(0, "tool", 2)
    assert list(event.changes()) == [ToolBegan(channel, "t", "f"), Delta(channel, '{"a": 1}')]
    (event,) = decoded(frame("content_block_start", index=0, content_block={"type": "text", "text": "Hi"}))
    assert event.opens and list(event.changes()) == [Delta(Channel(), "Hi")]


# --- the end of a stream

BEGINNING = frame("message_start", message={"id": "m", "model": "c", "usage": {"input_tokens": 3, "output_tokens": 1}})
ENDING = frame("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})


def test_an_end_in_the_middle_is_not_complete() -> None:
    stream = transcripts.stream("anthropic-tool")
    finish = stream.index(b'"stop_reason":"tool_use"')
    for cut in range(0, finish, 97):
        decoder = StreamDecoder()
        events = decoder.feed(stream[:cut])
        with suppress(UpstreamFailed):  # cut in the middle of an event, it cannot be read
            events += decoder.end()
        assert not any(event.last for event in events)


def test_the_reason_to_stop_is_enough_of_an_end() -> None:
    assert decoded(BEGINNING + ENDING)[-1].raw == STOP
    assert not decoded(BEGINNING)[-1].last
    assert not decoded(BEGINNING + frame("message_delta", delta={"stop_reason": None}))[-1].last


@pytest.mark.parametrize("after", [b": bye\n\n", STOP, b"\n", b"data: [DONE]\n\n", b"data: {broken\n\n", ENDING])
@pytest.mark.parametrize("together", [True, False])
def test_the_last_event_is_the_last_whatever_comes_after_it(after: bytes, together: bool) -> None:
    decoder = StreamDecoder()
    pieces = [BEGINNING + STOP + after] if together else [BEGINNING + STOP, after]
    events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.end()
    assert [event.last for event in events] == [False, True]


def test_an_empty_stream_has_no_end() -> None:
    assert decoded(b"") == []
    assert not decoded(b": nothing\n\nevent: ping\n\n")[-1].last


# --- what is no answer


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_an_error_in_the_middle_comes_after_what_came_before_it(size: int) -> None:
    stream = transcripts.stream("anthropic-error-in-the-middle")
    decoder = StreamDecoder()
    events: list[Event] = []
    with pytest.raises(UpstreamFailed, match="it sent an error: Overloaded"):
        for at in range(0, len(stream), size):
            events += decoder.feed(stream[at : at + size])
        decoder.end()
    assert [text for event in events for _, text in event.texts()] == ["Hel"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "it sent an error: Overload"),
        (b'{"type":"error","error":{"type":"api_error"}}', "it sent an error: without words"),
        (b'{"type":"error"}', "it sent an error: without words"),
        (b'{"error":{"message":"out of memory","code":500}}', "it sent an error: out of memory"),
        (b'{"error":"out of memory"}', "it sent an error: out of memory"),
        (b'{"id":"c","choices":[]}', "does not speak Anthropic's dialect"),
        (b"{}", "does not speak Anthropic's dialect"),
        (b"<html>502</html>", "it sent something that is no answer"),
        (b"{broken", "it sent something that is no answer"),
        (b"[]", "it sent something that is no answer"),
        (b'{"type":5}', "it sent something that is no answer"),
        (b'{"type":"content_block_delta","index":"0"}', "it sent something that is no answer"),
        (b'{"type":"ping","id":"\xff"}', "it sent something that is no answer"),
        (b'{"type":"ping","content":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "it sent something that is no answer"),
    ],
)
def test_what_is_no_answer_is_a_failure_that_says_so(data: bytes, said: str) -> None:
    with pytest.raises(UpstreamFailed, match=said):
        read(data)
    with pytest.raises(UpstreamFailed, match=said):
        decoded(b"data: " + data + b"\n\n")
    with pytest.raises(UpstreamFailed, match=said):
        decoded_body(data)


@pytest.mark.parametrize("name", openai.STREAMS)
def test_a_stream_of_openais_dialect_is_a_failure_at_its_first_event(name: str) -> None:
    with pytest.raises(UpstreamFailed, match="does not speak Anthropic's dialect"):
        decoded(openai.stream(name))


@pytest.mark.parametrize("name", openai.BODIES)
def test_a_body_of_openais_dialect_is_a_failure(name: str) -> None:
    with pytest.raises(UpstreamFailed, match="does not speak Anthropic's dialect"):
        decoded_body(openai.body(name))


@pytest.mark.parametrize("name", STREAMS)
def test_our_stream_is_nothing_that_an_openai_client_could_take_for_an_answer(name: str) -> None:
    decoder = OpenAIStreamDecoder(withhold_usage=False)
    with suppress(UpstreamFailed):
        events = [*decoder.feed(transcripts.stream(name)), *decoder.end()]
        assert not any(event.opens or event.last or list(event.texts()) for event in events)


@pytest.mark.parametrize("name", BODIES)
def test_our_body_is_no_answer_in_openais_dialect(name: str) -> None:
    decoder = OpenAIBodyDecoder()
    decoder.feed(transcripts.body(name))
    with pytest.raises(UpstreamFailed):
        decoder.end()


@given(st.binary(max_size=60) | st.text('{}[]":,typecontndla0 \n', max_size=60).map(str.encode), st.integers(1, 20))
def test_random_bytes_raise_nothing_but_an_upstream_failure(noise: bytes, size: int) -> None:
    for stream in (noise, b"data: " + noise + b"\n\n" + noise):
        with suppress(UpstreamFailed):
            decoded(stream, size)
        with suppress(UpstreamFailed):
            decoded_body(stream, size)


KNOWN = [
    *("type", "id", "model", "content", "stop_reason", "usage", "index", "message", "content_block", "delta", "error"),
    *("text", "thinking", "partial_json", "name", "input", "input_tokens", "output_tokens", "cache_creation"),
]
KINDS_OF_EVENT = st.sampled_from(
    ["message", "message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=4) | KINDS_OF_EVENT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KNOWN), inner, max_size=5)
        | st.fixed_dictionaries({"type": KINDS_OF_EVENT, "delta": inner, "content_block": inner, "content": inner})
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_an_event_or_an_upstream_failure(value: object) -> None:
    text = json.dumps(value).encode()
    with suppress(UpstreamFailed):
        seen(decoded(b"data: " + text + b"\n\n"))
    with suppress(UpstreamFailed):
        seen(decoded_body(text))


# --- whole bodies


@pytest.mark.parametrize("name", BODIES)
def test_what_a_whole_reply_means(name: str) -> None:
    body = transcripts.body(name)
    events = decoded_body(body)
    (event,) = events
    assert event.raw == body
    assert event.last and event.opens
    assert meaning(events) == BODIES[name]
    assert seen(decoded_body(body, 1)) == seen(events)


@pytest.mark.parametrize("body", [b'{"type":"message"}', b'{"type":"ping"}', b'{"type":"message","content":null}'])
def test_a_whole_reply_with_nothing_in_it_is_a_failure(body: bytes) -> None:
    with pytest.raises(UpstreamFailed, match="an answer with nothing in it"):
        decoded_body(body)


# --- usage


def test_a_reply_costs_what_it_would_by_hand() -> None:
    """7 tokens heard at $3, 18,000 read from the cache at $0.30, 300 written for five minutes at $3.75 and 1,200 for an
    hour at $6, 300 said, thoughts among them, at $15: 21,000 + 5,400,000 + 1,125,000 + 7,200,000 + 4,500,000."""
    dollars = {"input": 3, "cached_read": 0.3, "cached_write": 3.75, "cached_write_1h": 6, "output": 15}
    price = Price({kind: nusd_per_million(usd) for kind, usd in dollars.items()}, source="by hand")
    for events in (decoded(transcripts.stream("anthropic-cache")), decoded_body(transcripts.body("anthropic-cache"))):
        usage = meaning(events).usage
        assert usage is not None and price.cost_nusd(usage) == 18_246_000


def test_what_only_the_beginning_says_still_holds_at_the_end() -> None:
    cached = {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 2}}
    stream = frame("message_start", message={"id": "m", "model": "c", "usage": {**cached, "output_tokens": 1}})
    usages = [event.usage for event in decoded(stream + ENDING) if event.usage]
    assert usages == [
        Usage(input=3, cached_read=5, cached_write_1h=2, output=1),
        Usage(input=3, cached_read=5, cached_write_1h=2, output=2),
    ]


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({}, Usage()),
        ({"cache_creation_input_tokens": 10}, Usage(cached_write=10)),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 10}}, Usage(cached_write=10)),
        ({"cache_creation_input_tokens": 10, "cache_creation": {}}, Usage(cached_write=10)),
        (
            {"cache_creation_input_tokens": 10, "cache_creation": {"ephemeral_1h_input_tokens": 10}},
            Usage(cached_write_1h=10),
        ),
        ({"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 9}}, Usage(reasoning=5)),
        ({"input_tokens": -1, "output_tokens": -1}, Usage()),
    ],
)
def test_usage_by_kinds(said: dict[str, Any], usage: Usage) -> None:
    told = read(json.dumps({"type": "message", "usage": said}).encode()).usage
    assert told is not None and told.usage() == usage


counts = st.none() | st.integers(-3, 2000)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"], counts),
            "output_tokens": counts,
            "output_tokens_details": st.none() | st.fixed_dictionaries({}, optional={"thinking_tokens": counts}),
            "cache_creation": st.none()
            | st.fixed_dictionaries(
                {}, optional={"ephemeral_5m_input_tokens": counts, "ephemeral_1h_input_tokens": counts}
            ),
            "server_tool_use": st.just({"web_search_requests": 1}),
        },
    )
)
def test_usage_is_never_negative_and_never_less_than_reported(said: dict[str, Any]) -> None:
    told = read(json.dumps({"type": "message", "usage": said}).encode()).usage
    assert isinstance(told, UsageSaid)
    usage = told.usage()
    assert all(getattr(usage, kind) >= 0 for kind in KINDS)
    assert usage.output_total == max(told.output_tokens or 0, 0)
    assert usage.input_total >= (told.input_tokens or 0) + (told.cache_read_input_tokens or 0)
    assert usage.cached_write + usage.cached_write_1h >= (told.cache_creation_input_tokens or 0)


@given(st.builds(Usage, **{kind: st.integers(0, 1000) for kind in KINDS if "audio" not in kind and "1h" not in kind}))
def test_usage_that_we_write_reads_as_the_same(usage: Usage) -> None:
    told = read(json.dumps({"type": "message", "usage": write_usage(usage)}).encode()).usage
    assert told is not None and told.usage() == usage


# --- errors


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"type":"error","error":{"type":"not_found_error","message":"no such model"},"request_id":"r"}',
            "no such model",
        ),
        (b'{"error":{"message":"You exceeded your quota","code":429}}', "You exceeded your quota"),
        (b'{"error":"model not found"}', "model not found"),
        (b'{"message":"Too many requests","code":429}', "Too many requests"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"type":"error","error":{}}', ""),
        (b"{}", ""),
        (b"", ""),
        (b"<html><body>502 Bad Gateway</body></html>", ""),
        (b'{"error":{"message":5}}', ""),
        (b'{"error":[1]}', ""),
        (b'{"detail":"caf\xe9"}', "caf\ufffd"),
        (b"\xff\xfe", ""),
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
        (BodyTooLarge("too much"), 413, "request_too_large"),
        (BadRequest("what?"), 422, "invalid_request_error"),
        (UpstreamLimited("slow down"), 429, "rate_limit_error"),
        (Internal("oh"), 500, "api_error"),
        (UpstreamFailed("nobody"), 502, "api_error"),
        (ShuttingDown("bye"), 503, "overloaded_error"),
        (UpstreamTimeout("late"), 504, "timeout_error"),
    ],
)
def test_an_error_of_ours_has_the_shape_that_sdks_read(error: TidegateError, status: int, kind: str) -> None:
    written = json.loads(write_error(error, status))
    expected = {"type": kind, "message": error.message, "code": error.code}
    assert written == {"type": "error", "error": expected | ({"param": error.param} if error.param else {})}


def test_what_a_provider_refused_is_passed_on_in_its_own_words() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"too long"},"request_id":"req_1"}'
    refused = UpstreamRefused("too long", status=400, dialect="anthropic", body=body, content_type="application/json")
    assert write_error(refused, 400) == body


@pytest.mark.parametrize(
    ("dialect", "body"),
    [("openai", b'{"error":{"message":"x"}}'), ("anthropic", b"<html>"), ("anthropic", b""), ("anthropic", b"[1]")],
)
def test_what_another_dialect_or_nobody_refused_is_said_in_ours(dialect: str, body: bytes) -> None:
    refused = UpstreamRefused("too long", status=400, dialect=dialect, body=body, content_type="text/html")
    assert json.loads(write_error(refused, 400))["error"]["message"] == "too long"
