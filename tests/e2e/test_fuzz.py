"""Whatever is sent: never a 500, never a hang, always an error that says something, and a row for each known key."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.house import House, Reply

# --- from the OpenAPI document


async def test_what_the_document_describes_is_what_is_answered(house):
    async with house.serve() as url:
        document = (await house.get("/openapi.json")).events[0]
        await asyncio.to_thread(_walk, document, url, house.key)
    assert all(row.outcome in ("ok", "refused") for row in await house.rows())


def _walk(document: dict[str, Any], url: str, key: str) -> None:
    schema = schemathesis.openapi.from_dict(document)
    for found in schema.get_all_operations():
        operation = found.ok()
        # That its fields come in a body or in a query, no schema can say.
        excluded = [positive_data_acceptance] if operation.path == "/api/chat" else []
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @seed(1)
            @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case) -> None:
                headers = {"Authorization": f"Bearer {key}"}
                case.call_and_validate(base_url=url, headers=headers, excluded_checks=excluded, timeout=5)

            ask()


# --- bodies that are nearly right

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:,"}}]},
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
ODD = st.sampled_from(
    [None, True, 0, -1, 2**63, 10**400, 1e308, float("nan"), float("inf"), "", "\ud800", "\0", "x" * 100_000, [], {}]
)
ANYTHING = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in `value` with every key or index of it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


@st.composite
def nearly_right(draw: st.DrawFn, bodies: list[dict[str, Any]]) -> bytes:
    """A good body with some of its values exchanged, gone, twice or deep, and perhaps some of its bytes wrong."""
    body = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(0, 3))):
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
                holder[key] = copy.deepcopy(other[at]) if key in holder or isinstance(holder, list) else None
            case "deep":
                holder[key] = {"depth": draw(st.sampled_from([10, 1_000, 20_000]))}
            case "more" if isinstance(holder, dict):
                holder[draw(st.text(max_size=9))] = draw(ANYTHING)
    return spoilt(draw, written(body).encode("utf-8", "surrogatepass"))


def written(value: Any) -> str:
    """JSON, where {"depth": n} stands for a list so deep."""
    if isinstance(value, dict) and value.keys() == {"depth"} and isinstance(value["depth"], int):
        return "[" * value["depth"] + "]" * value["depth"]
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def spoilt(draw: st.DrawFn, text: bytes) -> bytes:
    at = draw(st.integers(0, len(text)))
    match draw(st.sampled_from(["not"] * 6 + ["twice", "cut", "insert", "random"])):
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
    streamed = reply.headers["content-type"].startswith("text/event-stream")
    return reply.error is None and (reply.events[-1] == "[DONE]" if streamed else bool(reply.events))


FUZZ = settings(max_examples=700, derandomize=True, suppress_health_check=list(HealthCheck))
KEYS = st.sampled_from([True] * 9 + [False])
VALUES = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(["x-tidegate-user", "x-tidegate-session", "x-tidegate-tags", "accept", "x-claude-code-session-id"]),
    VALUES,
    max_size=3,
)


async def asked(house: House, path: str, body: bytes, known: bool, headers: dict[str, str]) -> None:
    """Ask, and look at the answer and at its row."""
    reply = await house.ask(path=path, body=body, headers=headers, key=None if known else "wrong")
    assert is_well_answered(reply), f"{reply.status} {reply.body[:500]!r} to {body[:500]!r}"
    assert (reply.row is not None) is known and (reply.status == 401) is not known
    if known:
        assert reply.row.status == reply.status and (reply.row.outcome == "ok") is (reply.status == 200)


@FUZZ
@given(body=nearly_right(CHAT), known=KEYS, headers=HEADERS)
async def test_any_chat_is_answered(house, body, known, headers):
    await asked(house, "/v1/chat/completions", body, known, headers)


@FUZZ
@given(body=nearly_right(COMPLETE), known=KEYS, headers=HEADERS)
async def test_any_completion_is_answered(house, body, known, headers):
    await asked(house, "/v1/completions", body, known, headers)


async def test_rows_are_the_calls_whose_key_is_known(house):
    known = 0

    @settings(FUZZ, max_examples=150)
    @given(st.lists(st.tuples(nearly_right(CHAT), KEYS), max_size=10))
    def collect(calls: list[tuple[bytes, bool]]) -> None:
        batches.append(calls)

    batches: list[list[tuple[bytes, bool]]] = []
    collect()
    for batch in batches:
        replies = [house.ask(body=body, key=None if key else "wrong") for body, key in batch]
        await asyncio.gather(*replies)
        known += sum(key for _, key in batch)
    rows = await house.rows()
    assert len(rows) == len({row.id for row in rows}) == known
    totals = await house.app.world.ledger.totals()
    assert (totals.calls, totals.errors) == (known, sum(row.outcome != "ok" for row in rows))
