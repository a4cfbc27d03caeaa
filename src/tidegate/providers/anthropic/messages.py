"""Anthropic's messages, read and written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from tidegate.core.body import decode, spans
from tidegate.core.call import Asked
from tidegate.core.chat import Conversation, Written, described
from tidegate.core.errors import BadRequest
from tidegate.core.ports import Decoder, Encoder
from tidegate.core.prompts import Preface, is_object, own_words
from tidegate.providers.anthropic import wire
from tidegate.providers.anthropic.asked import BlockAsked, MessageAsked, MessagesAsked
from tidegate.providers.anthropic.conversation import read_conversation, write_conversation
from tidegate.providers.anthropic.dialect import SHORT, AnthropicDialect
from tidegate.providers.anthropic.preface import before_messages
from tidegate.providers.anthropic.reply import BodyWriter, StreamWriter

_ASKED = msgspec.json.Decoder(MessagesAsked)


class Messages(AnthropicDialect):
    operation: ClassVar[str] = "chat"
    path: ClassVar[str] = "/v1/messages"

    def parse_request(self, body: bytes) -> Asked:
        typed: MessagesAsked = decode(_ASKED, body)
        where = spans(body)
        if not typed.messages and not is_object(body, where, "prompt"):
            raise BadRequest("messages: at least one message is needed", param="messages")
        return Asked(
            codec=self,
            body=body,
            model=typed.model,
            stream=bool(typed.stream),
            wants_usage=True,  # it is part of every message
            user=typed.metadata.user_id if typed.metadata else None,
            max_tokens=typed.max_tokens,
            whole=bool(typed.messages),
            typed=typed,
            spans=where,
        )

    def texts(self, asked: Asked) -> Iterator[tuple[str, str]]:
        typed: MessagesAsked = asked.typed
        yield from _texts("system", typed.system)
        for at, message in enumerate(typed.messages):
            yield from _texts(f"messages[{at}].content", message.content)
        for at, tool in enumerate(typed.tools or ()):
            if tool.description:
                yield f"tools[{at}].description", tool.description
            yield from described(f"tools[{at}].input_schema", tool.input_schema)

    def last_turn(self, asked: Asked) -> str:
        messages: list[MessageAsked] = asked.typed.messages
        if not messages:
            return own_words(asked.body, asked.spans)
        text = _said(messages[-1])
        return text if len(text) >= SHORT or len(messages) == 1 else f"{_said(messages[-2])} {text}"

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return wire.StreamDecoder() if stream else wire.BodyDecoder()

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> Encoder:
        return StreamWriter(request_id, model) if stream else BodyWriter(request_id, model)

    def conversation(self, asked: Asked) -> Conversation:
        return read_conversation(asked)

    def prefaced(self, asked: Asked, preface: Preface) -> Written:
        return before_messages(asked, preface)

    def render_request(self, conversation: Conversation, model: str) -> Written:
        return write_conversation(conversation, model)


def _said(message: MessageAsked) -> str:
    return " ".join(text for _, text in _texts("", message.content))


def _texts(path: str, content: str | list[BlockAsked] | None) -> Iterator[tuple[str, str]]:
    blocks = content if isinstance(content, str) else [msgspec.structs.asdict(block) for block in content or ()]
    return _walk(path, blocks, everything=False)


# Fields of blocks, and of what tools at Anthropic's answer, that are text or hold blocks.
_FIELDS = ("title", "context", "text", "thinking", "stdout", "stderr", "content", "source", "input")


def _walk(path: str, value: Any, *, everything: bool) -> Iterator[tuple[str, str]]:
    """The texts in a JSON value, in order; unless `everything` is asked for, those where blocks have them.

    Without recursion: a body may be nested as deeply as the decoder goes.
    """
    todo = [(path, value, everything)]
    while todo:
        path, value, everything = todo.pop()
        if isinstance(value, str):
            if value:
                yield path, value
        elif isinstance(value, list):
            todo += [(f"{path}[{at}]", one, everything) for at, one in enumerate(value)][::-1]
        elif isinstance(value, dict):
            fields = value if everything else _FIELDS + (("data",) if value.get("type") == "text" else ())
            inner = [(f"{path}.{key}", value[key], everything or key == "input") for key in fields if key in value]
            todo += inner[::-1]
