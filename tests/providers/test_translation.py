"""Every client's dialect to every provider's: what leaves, what the client sees, and what cannot be said is said."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.providers.anthropic import transcripts as anthropic
from tests.providers.folding import folded_anthropic, folded_openai, payloads
from tests.providers.openai import transcripts as openai
from tidegate.core.call import Event
from tidegate.core.chat import Conversation, Message, Opaque, Text, ToolCall, Written
from tidegate.core.errors import BadRequest, UpstreamCutOff, UpstreamFailed
from tidegate.core.ports import Codec
from tidegate.providers.anthropic.messages import Messages
from tidegate.providers.openai.chat import Chat

FOLDER = Path(__file__).parents[1] / "transcripts" / "translated"
CHAT, MESSAGES = Chat(), Messages()
CODECS: dict[str, Codec] = {"openai": CHAT, "anthropic": MESSAGES}
OTHER = {"openai": "anthropic", "anthropic": "openai"}


def translated(request: Any, client: str, provider: str, model: str = "m") -> Written:
    """What leaves for a provider when a client asks this."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    codec = CODECS[client]
    return CODECS[provider].render_request(codec.conversation(codec.parse_request(body)), model)


def heard(reply: bytes, provider: str, client: str, *, stream: bool, size: int = 1 << 20) -> bytes:
    """What a client hears when a provider says this, in pieces of `size`."""
    decoder = CODECS[provider].decoder(stream=stream, withhold_usage=False)
    encoder = CODECS[client].encoder(stream=stream, wants_usage=True, request_id="r", model="asked")
    written = b""
    for at in range(0, len(reply), size):
        written += encoder.feed(decoder.feed(reply[at : at + size]))
    written += encoder.feed(decoder.end())
    return re.sub(rb'"created":\d+', b'"created":0', written)


# --- requests that were written down in both dialects


class Pair(NamedTuple):
    """The same request twice. Some have a way: written in the other dialect they do not come back as they were."""

    openai: dict[str, Any]
    anthropic: dict[str, Any]
    way: str = ""
    left_out: list[str] = []


PAIRS = {path.stem: Pair(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted(FOLDER.glob("*.json"))}


WAYS = [(name, client) for name, pair in PAIRS.items() for client in ([pair.way] if pair.way else CODECS)]


@pytest.mark.parametrize(("name", "client"), WAYS)
def test_a_request_says_the_same_in_the_other_dialect(name: str, client: str) -> None:
    pair = PAIRS[name]
    written = translated(getattr(pair, client), client, OTHER[client])
    assert json.loads(written.body) == getattr(pair, OTHER[client])
    assert sorted(written.left_out) == sorted(pair.left_out)


def test_every_pair_is_read_by_somebody() -> None:
    assert len(PAIRS) > 25 and {pair.way for pair in PAIRS.values()} == {"", "openai", "anthropic"}


@pytest.mark.parametrize("model", ["gpt-5.1", "openai/gpt-5-mini", "o3", "o4-mini-2025-04-16", "gpt-12"])
def test_models_that_think_are_given_their_limit_by_its_new_name(model: str) -> None:
    asked = json.loads(translated(PAIRS["sampling"].anthropic, "anthropic", "openai", model).body)
    assert asked["max_completion_tokens"] == 100 and "max_tokens" not in asked


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1", "llama-3.3-70b", "mistral-small", "qwen/qwen3-32b", "solo1"])
def test_other_models_are_given_it_by_the_old_one(model: str) -> None:
    asked = json.loads(translated(PAIRS["sampling"].anthropic, "anthropic", "openai", model).body)
    assert asked["max_tokens"] == 100 and "max_completion_tokens" not in asked


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-opus-4-8-20260528", "anthropic.claude-sonnet-5-v1:0"])
def test_models_that_refuse_sampling_are_not_asked_for_it_and_the_client_is_told(model: str) -> None:
    written = translated(PAIRS["sampling"].openai, "openai", "anthropic", model)
    assert written.left_out == ("temperature", "top_p")
    assert not {"temperature", "top_p"} & json.loads(written.body).keys()


@pytest.mark.parametrize(
    "model", ["claude-opus-4-6", "claude-sonnet-4-5-20250929", "claude-3-5-haiku-20241022", "glm-5"]
)
def test_models_that_take_sampling_are_asked_for_it(model: str) -> None:
    written = translated(PAIRS["sampling"].openai, "openai", "anthropic", model)
    assert (written.left_out, json.loads(written.body)["temperature"]) == ((), 0.5)


# --- what cannot be said

HELLO = {"role": "user", "content": "hello"}


def asking(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages) or [HELLO], **fields}


def parts(*content: Any, role: str = "user") -> dict[str, Any]:
    return asking({"role": role, "content": list(content)})


def image(url: Any) -> dict[str, Any]:
    return parts({"type": "image_url", "image_url": {"url": url}})


def source(**fields: Any) -> dict[str, Any]:
    return parts({"type": "image", "source": fields})


def pdf(**file: Any) -> dict[str, Any]:
    return parts({"type": "file", "file": file})


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CUSTOM = {"id": "c1", "type": "custom", "custom": {"name": "f", "input": "x"}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

REFUSED_OF_OPENAI: list[tuple[dict[str, Any], str]] = [
    # what makes no sense anywhere
    (image("nonsense"), "messages[0].content[0].image_url.url"),
    (image(""), "messages[0].content[0].image_url.url"),
    (image("data:image/png;base64,"), "messages[0].content[0].image_url.url"),
    (image("data:image/png;base64,no!"), "messages[0].content[0].image_url.url"),
    (image("data:image/png,raw"), "messages[0].content[0].image_url.url"),
    (image("data:text/plain;base64,aGk="), "messages[0].content[0].image_url.url"),
    (image("file:///etc/passwd"), "messages[0].content[0].image_url.url"),
    (image(5), "messages[0].content[0].image_url.url"),
    (pdf(filename="a.pdf", file_data="aGk="), "messages[0].content[0].file.file_data"),
    (pdf(filename="a.txt", file_data="data:text/plain;base64,//79"), "messages[0].content[0].file.file_data"),
    (pdf(filename=5, file_data="data:application/pdf;base64,aGk="), "messages[0].content[0].file.filename"),
    (asking({"role": "tool", "tool_call_id": "c1", "content": "5"}), "messages[0].tool_call_id"),
    (asking(HELLO, {"role": "tool", "content": "5"}), "messages[1].tool_call_id"),
    (
        asking({"role": "tool", "tool_call_id": "c1"}, {"role": "assistant", "tool_calls": [CALL]}),
        "messages[0].tool_call_id",
    ),
    (asking({"role": "user", "content": ""}), "messages[0].content"),
    (asking(HELLO, {"role": "user", "content": None}), "messages[1].content"),
    (asking(HELLO, {"role": "user", "content": []}), "messages[1].content"),
    (asking(HELLO, {"role": "user", "content": [{"type": "text", "text": ""}]}), "messages[1].content"),
    (asking({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}), "messages[0].tool_calls[0].id"),
    (
        asking({"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}),
        "messages[0].tool_calls[0].function.name",
    ),
    (asking(tools=[{"type": "function", "function": {"parameters": {}}}]), "tools[0].function.name"),
    (asking(tool_choice="sometimes"), "tool_choice"),
    (asking(tools=[FUNCTION], tool_choice={"type": "function", "function": {"name": 5}}), "tool_choice.function.name"),
    # what only OpenAI has
    (parts({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}), "messages[0].content[0]"),
    (pdf(file_id="file-1"), "messages[0].content[0]"),
    (parts({"type": "hologram"}), "messages[0].content[0]"),
    (parts({"text": "of no type"}), "messages[0].content[0]"),
    (asking({"role": "assistant", "content": "a", "audio": {"id": "x"}}), "messages[0].audio"),
    (asking({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}), "messages[0].function_call"),
    (asking({"role": "assistant", "tool_calls": [CUSTOM]}), "messages[0].tool_calls[0]"),
    (asking({"role": "function", "name": "f", "content": "1"}), "messages[0]"),
    (asking(tools=[FUNCTION, {"type": "custom", "custom": {"name": "f"}}]), "tools[1]"),
    (asking(tools=[FUNCTION], tool_choice={"type": "allowed_tools", "allowed_tools": {}}), "tool_choice"),
    (asking(response_format={"type": "json_object"}), "response_format"),
    (asking(response_format={"type": "text", "brand_new": 1}), "response_format"),
    (
        asking(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {}}, "brand_new": 1}),
        "response_format",
    ),
    (asking(response_format={"type": "json_schema", "json_schema": {"name": "a"}}), "response_format"),
    (asking(n=2), "n"),
    (asking(logprobs=True), "logprobs"),
    (asking(modalities=["text", "audio"]), "modalities"),
    (asking(web_search_options={"search_context_size": "low"}), "web_search_options"),
    (asking(moderation={"model": "omni"}), "moderation"),
    (asking(brand_new={"a": 1}), "brand_new"),
    (asking(stream_options={"include_usage": True, "brand_new": 1}), "stream_options.brand_new"),
]

REFUSED_OF_ANTHROPIC: list[tuple[dict[str, Any], str]] = [
    (source(type="base64", media_type="image/png", data="no!"), "messages[0].content[0].source"),
    (source(type="base64", media_type="image/png", data=""), "messages[0].content[0].source"),
    (source(type="base64", media_type="text/plain", data="aGk="), "messages[0].content[0].source"),
    (source(type="base64", media_type="image/png"), "messages[0].content[0].source.data"),
    (source(type="base64", data="aGk="), "messages[0].content[0].source.media_type"),
    (source(type="url", url="nonsense"), "messages[0].content[0].source"),
    (source(type="url"), "messages[0].content[0].source.url"),
    (parts({"type": "tool_result", "tool_use_id": "t"}), "messages[0].content[0].tool_use_id"),
    (parts({"type": "tool_result"}), "messages[0].content[0].tool_use_id"),
    (parts({"type": "tool_use", "name": "f", "input": {}}, role="assistant"), "messages[0].content[0].id"),
    (parts({"type": "tool_use", "id": "t", "input": {}}, role="assistant"), "messages[0].content[0].name"),
    (parts({"type": "tool_use", "id": "t", "name": "f"}, role="assistant"), "messages[0].content[0].input"),
    (parts({"type": "text"}), "messages[0].content[0].text"),
    (parts(), "messages[0].content"),
    (parts({"type": "text", "text": ""}), "messages[0].content"),
    (asking(HELLO, {"role": "user", "content": ""}), "messages[1].content"),
    (asking({"role": "narrator", "content": "a"}), "messages[0].role"),
    (asking(tools=[{"input_schema": {}}]), "tools[0].name"),
    (asking(tool_choice={"type": "sometimes"}), "tool_choice.type"),
    (asking(tool_choice={"type": "tool"}), "tool_choice.name"),
    (asking(output_config={"format": {"type": "grammar"}}), "output_config.format"),
    # what only Anthropic has
    (parts({"type": "tool_use", "id": "t", "name": "f", "input": {}}), "messages[0].content[0]"),
    (parts({"type": "tool_result", "tool_use_id": "t"}, role="assistant"), "messages[0].content[0]"),
    (parts({"type": "tool_result", "tool_use_id": "t"}, role="system"), "messages[0].content[0]"),
    (parts({"type": "search_result", "source": "s", "title": "t", "content": []}), "messages[0].content[0]"),
    (parts({"type": "container_upload", "file_id": "f"}), "messages[0].content[0]"),
    (parts({"type": "document", "source": {"type": "url", "url": "https://a.b/c.pdf"}}), "messages[0].content[0]"),
    (source(type="file", file_id="f"), "messages[0].content[0]"),
    (
        parts(
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}, "context": "c"}
        ),
        "messages[0].content[0].context",
    ),
    (
        parts(
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "a"},
                "citations": {"enabled": True},
            }
        ),
        "messages[0].content[0].citations",
    ),
    (
        parts({"type": "server_tool_use", "id": "s", "name": "n", "input": {}}, role="assistant"),
        "messages[0].content[0]",
    ),
    (asking(tools=[{"type": "web_search_20260318", "name": "web_search"}]), "tools[0]"),
    (asking(tools=[{"name": "f", "input_schema": {}, "allowed_callers": ["code"]}]), "tools[0].allowed_callers"),
    (asking(container="c"), "container"),
    (asking(mcp_servers=[{"url": "u"}]), "mcp_servers"),
    (asking(brand_new={"a": 1}), "brand_new"),
    (asking({"role": "user", "content": "a", "brand_new": 1}), "messages[0].brand_new"),
    (asking(output_config={"effort": "low", "brand_new": 1}), "output_config.brand_new"),
]


@pytest.mark.parametrize(
    ("client", "request_", "path"),
    [("openai", *case) for case in REFUSED_OF_OPENAI] + [("anthropic", *case) for case in REFUSED_OF_ANTHROPIC],
)
def test_what_cannot_be_said_is_refused_by_its_path(client: str, request_: dict[str, Any], path: str) -> None:
    asked = CODECS[client].parse_request(json.dumps(request_).encode())
    assert CODECS[client].outgoing(asked, "m") is asked.body, "its own dialect is not our business"
    with pytest.raises(BadRequest) as refused:
        translated(request_, client, OTHER[client])
    assert refused.value.param == path
    assert refused.value.message.startswith(f"{path}: ")


# --- nothing is dropped in silence


# Fields that ask for little enough to be left out, where they belong.
SPICES = {
    "openai": ("seed", "metadata", "name", "detail", "cache_control", "safety_identifier"),
    "anthropic": ("cache_control", "service_tier", "citations", "transformations", "display"),
}


class Fresh:
    """Words and numbers that stand nowhere else in a request, so that they are known again."""

    def __init__(self) -> None:
        self.count = 0

    def word(self) -> str:
        self.count += 1
        return f"w{self.count:03}w"

    def number(self) -> int:
        self.count += 1
        return 900_000 + self.count

    def base64(self) -> str:
        return base64.b64encode(self.word().encode()).decode()


def some(draw: st.DrawFn, **fields: Callable[[], Any]) -> dict[str, Any]:
    """Any of these fields."""
    return {name: make() for name, make in fields.items() if draw(st.booleans())}


def few(draw: st.DrawFn, *makes: Callable[[], Any], least: int = 0, most: int = 3) -> list[Any]:
    return [draw(st.sampled_from(makes))() for _ in range(draw(st.integers(least, most)))]


def one(draw: st.DrawFn, *values: Any) -> Callable[[], Any]:
    return lambda: draw(st.sampled_from(values))


@st.composite
def openai_requests(draw: st.DrawFn) -> dict[str, Any]:
    fresh = Fresh()

    def text() -> Any:
        return {"type": "text", "text": fresh.word()}

    def picture() -> Any:
        url = draw(st.sampled_from([f"https://{fresh.word()}.com", f"data:image/png;base64,{fresh.base64()}"]))
        return {"type": "image_url", "image_url": {"url": url}}

    def document() -> Any:
        return {
            "type": "file",
            "file": {"file_data": f"data:application/pdf;base64,{fresh.base64()}", "filename": fresh.word()},
        }

    def said(*makes: Callable[[], Any]) -> Any:
        return fresh.word() if draw(st.booleans()) else few(draw, *makes, least=1)

    def function() -> Any:
        schema = {"type": "object", "properties": {fresh.word(): {"type": fresh.word()}}}
        own = some(draw, description=fresh.word, parameters=lambda: schema, strict=one(draw, True, False))
        return {"type": "function", "function": {"name": fresh.word(), **own}}

    def exchange() -> list[Any]:
        ids = [fresh.word() for _ in range(draw(st.integers(1, 3)))]
        calls = [
            {
                "id": id,
                "type": "function",
                "function": {"name": fresh.word(), "arguments": json.dumps({fresh.word(): fresh.number()})},
            }
            for id in ids
        ]
        answers = [{"role": "tool", "tool_call_id": id, "content": said(text)} for id in ids]
        return [{"role": "assistant", "content": one(draw, None, fresh.word())(), "tool_calls": calls}, *answers]

    def line() -> list[Any]:
        role = draw(st.sampled_from(["system", "developer", "user", "assistant"]))
        return [{"role": role, "content": said(text, picture, document) if role == "user" else said(text)}]

    request = {"model": "m", "messages": [message for turn in few(draw, line, exchange, least=1) for message in turn]}
    request |= some(
        draw,
        tools=lambda: few(draw, function, least=1),
        tool_choice=one(draw, "auto", "required", {"type": "function", "function": {"name": fresh.word()}}),
        parallel_tool_calls=one(draw, True, False),
        stream=one(draw, True, False),
        stream_options=lambda: {"include_usage": True},
        max_tokens=fresh.number,
        temperature=one(draw, 0.125, 1.5),
        top_p=lambda: 0.375,
        top_k=fresh.number,
        stop=one(draw, fresh.word(), [fresh.word(), fresh.word()]),
        reasoning_effort=one(draw, "none", "minimal", "low", "max"),
        response_format=lambda: {
            "type": "json_schema",
            "json_schema": {"name": fresh.word(), "schema": {"title": fresh.word()}, "strict": True},
        },
        user=fresh.word,
    )
    return spiced(draw, fresh, request, SPICES["openai"])


@st.composite
def anthropic_requests(draw: st.DrawFn) -> dict[str, Any]:
    fresh = Fresh()

    def text() -> Any:
        return {"type": "text", "text": fresh.word()}

    def picture() -> Any:
        whole = {"type": "base64", "media_type": "image/webp", "data": fresh.base64()}
        return {"type": "image", "source": one(draw, whole, {"type": "url", "url": f"https://{fresh.word()}.com"})()}

    def document() -> Any:
        whole = {"type": "base64", "media_type": "application/pdf", "data": fresh.base64()}
        return {"type": "document", "source": whole, **some(draw, title=fresh.word)}

    def thought() -> Any:
        plain = {"type": "thinking", "thinking": fresh.word(), "signature": fresh.word()}
        return one(draw, plain, {"type": "redacted_thinking", "data": fresh.word()})()

    def said(*makes: Callable[[], Any]) -> Any:
        return fresh.word() if draw(st.booleans()) else few(draw, *makes, least=1)

    def tool() -> Any:
        schema = {"type": "object", "properties": {fresh.word(): {"type": fresh.word()}}}
        own = some(draw, description=fresh.word, strict=one(draw, True, False), type=lambda: "custom")
        return {"name": fresh.word(), "input_schema": schema, **own}

    def exchange() -> list[Any]:
        ids = [fresh.word() for _ in range(draw(st.integers(1, 3)))]
        calls = [
            {"type": "tool_use", "id": id, "name": fresh.word(), "input": {fresh.word(): fresh.number()}} for id in ids
        ]
        answers = [
            {"type": "tool_result", "tool_use_id": id}
            | some(draw, content=lambda: said(text, picture, document), is_error=one(draw, True, False))
            for id in ids
        ]
        before, after = few(draw, text, thought, most=2), few(draw, text, picture, most=1)
        return [{"role": "assistant", "content": [*before, *calls]}, {"role": "user", "content": [*answers, *after]}]

    def line() -> list[Any]:
        role = draw(st.sampled_from(["system", "user", "assistant"]))
        makes = {"system": (text,), "user": (text, picture, document), "assistant": (text, thought)}[role]
        return [{"role": role, "content": said(*makes)}]

    request = {"model": "m", "messages": [message for turn in few(draw, line, exchange, least=1) for message in turn]}
    request |= some(
        draw,
        system=lambda: said(text),
        tools=lambda: few(draw, tool, least=1),
        tool_choice=one(draw, {"type": "auto"}, {"type": "any"}, {"type": "tool", "name": fresh.word()}),
        stream=one(draw, True, False),
        max_tokens=fresh.number,
        temperature=lambda: 0.125,
        top_p=lambda: 0.375,
        top_k=fresh.number,
        stop_sequences=lambda: [fresh.word(), fresh.word()],
        thinking=one(
            draw, {"type": "adaptive"}, {"type": "enabled", "budget_tokens": fresh.number()}, {"type": "disabled"}
        ),
        output_config=lambda: some(
            draw,
            effort=one(draw, "low", "xhigh"),
            format=lambda: {"type": "json_schema", "schema": {"title": fresh.word()}},
        ),
        metadata=lambda: {"user_id": fresh.word(), **some(draw, team=fresh.word)},
    )
    return spiced(draw, fresh, request, SPICES["anthropic"])


REQUESTS = {"openai": openai_requests(), "anthropic": anthropic_requests()}
FREE = ("parameters", "input_schema", "schema", "input", "metadata")  # what is in these is not for us to read


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a request that has fields of its dialect."""
    if isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if key not in FREE:
                yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def spiced(draw: st.DrawFn, fresh: Fresh, request: dict[str, Any], hints: tuple[str, ...]) -> dict[str, Any]:
    """With fields that are hints, and now and then one that nobody knows, anywhere."""
    unknown = ("brand_new",) if draw(st.integers(0, 2)) == 0 else ()
    places = list(objects(request))
    for _ in range(draw(st.integers(0, 3))):
        place, name = draw(st.sampled_from(places)), draw(st.sampled_from((*hints, *unknown)))
        value = one(draw, fresh.word(), {"deep": [fresh.word()]}, fresh.number(), True, None, [])()
        if name not in place and not (name == "metadata" and not isinstance(value, dict | None)):
            place[name] = value if name != "safety_identifier" else fresh.word()
    return request


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{at}]")
    else:
        yield path, value


# What has no words of its own in the other dialect, and how it is said there.
SAID_OTHERWISE = {
    "model": "the route says which",
    r"messages\[\d+\]\.role": "by where the words stand",
    r".*\.type": "by the shape of what it names",
    r"(.*\.)?(strict|is_error|stream|include_usage|parallel_tool_calls)": "by other words, or by default",
    r"tool_choice": "by other words",
    r"reasoning_effort|output_config\.effort": "by other words",
    r"response_format\.json_schema\.name": "nobody reads the name of the only schema",
    r"(.*\.)?media_type": "in the address of what it describes",
    r"metadata\.user_id|user|safety_identifier": "by its other name",
}


def accounted(path: str, leaf: Any, out: str, told: list[str]) -> bool:
    if any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in told):
        return True
    if isinstance(leaf, str | int | float) and not isinstance(leaf, bool) and str(leaf).rpartition("base64,")[2] in out:
        return True
    return leaf is None or any(re.fullmatch(pattern, path) for pattern in SAID_OTHERWISE)


@pytest.mark.parametrize("client", CODECS)
def test_nothing_is_dropped_in_silence(client: str) -> None:
    said = 0

    @settings(max_examples=300)
    @given(REQUESTS[client])
    def every_leaf_is_accounted_for(request: dict[str, Any]) -> None:
        nonlocal said
        paths = [path for path, _ in leaves(request)]
        try:
            written = translated(request, client, OTHER[client])
        except BadRequest as refused:
            named = [path for path in paths if refused.param and path.startswith(refused.param)]
            spice = re.compile(r"\b(brand_new|" + "|".join(SPICES[client]) + r")\b")
            assert named and (refused.param == "messages" or any(spice.search(path) for path in named)), refused.message
            return
        said += 1
        told = [words.partition(" ")[0] for words in written.left_out]
        lost = [
            (path, leaf) for path, leaf in leaves(request) if not accounted(path, leaf, written.body.decode(), told)
        ]
        assert not lost, f"neither said nor named: {lost} in {written}"
        again = CODECS[OTHER[client]]
        again.conversation(again.parse_request(written.body))

    every_leaf_is_accounted_for()
    assert said > 100, "most can be said"


# --- what is asked twice is the same


@given(openai_requests())
def test_a_request_of_openais_is_the_same_conversation_again(request: dict[str, Any]) -> None:
    asked = CHAT.parse_request(json.dumps(request).encode())
    first = CHAT.render_request(CHAT.conversation(asked), "m")
    second = CHAT.render_request(CHAT.conversation(CHAT.parse_request(first.body)), "m")
    assert json.loads(second.body) == json.loads(first.body)


def test_what_was_said_after_a_call_keeps_what_stood_beside_it() -> None:
    """Here it must stand in the message of the call."""
    own = Opaque("openai", b'"ada"', "messages[0].name", hint=True)
    call, after = ToolCall("c1", "f", "{}"), Message("assistant", (Text("wait"),), extra=(("name", own),))
    (message,) = json.loads(CHAT.render_request(Conversation((call, after)), "m").body)["messages"]
    assert (message["content"], message["name"], len(message["tool_calls"])) == ("wait", "ada", 1)


# --- any request at all

junk = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "id"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("client", CODECS)
def test_a_broken_request_is_a_bad_request_and_nothing_else(client: str) -> None:
    @given(REQUESTS[client], st.data())
    def it_is(request: dict[str, Any], data: st.DataObject) -> None:
        place = data.draw(st.sampled_from([place for place in objects(request) if place]))
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(junk)
        with suppress(BadRequest):
            asked = CODECS[client].parse_request(json.dumps(request).encode())
            list(CODECS[client].texts(asked))
            for provider in CODECS.values():
                with suppress(BadRequest):
                    provider.render_request(CODECS[client].conversation(asked), "m")

    it_is()


# --- replies

STREAMS = [("anthropic", name) for name in anthropic.STREAMS] + [("openai", name) for name in openai.STREAMS]
BODIES = [("anthropic", name) for name in anthropic.BODIES] + [("openai", name) for name in openai.BODIES]
# Neither has an answer in it that the other dialect could tell: plain completions, two answers, sounds.
STREAMS.remove(("openai", "openai-complete"))
STREAMS.remove(("openai", "openai-two-answers"))
BODIES.remove(("openai", "openai-complete"))
FOLDED = {"openai": folded_openai, "anthropic": folded_anthropic}
TRANSCRIPTS = {"openai": openai, "anthropic": anthropic}


@pytest.mark.parametrize(("provider", "name"), STREAMS)
def test_what_a_client_of_the_other_dialect_hears_of_a_stream(provider: str, name: str) -> None:
    stream = TRANSCRIPTS[provider].stream(name)
    said = heard(stream, provider, OTHER[provider], stream=True)
    assert said == (FOLDER / f"{name}.sse").read_bytes()
    assert said == heard(stream, provider, OTHER[provider], stream=True, size=1)


@pytest.mark.parametrize(("provider", "name"), BODIES)
def test_what_a_client_of_the_other_dialect_hears_of_a_whole_reply(provider: str, name: str) -> None:
    said = heard(TRANSCRIPTS[provider].body(name), provider, OTHER[provider], stream=False)
    assert json.loads(said) == json.loads((FOLDER / "whole" / f"{name}.json").read_bytes())


# By the rules of OpenAI's SDK these do not add up.
ADDING = [(provider, name) for provider, name in STREAMS if name not in ("mistral-thinking", "openai-function-call")]


@pytest.mark.parametrize(("provider", "name"), ADDING)
def test_a_stream_adds_up_to_what_the_whole_reply_would_have_been(provider: str, name: str) -> None:
    client = OTHER[provider]
    stream = TRANSCRIPTS[provider].stream(name)
    body = json.dumps(FOLDED[provider](stream), ensure_ascii=False, separators=(",", ":")).encode()
    streamed = FOLDED[client](heard(stream, provider, client, stream=True))
    whole = json.loads(heard(body, provider, client, stream=False))
    for reply in (streamed, whole):
        for choice in reply.get("choices", ()):
            for call in choice["message"].get("tool_calls", ()):  # as JSON: a whole reply has it without spaces
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    assert streamed == whole


@pytest.mark.parametrize(("provider", "name"), STREAMS)
def test_a_reply_there_and_back_means_what_it_meant(provider: str, name: str) -> None:
    stream = TRANSCRIPTS[provider].stream(name)
    client = OTHER[provider]
    there = heard(stream, provider, client, stream=True)
    back = heard(there, client, provider, stream=True)
    again = heard(back, provider, client, stream=True)
    assert FOLDED[client](again)["usage"] == FOLDED[client](there)["usage"]
    first, second = FOLDED[client](there), FOLDED[client](again)
    assert {key: first[key] for key in ("id", "model")} == {key: second[key] for key in ("id", "model")}
    words = [
        json.dumps(FOLDED[provider](one), sort_keys=True) for one in (back, heard(again, client, provider, stream=True))
    ]
    assert words[0] == words[1]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_error_in_the_middle_is_told_in_the_clients_dialect(provider: str) -> None:
    name = {"openai": "error-in-the-middle", "anthropic": "anthropic-error-in-the-middle"}[provider]
    stream = TRANSCRIPTS[provider].stream(name)
    decoder = CODECS[provider].decoder(stream=True, withhold_usage=False)
    codec = CODECS[OTHER[provider]]
    encoder = codec.encoder(stream=True, wants_usage=True, request_id="r", model="m")
    said = encoder.feed(decoder.feed(stream))
    with pytest.raises(UpstreamFailed) as failed:
        decoder.feed(b"\n")
        decoder.end()
    error = UpstreamCutOff(f"main sent what makes no sense: {failed.value.message}")
    said += encoder.feed([Event(last=True, error=error)]) + codec.render_error_event(error, 502)
    assert payloads(said)[-1]["error"]["code"] == "upstream_cut_off"
    assert b"[DONE]" not in said and b"message_stop" not in said


frames = st.sampled_from([(provider, name) for provider, name in STREAMS])


@given(frames, st.data())
def test_a_stream_in_disorder_is_told_or_a_failure_and_nothing_else(
    which: tuple[str, str], data: st.DataObject
) -> None:
    provider, name = which
    events = TRANSCRIPTS[provider].stream(name).split(b"\n\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(events) - 1))
        change = data.draw(st.sampled_from(["drop", "twice", "move", "break"]))
        if change == "drop" and len(events) > 1:
            del events[at]
        elif change == "twice":
            events.insert(at, events[data.draw(st.integers(0, len(events) - 1))])
        elif change == "move":
            events.insert(0, events.pop(at))
        else:
            value = data.draw(junk.map(json.dumps)).encode()
            events[at] = re.sub(
                rb':("[^"]*"|\d+|null)',
                b":" + value.replace(b"\\", b"\\\\"),
                events[at],
                count=data.draw(st.integers(1, 9)),
            )
    for client in CODECS:
        with suppress(UpstreamFailed):
            heard(b"\n\n".join(events), provider, client, stream=True)
