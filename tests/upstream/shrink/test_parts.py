"""Which texts of a request may be made shorter?"""

from __future__ import annotations

import json
from typing import Any

from tidegate.core.call import Asked
from tidegate.providers.anthropic.messages import Messages
from tidegate.providers.openai.chat import Chat
from tidegate.providers.openai.complete import Complete
from tidegate.upstream.shrink.parts import parts_of

CALLED = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
MARK = {"cache_control": {"type": "ephemeral"}}


def chat(*messages: Any, **fields: Any) -> Asked:
    return Chat().parse_request(json.dumps({"model": "m", "messages": messages, **fields}).encode())


def claude(*messages: Any, **fields: Any) -> Asked:
    return Messages().parse_request(json.dumps({"model": "m", "messages": messages, **fields}).encode())


def paths(asked: Asked) -> list[str]:
    return [part.path for part in parts_of(asked).parts]


def test_only_what_users_and_tools_say() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "what it does", "parameters": {}}}]
    asked = chat(
        {"role": "system", "content": "be kind"},
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "look"}]},
        {"role": "assistant", "content": "I look", "tool_calls": CALLED},
        {"role": "tool", "tool_call_id": "c1", "content": "seen"},
        tools=tools,
    )
    assert [(part.path, part.given) for part in parts_of(asked).parts] == [
        ("messages[2].content[0].text", False),
        ("messages[4].content", True),
    ]


def test_results_of_tools_in_anthropics_dialect_and_no_documents() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "a book"}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "seen"}]}
    asked = claude(
        {
            "role": "user",
            "content": [{"type": "document", "title": "t", "source": source}, {"type": "text", "text": "q"}],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": "b"}}]},
        {"role": "user", "content": [result, {**result, "content": "also"}]},
        system="be kind",
    )
    assert [(part.path, part.given) for part in parts_of(asked).parts] == [
        ("messages[0].content[1].text", False),
        ("messages[2].content[0].content[0].text", True),
        ("messages[2].content[1].content", True),
    ]


def test_a_turn_begins_after_what_the_model_said_before_the_user() -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    asks = [{"role": "user", "content": "c"}, {"role": "user", "content": "d"}]
    step = [{"role": "assistant", "content": None, "tool_calls": CALLED}]
    step += [{"role": "tool", "tool_call_id": "c1", "content": "e"}]
    assert [parts_of(chat(*some)).turn for some in (asks, said + asks, said + asks + step)] == [0, 2, 2]


def test_nothing_before_a_mark_of_the_clients_own() -> None:
    block = {"type": "text", "text": "a"}
    asked = claude({"role": "user", "content": [block, {**block, **MARK}, block]}, {"role": "user", "content": "b"})
    assert paths(asked) == ["messages[0].content[2].text", "messages[1].content"]
    assert paths(chat({"role": "user", "content": "a", **MARK}, {"role": "user", "content": "b"})) == [
        "messages[1].content"
    ]


def test_a_mark_of_the_whole_request_leaves_nothing() -> None:
    assert paths(claude({"role": "user", "content": "a"}, **MARK)) == []


def test_a_mark_of_the_system_prompt_leaves_the_messages() -> None:
    system = [{"type": "text", "text": "be kind", **MARK}]
    assert paths(claude({"role": "user", "content": "a"}, system=system)) == ["messages[0].content"]


def test_the_prompt_of_a_completion() -> None:
    for prompt, found in (("a", ["prompt"]), (["a", "b"], [])):
        assert paths(Complete().parse_request(json.dumps({"model": "m", "prompt": prompt}).encode())) == found
