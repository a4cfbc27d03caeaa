"""Whatever is sent: never a 500, never a hang, always an error that says something, and a row for each known key."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.house import Reply

# --- from the OpenAPI document

TAIL = "/admin/requests/tail"


async def test_what_the_document_describes_is_what_is_answered(house):
    async with house.serve() as url:
        document = (await house.get("/openapi.json")).events[0]
        _at_once(document)
        await asyncio.to_thread(_walk, document, url, house.key)
    assert all(row.outcome in ("ok", "refused") for row in await house.rows())


def _at_once(document: dict[str, Any]) -> None:
    """This tool hears streams to their end, so that of calls shall come at once: for no second, and that always said.

    What is asked wrongly of it is tried by tests/api/admin/test_requests.py.
    """
    for one in document["paths"][TAIL]["get"]["parameters"]:
        if one["name"] == "seconds":
            one["required"], one["schema"] = True, {"type": "integer", "const": 0}


def _walk(document: dict[str, Any], url: str, key: str) -> None:
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()
        modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
        for mode in modes[:1] if operation.path == TAIL else modes:
            _ask_all(operation, mode, url, {"Authorization": f"Bearer {key}"}, document)


def _ask_all(operation: Any, mode: GenerationMode, url: str, headers: dict[str, str], document: dict[str, Any]) -> None:
    @seed(1)
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        # That a team exists, or a time zone, no schema can say; then the error says which field it is about.
        answer = case.call(base_url=url, headers=headers, timeout=30)
        if answer.status_code == 431:  # a query as long as a book; this tool does not know the number
            assert answer.json()["error"]["code"] == "headers_too_large"
            return
        if answer.status_code < 400 and _is_wrong_in_its_body_alone(case) and _fits(document, case):
            return  # what is wrong for one half of a union may be right for the other: this tool does not look
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])
        if mode is GenerationMode.POSITIVE and answer.status_code == 400:
            assert answer.json()["error"]["param"], answer.text

    ask()


def _is_wrong_in_its_body_alone(case: schemathesis.Case) -> bool:
    parts = case.meta.components if case.meta else {}
    return [part.value for part, how in parts.items() if how.mode is GenerationMode.NEGATIVE] == ["body"]


def _fits(document: dict[str, Any], case: schemathesis.Case) -> bool:
    described = document["paths"][case.operation.path][case.method.lower()]["requestBody"]
    schema = described["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    return not isinstance(case.body, bytes) and jsonschema_rs.is_valid(whole, case.body)


# --- bodies that are nearly right

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:,"}}],
    },
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "c", "content": "42"},
]
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True}}
CHAT: list[dict[str, Any]] = [
    {"model": "fast", "messages": [{"role": "user", "content": "hi"}]},
    {"model": "fast", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}, "n": 2},
    {"model": "main/m", "messages": MESSAGES, "tools": [TOOL], "tool_choice": "auto", "response_format": SCHEMA},
    {"model": "fast", "messages": MESSAGES[:1], "stream": True, "logprobs": True, "user": "u", "metadata": {"a": "b"}},
]
COMPLETE: list[dict[str, Any]] = [
    {"model": "fast", "prompt": "Once"},
    {"model": "fast", "prompt": ["a", "b"], "stream": True, "n": 2, "max_tokens": 5, "stop": ["x"], "suffix": "z"},
    {"model": "fast", "prompt": [1, 2, 3], "stream": False, "logprobs": 3, "user": "u"},
]
SAID = [
    {
        "role": "user",
        "content": [{"type": "text", "text": "a"}, {"type": "image", "source": {"type": "url", "url": "b"}}],
    },
    {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "42", "is_error": False}]},
]
CACHED = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
CLAUDE: list[dict[str, Any]] = [
    {"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    {"model": "fast", "max_tokens": 9, "messages": SAID, "stream": True, "system": [CACHED], "stop_sequences": ["x"]},
    {"model": "fast", "max_tokens": 9, "messages": SAID, "tools": [{"name": "f", "input_schema": {"type": "object"}}]},
]
BODIES = {"/v1/chat/completions": CHAT, "/v1/completions": COMPLETE, "/v1/messages": CLAUDE}
ODD = st.sampled_from(
    [None, True, 0, -1, 2**63, 10**400, 1e308, float("nan"), float("inf"), "", "\ud800", "\0", "x" * 100_000, [], {}]
)
ANYTHING = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


class Deep(int):
    """A list in a list in a list, so many."""


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in `value` with every key or index of it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


@st.composite
def nearly_right(draw: st.DrawFn, bodies: list[dict[str, Any]]) -> bytes:
    """A good body with some of its values exchanged, gone, twice or deep, and perhaps some of its bytes wrong."""
    body = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(0, 2))):
        where = places(body)
        if not where:
            break
        holder, key = draw(st.sampled_from(where))
        match draw(st.sampled_from(["exchange", "drop", "swap", "deep", "more"])):
            case "exchange":
                holder[key] = draw(ANYTHING)
            case "drop":
                del holder[key]
            case "swap":
                other, at = draw(st.sampled_from(where))
                holder[key] = copy.deepcopy(other[at])
            case "deep":
                holder[key] = Deep(draw(st.sampled_from([10, 1_000, 20_000])))
            case "more" if isinstance(holder, dict):
                holder[draw(st.text(max_size=9))] = draw(ANYTHING)
    return spoilt(draw, written(body).encode("utf-8", "surrogatepass"))


def written(value: Any) -> str:
    if isinstance(value, Deep):
        return "[" * value + "]" * value
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def spoilt(draw: st.DrawFn, text: bytes) -> bytes:
    at = draw(st.integers(0, len(text)))
    match draw(st.sampled_from(["not"] * 12 + ["twice", "cut", "insert", "random"])):
        case "twice" if text[:1] == b"{" and len(text) > 2:
            return text[:-1] + b"," + text[1:]  # every key
        case "cut":
            return text[:at]
        case "insert":
            return text[:at] + draw(st.binary(max_size=4)) + text[at:]
        case "random":
            return draw(st.binary(max_size=200))
    return text


def is_well_answered(reply: Reply) -> bool:
    """A reply to its end, or an error that says what is wrong."""
    if reply.status != 200:
        error = reply.error
        return 400 <= reply.status < 500 and error is not None and bool(error.message) and bool(error.type)
    if reply.headers["content-type"].startswith("text/event-stream"):
        return reply.error is None and reply.body.endswith((b"data: [DONE]\n\n", b'{"type":"message_stop"}\n\n'))
    return reply.error is None and bool(reply.events)


FUZZ = settings(max_examples=400, derandomize=True, suppress_health_check=list(HealthCheck))
KEYS = st.sampled_from([True] * 9 + [False])
VALUES = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(["x-tidegate-user", "x-tidegate-session", "x-tidegate-tags", "accept", "x-claude-code-session-id"]),
    VALUES,
    max_size=3,
)


@FUZZ
@pytest.mark.parametrize("path", BODIES)
@given(data=st.data(), known=KEYS, headers=HEADERS)
async def test_any_body_is_answered(house, path, data, known, headers):
    body = data.draw(nearly_right(BODIES[path]))
    reply = await house.ask(path=path, body=body, headers=headers, key=None if known else "wrong")
    assert is_well_answered(reply), f"{reply.status} {reply.body[:500]!r} to {body[:500]!r}"
    assert (reply.row is not None) is known and (reply.status == 401) is not known
    if known:
        assert reply.row.status == reply.status and (reply.row.outcome == "ok") is (reply.status == 200)


async def test_rows_are_the_calls_whose_key_is_known(house):
    calls: list[tuple[bytes, bool]] = []

    @settings(FUZZ, max_examples=300)
    @given(nearly_right(CHAT), KEYS)
    def collect(body: bytes, known: bool) -> None:
        calls.append((body, known))

    collect()
    await asyncio.gather(*[house.ask(body=body, key=None if known else "wrong") for body, known in calls])
    known = sum(known for _, known in calls)
    rows = await house.rows()
    assert 0 < known < len(calls) and len(rows) == len({row.id for row in rows}) == known
    totals = await house.app.world.ledger.totals()
    assert (totals.calls, totals.errors) == (known, sum(row.outcome != "ok" for row in rows))
