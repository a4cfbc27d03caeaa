"""OpenAI's chat completions, read and written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from tidegate.core.body import decode, spans, splice
from tidegate.core.call import Asked
from tidegate.core.chat import (
    Conversation,
    Written,
)
from tidegate.core.errors import BadRequest, TidegateError
from tidegate.core.ports import Decoder, Encoder, Headers
from tidegate.providers.openai import wire
from tidegate.providers.openai.asked import ChatAsked
from tidegate.providers.openai.conversation import read_conversation, write_conversation
from tidegate.providers.openai.reply import BodyWriter, ChunkWriter

_ASKED = msgspec.json.Decoder(ChatAsked)
_ANY = msgspec.json.Decoder()
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])


def end_user(typed: Any) -> str | None:
    """Who the end user is, by the fields that clients use for it, in order."""
    user: str | None = typed.user or typed.safety_identifier
    if user is None and typed.metadata:
        found = typed.metadata.get("user_id")
        user = found if isinstance(found, str) else None
    return user


def outgoing(asked: Asked, model: str) -> bytes:
    """The client's bytes, with the target's model, and a stream that ends with its usage."""
    changes: dict[str, bytes] = {}
    if model != asked.model:
        changes["model"] = msgspec.json.encode(model)
    if asked.stream and not asked.wants_usage:
        options = asked.spans.get("stream_options")
        given = _ANY.decode(asked.body[slice(*options)]) if options else None
        changes["stream_options"] = msgspec.json.encode({**(given or {}), "include_usage": True})
    return splice(asked.body, asked.spans, changes) if changes else asked.body


class Chat:
    dialect: ClassVar[str] = "openai"
    operation: ClassVar[str] = "chat"
    path: ClassVar[str] = "/chat/completions"

    def parse_request(self, body: bytes) -> Asked:
        typed: ChatAsked = decode(_ASKED, body)
        if not typed.messages:
            raise BadRequest("messages: at least one message is needed", param="messages")
        if typed.n is not None and not 1 <= typed.n <= 128:
            raise BadRequest("n: between 1 and 128", param="n")
        return Asked(
            codec=self,
            body=body,
            model=typed.model,
            stream=bool(typed.stream),
            wants_usage=bool(typed.stream_options and typed.stream_options.include_usage),
            user=end_user(typed),
            typed=typed,
            spans=spans(body),
        )

    def outgoing(self, asked: Asked, model: str) -> bytes:
        return outgoing(asked, model)

    def texts(self, asked: Asked) -> Iterator[tuple[str, str]]:
        typed: ChatAsked = asked.typed
        for at, message in enumerate(typed.messages):
            if isinstance(message.content, str):
                yield f"messages[{at}].content", message.content
            else:
                for part_at, part in enumerate(message.content or ()):
                    if part.text:
                        yield f"messages[{at}].content[{part_at}].text", part.text
            for tool_at, tool in enumerate(message.tool_calls or ()):
                if tool.function and tool.function.arguments:
                    yield f"messages[{at}].tool_calls[{tool_at}].function.arguments", tool.function.arguments
        for at, asked_tool in enumerate(typed.tools or ()):
            if asked_tool.function and asked_tool.function.description:
                yield f"tools[{at}].function.description", asked_tool.function.description

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return wire.StreamDecoder(withhold_usage=withhold_usage) if stream else wire.BodyDecoder()

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> Encoder:
        return ChunkWriter(request_id, model, wants_usage) if stream else BodyWriter(request_id, model)

    def parse_error(self, status: int, headers: Headers, body: bytes) -> str:
        return wire.parse_error(status, headers, body)

    def render_error(self, error: TidegateError, status: int) -> bytes:
        return wire.write_error(error, status)

    def render_error_event(self, error: TidegateError, status: int) -> bytes:
        return b"data: %b\n\n" % wire.write_error(error, status)

    def conversation(self, asked: Asked) -> Conversation:
        return read_conversation(asked)

    def render_request(self, conversation: Conversation, model: str) -> Written:
        return write_conversation(conversation, model)
