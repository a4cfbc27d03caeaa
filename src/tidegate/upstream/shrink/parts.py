"""Which texts of a request may be made shorter? What users and tools say, and none of it twice over.

Never what a system prompt, a developer or the model itself said, nor what a tool is described with, nor pictures and
documents, nor anything before a mark of the client's own that says what its provider shall keep (`cache_control`).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from tidegate.core.call import Asked

OPERATIONS = ("chat", "complete")
TOOLS = ("tool", "function")
_PATH = re.compile(r"messages\[(\d+)\]\.content(?:\[(\d+)\]\.(text|content(?:\[\d+\]\.text)?))?")
_ANY = msgspec.json.Decoder()


class Part(NamedTuple):
    path: str
    text: str
    message: int  # its number
    given: bool  # by a tool


class Parts(NamedTuple):
    """`turn`: the first message after what the model said last before the user did."""

    parts: list[Part]
    turn: int


def parts_of(asked: Asked) -> Parts:
    if asked.codec.operation == "complete":
        prompt = asked.typed.prompt
        return Parts([Part("prompt", prompt, 0, False)] if isinstance(prompt, str) else [], 0)
    messages = asked.typed.messages
    after = _marked(asked.body) if b'"cache_control"' in asked.body else (-1, -1)
    found: list[Part] = []
    for path, text in asked.codec.texts(asked):
        place = _PATH.fullmatch(path)
        if place is None:
            continue
        message, block = int(place[1]), int(place[2] or 0)
        given = _is_given(messages[message], place[3] or "", block)
        if (message, block) > after and given is not None:
            found.append(Part(path, text, message, given))
    asks = max((part.message for part in found if not part.given), default=0)
    said = (at for at in range(asks, -1, -1) if messages[at].role == "assistant")
    return Parts(found, next(said, -1) + 1)


def _is_given(message: Any, field: str, block: int) -> bool | None:
    """Whether a tool says it; None: neither a tool nor a user does."""
    if message.role in TOOLS:
        return True
    if message.role != "user":
        return None
    if field.startswith("content"):  # of a block of Anthropic's: only results of tools are texts of this kind
        return True if message.content[block].type == "tool_result" else None
    return False


def _marked(body: bytes) -> tuple[int, int]:
    """The last message, and block of it, that the client has marked; all of them where it marks the request."""
    request = _ANY.decode(body)
    last = (-1, -1)
    if "cache_control" in request:
        return len(request["messages"]), 0
    for at, message in enumerate(request["messages"]):
        blocks = message.get("content")
        if "cache_control" in message:
            last = (at, len(blocks) if isinstance(blocks, list) else 0)
        for block_at, block in enumerate(blocks if isinstance(blocks, list) else ()):
            if isinstance(block, dict) and b'"cache_control"' in msgspec.json.encode(block):
                last = (at, block_at)
    return last
