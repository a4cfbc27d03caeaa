"""Where can a long conversation be cut?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.core.call import Asked
from tidegate.providers.anthropic.messages import Messages
from tidegate.providers.openai.chat import Chat
from tidegate.upstream.shrink.turns import Cut, Turns, cut_of, cut_off, names, told, turns_of

CALLED = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
CHAT: list[Any] = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": None, "tool_calls": CALLED},
    {"role": "tool", "tool_call_id": "c1", "content": "seen"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
    {"role": "assistant", "content": "four"},
    {"role": "user", "content": "five"},
]


def chat(messages: list[Any], **fields: Any) -> Asked:
    return Chat().parse_request(json.dumps({"model": "m", "messages": messages, **fields}).encode())


def turns(messages: list[Any]) -> Turns:
    found = turns_of(chat(messages))
    assert found is not None
    return found


def test_a_turn_begins_where_a_user_speaks() -> None:
    found = turns(CHAT)
    assert (len(found.raws), found.lead, found.begins) == (8, 1, [1, 5, 7])


def test_in_anthropics_dialect_a_tool_that_answers_begins_none() -> None:
    result = [{"type": "tool_result", "tool_use_id": "t", "content": "seen"}]
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": result},
    ]
    found = turns_of(Messages().parse_request(json.dumps({"model": "m", "messages": messages}).encode()))
    assert found is not None and found.begins == [0]


def test_what_a_client_has_marked_is_not_cut() -> None:
    block = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    assert turns_of(chat([{"role": "user", "content": [block]}])) is None


@pytest.mark.parametrize(
    ("above", "keep", "known", "cut"),
    [
        (10_000, 1, [], None),  # it is short enough
        (100, 1, [], Cut(7, 1)),
        (100, 2, [], Cut(5, 1)),
        (100, 3, [], None),  # all of its turns are to stay
        (150, 1, [5], Cut(5, 5)),  # what was cut before is enough
        (30, 1, [5], Cut(7, 5)),  # it is not any more
        (30, 2, [5], Cut(5, 5)),
    ],
)
def test_a_conversation_is_cut_when_it_is_too_long_and_where_it_was_before(
    above: int, keep: int, known: list[int], cut: Cut | None
) -> None:
    assert cut_of(turns(CHAT), above, keep, known) == cut


def test_what_comes_before_a_place_gives_it_its_name() -> None:
    before, after = names(turns(CHAT[:6]), b""), names(turns(CHAT), b"")
    assert before == {5: after[5]} and set(after) == {5, 7}
    assert names(turns(CHAT), b"of another")[5] != after[5]


def test_the_summary_stands_in_the_place_of_what_was_cut_off() -> None:
    asked = chat(CHAT, temperature=0.70)
    out = cut_off(asked, turns(CHAT), Cut(5, 1), "one and two")
    assert json.loads(out.body)["messages"] == [
        CHAT[0],
        {"role": "user", "content": "Before this, in short: one and two"},
        {"role": "assistant", "content": "I remember."},
        *CHAT[5:],
    ]
    assert json.loads(out.body)["temperature"] == 0.70


def test_what_is_to_be_summarised_says_who_said_what() -> None:
    assert json.loads(told(chat(CHAT), Cut(5, 1), None)) == [
        {"user": "one"},
        {"assistant": '{"a": 1}'},
        {"tool": "seen"},
        {"assistant": "two"},
    ]
    assert json.loads(told(chat(CHAT), Cut(7, 5), "one, two")) == [
        {"before": "one, two"},
        {"user": "three"},
        {"assistant": "four"},
    ]
