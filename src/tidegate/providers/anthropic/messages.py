"""Anthropic's messages, read and written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from tidegate.core.body import decode, spans
from tidegate.core.call import Asked
from tidegate.core.chat import Conversation, Written
from tidegate.core.errors import BadRequest
from tidegate.core.ports import Decoder, Encoder
from tidegate.providers.anthropic import wire
from tidegate.providers.anthropic.asked import MessagesAsked
from tidegate.providers.anthropic.conversation import read_conversation, write_conversation
from tidegate.providers.anthropic.dialect import AnthropicDialect
from tidegate.providers.anthropic.reply import BodyWriter, StreamWriter

_ASKED = msgspec.json.Decoder(MessagesAsked)


class Messages(AnthropicDialect):
    operation: ClassVar[str] = "chat"
    path: ClassVar[str] = "/v1/messages"

    def parse_request(self, body: bytes) -> Asked:
        typed: MessagesAsked = decode(_ASKED, body)
        if not typed.messages:
            raise BadRequest("messages: at least one message is needed", param="messages")
        return Asked(
            codec=self,
            body=body,
            model=typed.model,
            stream=bool(typed.stream),
            wants_usage=True,  # it is part of every message
            user=typed.metadata.user_id if typed.metadata else None,
            typed=typed,
            spans=spans(body),
        )

    def texts(self, asked: Asked) -> Iterator[tuple[str, str]]:
        typed: MessagesAsked = asked.typed
        yield from _texts("system", typed.system)
        for at, message in enumerate(typed.messages):
            yield from _texts(f"messages[{at}].content", message.content)
        for at, tool in enumerate(typed.tools or ()):
            if tool.description:
                yield f"tools[{at}].description", tool.description
            yield from _descriptions(f"tools[{at}].input_schema", tool.input_schema)

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return wire.StreamDecoder() if stream else wire.BodyDecoder()

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> Encoder:
        return StreamWriter(request_id, model) if stream else BodyWriter(request_id, model)

    def conversation(self, asked: Asked) -> Conversation:
        return read_conversation(asked)

    def render_request(self, conversation: Conversation, model: str) -> Written:
        return write_conversation(conversation, model)


# Fields that hold text, of blocks and of what tools at Anthropic's answer; `input` is searched whole.
_TEXTS = ("title", "context", "text", "thinking", "stdout", "stderr")


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """What is text in a block, a list of them, or whatever a block's content is."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _texts(f"{path}[{at}]", one)
    elif value is not None:
        fields = value if isinstance(value, dict) else msgspec.structs.asdict(value)
        for key in _TEXTS + (("data",) if fields.get("type") == "text" else ()):
            if isinstance(fields.get(key), str) and fields[key]:
                yield f"{path}.{key}", fields[key]
        if "input" in fields:
            yield from _strings(f"{path}.input", fields["input"])
        if isinstance(fields.get("source"), dict):
            yield from _texts(f"{path}.source", fields["source"])
        if isinstance(fields.get("content"), str | list | dict):
            yield from _texts(f"{path}.content", fields["content"])


def _strings(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text in a JSON value."""
    if isinstance(value, str) and value:
        yield path, value
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _strings(f"{path}[{at}]", one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _strings(f"{path}.{key}", one)


def _descriptions(path: str, schema: Any) -> Iterator[tuple[str, str]]:
    """What a JSON schema says in words."""
    return (found for found in _strings(path, schema) if found[0].endswith(".description"))
