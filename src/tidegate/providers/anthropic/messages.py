"""Anthropic's messages, read and written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, Raw

from tidegate.core.body import decode, spans
from tidegate.core.call import Asked
from tidegate.core.chat import (
    Conversation,
    Written,
)
from tidegate.core.errors import BadRequest
from tidegate.core.ports import Decoder, Encoder
from tidegate.providers.anthropic import wire
from tidegate.providers.anthropic.asked import BlockAsked, MessagesAsked
from tidegate.providers.anthropic.conversation import read_conversation, write_conversation
from tidegate.providers.anthropic.dialect import AnthropicDialect
from tidegate.providers.anthropic.reply import BodyWriter, StreamWriter

_ASKED = msgspec.json.Decoder(MessagesAsked)
_ANY = msgspec.json.Decoder()
_FIELDS = msgspec.json.Decoder(dict[str, Raw])


def block_texts(path: str, content: str | list[BlockAsked] | dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if isinstance(content, str):
        yield path, content
    elif isinstance(content, list):
        for at, block in enumerate(content):
            here = f"{path}[{at}]"
            for field in ("title", "context", "text", "thinking"):
                text = getattr(block, field)
                if text:
                    yield f"{here}.{field}", text
            if block.input is not UNSET:
                yield f"{here}.input", bytes(block.input).decode()
            yield from block_texts(f"{here}.content", block.content)


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
        yield from block_texts("system", typed.system)
        for at, message in enumerate(typed.messages):
            yield from block_texts(f"messages[{at}].content", message.content)
        for at, tool in enumerate(typed.tools or ()):
            if tool.description:
                yield f"tools[{at}].description", tool.description

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return wire.StreamDecoder() if stream else wire.BodyDecoder()

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> Encoder:
        return StreamWriter(request_id, model) if stream else BodyWriter(request_id, model)

    def conversation(self, asked: Asked) -> Conversation:
        return read_conversation(asked)

    def render_request(self, conversation: Conversation, model: str) -> Written:
        return write_conversation(conversation, model)
