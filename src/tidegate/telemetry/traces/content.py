"""What was said in a call, for its trace? Messages by OpenTelemetry's conventions for generative AI, bounded in size.

It is what guards let pass: what they masked, or refused, was never in what is read here. What only one dialect
understands, and what is no text (pictures, files), is named and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from tidegate.core.chat import Conversation, File, Image, Item, Message, Part, Text, ToolCall, ToolResult
from tidegate.core.errors import TidegateError
from tidegate.core.ports import Body, Codec, Codecs
from tidegate.core.said import Answer, answers, events_in

MOST_READ = 256 * 1024  # bytes of a question, or of an answer; of a longer one nothing is told
MOST_TOLD = 32 * 1024  # bytes of each attribute: the oldest messages go first
MOST_TEXT = 8 * 1024  # characters of one text
MARK = "…[cut]"
SYSTEM = ("system", "developer")
# Ours are the names of OpenAI; the conventions have others for two of them.
FINISHES = {"tool_calls": "tool_call", "other": "stop"}

Told = dict[str, Any]


class Content(NamedTuple):
    """Attributes of a span, as JSON; empty where there is nothing to tell."""

    system: bytes = b""
    asked: bytes = b""
    answered: bytes = b""
    cut: bool = False  # something was left out for its size


def content_of(codecs: Codecs, operation: str, body: Body) -> Content:
    """In a thread: it reads what the client sent once more."""
    longest = max(len(body.request or b""), len(body.reply or b""))
    if longest > MOST_READ:
        return Content(cut=True)
    asking, answering = (codecs.get((one or "", operation)) for one in (body.dialect, body.reply_dialect))
    system, messages = _asked(asking, body.request) if asking and body.request else ([], [])
    said = answers(events_in(answering, body.reply)) if answering and body.reply else []
    told = [_fitted(some) for some in (system, messages, [_answer(one) for one in said])]
    (instructions, _), (asked, _), (answered, _) = told
    return Content(instructions, asked, answered, cut=any(cut for _, cut in told))


def _fitted(told: list[Told]) -> tuple[bytes, bool]:
    """As JSON, the newest of it; and whether that is less than all."""
    texts = [msgspec.json.encode(one) for one in told]
    first, size = len(texts), 2
    while first and size + len(texts[first - 1]) < MOST_TOLD:
        first -= 1
        size += len(texts[first]) + 1
    kept = texts[first:]
    return b"[%b]" % b",".join(kept) if kept else b"", first > 0 or any(MARK.encode() in one for one in kept)


def _asked(codec: Codec, request: bytes) -> tuple[list[Told], list[Told]]:
    """Instructions that stand apart, and messages."""
    try:
        asked = codec.parse_request(request)
        try:
            return _split(codec.dialect, codec.conversation(asked))
        except TidegateError:  # vectors, several prompts: no conversation, but texts
            return [], [_message("user", [_text(text)]) for _, text in codec.texts(asked)]
    except TidegateError:
        return [], []


def _split(dialect: str, conversation: Conversation) -> tuple[list[Told], list[Told]]:
    items: Sequence[Item] = conversation.items
    system: list[Told] = []
    if dialect == "anthropic":  # where they are no messages
        apart = [one for one in items if isinstance(one, Message) and one.role in SYSTEM]
        system = [part for one in apart for part in _parts(one.parts)]
        items = [one for one in items if one not in apart]
    messages: list[Told] = []
    for role, parts in map(_item, items):
        if messages and role == messages[-1]["role"] == "assistant":  # what it said, and the tools that it called
            messages[-1]["parts"] += parts
        elif parts:
            messages.append(_message(role, parts))
    return system, messages


def _item(item: Item) -> tuple[str, list[Told]]:
    if isinstance(item, Message):
        return "system" if item.role in SYSTEM else item.role, list(_parts(item.parts))
    if isinstance(item, ToolCall):
        return "assistant", [_call(item.id, item.name, item.arguments)]
    if isinstance(item, ToolResult):
        said = "\n".join(part.text for part in item.parts if isinstance(part, Text))
        return "tool", [{"type": "tool_call_response", "id": item.call_id, "response": _short(said)}]
    return "", []


def _parts(parts: Sequence[Part]) -> Iterator[Told]:
    for part in parts:
        if isinstance(part, Text):
            yield _text(part.text)
        elif isinstance(part, Image | File):
            modality = "image" if isinstance(part, Image) else "document"
            if part.url.startswith("data:"):
                yield {"type": "left_out", "modality": modality, "bytes": len(part.url)}
            else:
                yield {"type": "uri", "modality": modality, "uri": _short(part.url)}
        else:
            yield {"type": "left_out"}


def _answer(answer: Answer) -> Told:
    parts: list[Told] = []
    if answer.reasoning:
        parts.append({"type": "reasoning", "content": _short(answer.reasoning)})
    if answer.text or answer.refusal:
        parts.append(_text(answer.text or answer.refusal))
    parts += [_call(one.id, one.name, one.arguments) for one in answer.tools]
    finish = answer.finish or "error"
    return {**_message("assistant", parts), "finish_reason": FINISHES.get(finish, finish)}


def _message(role: str, parts: list[Told]) -> Told:
    return {"role": role, "parts": parts}


def _text(text: str) -> Told:
    return {"type": "text", "content": _short(text)}


def _call(id: str, name: str, arguments: str) -> Told:
    return {"type": "tool_call", "id": id, "name": name, "arguments": _short(arguments)}


def _short(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + MARK
