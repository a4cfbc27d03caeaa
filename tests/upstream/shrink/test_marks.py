"""What should a provider keep, that is sent again and again?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import rawserver
from tests.house import Build
from tidegate.upstream.shrink.marks import KEPT_NS, Seen, marked

LONG = "The gate opens at six. " * 300
MARK = {"cache_control": {"type": "ephemeral"}}
TURNS: list[Any] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def body(*messages: Any, **fields: Any) -> bytes:
    return json.dumps(
        {"model": "m", "max_tokens": 9, "messages": messages or [{"role": "user", "content": "q"}], **fields}
    ).encode()


def after(*bodies: bytes, later_ns: int = 1) -> tuple[Any, int]:
    """The last of some requests, sent one after the other."""
    seen = Seen()
    *_, found = [marked(one, seen, at * later_ns) for at, one in enumerate(bodies)]
    return json.loads(found.body), found.marks


def test_a_system_prompt_is_marked_when_it_is_sent_again() -> None:
    assert after(body(system=LONG))[1] == 0
    found, marks = after(body(system=LONG), body({"role": "user", "content": "other"}, system=LONG))
    assert (found["system"], marks) == ([{"type": "text", "text": LONG, **MARK}], 1)


def test_of_blocks_the_last_is_marked() -> None:
    system = [{"type": "text", "text": LONG}, {"type": "text", "text": "be kind"}]
    found, _ = after(body(system=system), body(system=system))
    assert found["system"] == [system[0], {**system[1], **MARK}]


def test_without_a_system_prompt_the_last_tool_is_marked() -> None:
    tools = [{"name": "f", "description": LONG, "input_schema": {}}]
    found, _ = after(body(tools=tools), body(tools=tools))
    assert found["tools"] == [{**tools[0], **MARK}]


def test_a_conversation_is_marked_at_its_end_from_its_second_turn_on() -> None:
    first = {"role": "user", "content": LONG}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "c"}
    said = [first, {"role": "assistant", "content": "b"}, {"role": "user", "content": [result]}]
    assert after(body(*said))[1] == 0
    found, marks = after(body(first), body(*said))
    assert (found["messages"][2]["content"], marks) == ([{**result, **MARK}], 1)


def test_examples_that_every_request_begins_with_are_marked_at_their_end() -> None:
    examples = [{"role": "user", "content": LONG}, {"role": "assistant", "content": "b"}]
    found, marks = after(*(body(*examples, {"role": "user", "content": text}) for text in "xy"))
    assert (found["messages"][1]["content"][0]["cache_control"], marks) == ({"type": "ephemeral"}, 1)
    assert found["messages"][2]["content"] == "y"


@pytest.mark.parametrize(
    "one",
    [
        body(system="short"),
        body(system=LONG, metadata=MARK),
        body({"role": "user", "content": [{"type": "text", "text": "q", **MARK}]}, system=LONG),
        body(*TURNS, {"role": "user", "content": ""}),
    ],
    ids=["short", "marked by the client", "marked in a block", "nothing to carry it"],
)
def test_else_a_request_stays_as_it_is(one: bytes) -> None:
    assert marked(one, Seen(), 0) == (one, 0)
    assert after(one, one) == (json.loads(one), 0)


def test_what_was_sent_long_ago_is_kept_no_longer() -> None:
    assert after(body(system=LONG), body(system=LONG), later_ns=KEPT_NS)[1] == 0


def test_every_byte_but_the_mark_stays() -> None:
    seen, text = Seen(), body(system=[{"type": "text", "text": LONG}], odd={"n": 1.10})
    marked(text, seen, 0)
    assert marked(text, seen, 0).body.replace(b',"cache_control":{"type":"ephemeral"}', b"") == text


ANSWER = json.dumps({
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "six"}],
    "usage": {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 2000},
}).encode()  # fmt: skip
HOUSE = """
providers:
  main: {type: anthropic, base_url: URL, keys: [a-key], price: {input: 10, output: 20, cached_read: 1}}
routes: {fast: {targets: [{provider: main, model: m}], shrink: {cache_hints: true}}}
"""


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_the_row_says_what_was_marked_and_what_that_saved(build_house: Build, path: str) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
    async with rawserver.serving() as server:
        server.script = rawserver.always(head + ANSWER)
        house = await build_house(HOUSE.replace("URL", server.url))
        system: dict[str, Any] = {"system": LONG} if path == "/v1/messages" else {}
        said = [*([] if system else [{"role": "system", "content": LONG}]), {"role": "user", "content": "when?"}]
        first, second = [await house.ask(said, path=path, stream=False, max_tokens=9, **system) for _ in range(2)]
    assert first.row and first.row.shrunk is None
    assert second.row and second.row.shrunk
    assert (second.row.shrunk.marked, second.row.shrunk.kept_saved_nusd) == (1, 2000 * 9_000)
    assert second.headers["x-tidegate-shrunk"] == "as it came; marked=1"
    assert b'tidegate_prompt_cache_saved_usd{route="fast"} 0.018' in house.app.metrics.page()
