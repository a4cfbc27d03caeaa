"""What is the most that a call can use? Always at least what it will, so that a budget is never overrun."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from tidegate.core.call import Asked, Call, Target
from tidegate.core.chat import File, Image, Message, Opaque, ToolResult

# A token is at least one byte, so a text has no more tokens than bytes; JSON around it is longer than what a template
# adds for each message. What a provider adds once (a system prompt of its own for tools, say) is less than this.
TEMPLATE_TOKENS = 1_000
# By the vendors' own tables, for the largest picture at the highest detail; gpt-4o-mini counts 33 times as many.
IMAGE_TOKENS = 5_000
IMAGE_TOKENS_MINI = 50_000
_MINI = re.compile(r"gpt-4o-mini")
_NUMBER: msgspec.json.Decoder[int | None] = msgspec.json.Decoder(int | None)


class Bound(NamedTuple):
    """Tokens, at most."""

    input: int
    output: int
    audio: bool


def bound_of(call: Call, target: Target, max_tokens: int) -> Bound:
    """`max_tokens`: of an answer, where the client does not say."""
    asked = call.asked
    assert asked is not None
    body = asked.body
    heard = len(body)
    if b"data:" in body or b'"image' in body or b'"file"' in body or b'"document"' in body:
        heard = _seen(asked, target.model, heard)
    said = 0
    if asked.codec.operation != "embed":
        each = asked.max_tokens
        if each is None:
            each = _number(asked, "max_output_tokens") or asked.ceiling or max_tokens
        said = each * asked.choices
        if "best_of" in asked.spans:
            said = each * max(asked.choices, _number(asked, "best_of") or 1)
    return Bound(heard + TEMPLATE_TOKENS, said, b"audio" in body)


def _number(asked: Asked, key: str) -> int | None:
    where = asked.spans.get(key)
    if where is None:
        return None
    try:
        return _NUMBER.decode(asked.body[slice(*where)])
    except msgspec.DecodeError:
        return None


def _seen(asked: Asked, model: str, heard: int) -> int:
    """A picture costs what the table says, not what its bytes would; a document at most what they would."""
    try:
        items = asked.codec.conversation(asked).items
    except Exception:  # noqa: BLE001 what has no neutral form is bounded by its bytes, and a table's worth more
        return heard + IMAGE_TOKENS
    each = IMAGE_TOKENS_MINI if _MINI.search(model) else IMAGE_TOKENS
    for item in items:
        for part in item.parts if isinstance(item, Message | ToolResult) else ():
            if isinstance(part, Image):
                heard += each - (len(part.url) if part.url.startswith("data:") else 0)
            elif isinstance(part, File | Opaque):
                heard += each
    return max(heard, 0)
