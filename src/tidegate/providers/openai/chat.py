"""OpenAI's chat completions, read and written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec
from msgspec import UNSET

from tidegate.core.body import decode, spans
from tidegate.core.call import Asked
from tidegate.core.chat import Conversation, Written, described
from tidegate.core.errors import BadRequest
from tidegate.core.ports import Decoder, Encoder
from tidegate.core.prompts import Preface, is_object, own_words
from tidegate.providers.openai import wire
from tidegate.providers.openai.asked import ChatAsked, MessageAsked
from tidegate.providers.openai.conversation import read_conversation, write_conversation
from tidegate.providers.openai.dialect import SHORT, OpenAIDialect, end_user
from tidegate.providers.openai.preface import before_chat
from tidegate.providers.openai.reply import BodyWriter, ChunkWriter

_ASKED = msgspec.json.Decoder(ChatAsked)
_ANY = msgspec.json.Decoder()


class Chat(OpenAIDialect):
    operation: ClassVar[str] = "chat"
    path: ClassVar[str] = "/chat/completions"

    def parse_request(self, body: bytes) -> Asked:
        typed: ChatAsked = decode(_ASKED, body)
        where = spans(body)
        if not typed.messages and not is_object(body, where, "prompt"):
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
            max_tokens=typed.max_tokens if typed.max_completion_tokens is None else typed.max_completion_tokens,
            choices=typed.n or 1,
            whole=bool(typed.messages),
            typed=typed,
            spans=where,
        )

    def texts(self, asked: Asked) -> Iterator[tuple[str, str]]:
        typed: ChatAsked = asked.typed
        for at, message in enumerate(typed.messages):
            if isinstance(message.content, str):
                yield f"messages[{at}].content", message.content
            else:
                for part_at, part in enumerate(message.content or ()):
                    if part.text:
                        yield f"messages[{at}].content[{part_at}].text", part.text
            for field in ("refusal", "reasoning_content"):
                if text := getattr(message, field):
                    yield f"messages[{at}].{field}", text
            for tool_at, tool in enumerate(message.tool_calls or ()):
                if tool.function and tool.function.arguments:
                    yield f"messages[{at}].tool_calls[{tool_at}].function.arguments", tool.function.arguments
            if message.function_call and message.function_call.arguments:
                yield f"messages[{at}].function_call.arguments", message.function_call.arguments
        for at, asked_tool in enumerate(typed.tools or ()):
            if asked_tool.function and asked_tool.function.description:
                yield f"tools[{at}].function.description", asked_tool.function.description
            if asked_tool.function and asked_tool.function.parameters is not UNSET:
                schema = _ANY.decode(asked_tool.function.parameters)
                yield from described(f"tools[{at}].function.parameters", schema)

    def last_turn(self, asked: Asked) -> str:
        messages: list[MessageAsked] = asked.typed.messages
        if not messages:
            return own_words(asked.body, asked.spans)
        text = _said(messages[-1])
        return text if len(text) >= SHORT or len(messages) == 1 else f"{_said(messages[-2])} {text}"

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return wire.StreamDecoder(withhold_usage=withhold_usage) if stream else wire.BodyDecoder()

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> Encoder:
        return ChunkWriter(request_id, model, wants_usage) if stream else BodyWriter(request_id, model)

    def conversation(self, asked: Asked) -> Conversation:
        return read_conversation(asked)

    def prefaced(self, asked: Asked, preface: Preface) -> Written:
        return before_chat(asked, preface)

    def render_request(self, conversation: Conversation, model: str) -> Written:
        return write_conversation(conversation, model)


def _said(message: MessageAsked) -> str:
    if isinstance(message.content, str):
        return message.content
    texts = [part.text for part in message.content or () if part.text]
    texts += [tool.function.arguments for tool in message.tool_calls or () if tool.function and tool.function.arguments]
    return " ".join(texts)
