"""OpenAI's plain completions: a prompt in, its continuation out. Replies are chat's, with `text` for a message."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import msgspec

from tidegate.core.body import decode, spans
from tidegate.core.call import Asked, Event
from tidegate.core.chat import Began, Conversation, Delta, Finished, Message, Opaque, Text, Written, left_out
from tidegate.core.errors import BadRequest
from tidegate.core.money import NO_USAGE
from tidegate.core.ports import Decoder, Encoder
from tidegate.core.prompts import Preface, own_words
from tidegate.providers.openai import wire
from tidegate.providers.openai.asked import StreamOptions
from tidegate.providers.openai.dialect import OpenAIDialect, end_user
from tidegate.providers.openai.preface import before_text
from tidegate.providers.openai.reply import FINISH


class CompleteAsked(msgspec.Struct):
    model: str
    prompt: str | list[Any] | dict[str, Any] | None = (
        None  # of the store; or several prompts, or tokens: passed on as they are
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None


_ASKED = msgspec.json.Decoder(CompleteAsked)
_NEUTRAL = {"model", "prompt", "stream", "stream_options", "max_tokens", "temperature", "top_p", "stop", "user"}


class Complete(OpenAIDialect):
    operation: ClassVar[str] = "complete"
    path: ClassVar[str] = "/completions"

    def parse_request(self, body: bytes) -> Asked:
        typed: CompleteAsked = decode(_ASKED, body)
        if isinstance(typed.prompt, dict) and not isinstance(typed.prompt.get("id"), str):
            raise BadRequest(
                'prompt: must be a text, texts or tokens, or name a prompt of the store: {"id": "support"}',
                param="prompt",
            )
        if typed.n is not None and not 1 <= typed.n <= 128:
            raise BadRequest("n: between 1 and 128", param="n")
        return Asked(
            codec=self,
            body=body,
            model=typed.model,
            stream=bool(typed.stream),
            wants_usage=bool(typed.stream_options and typed.stream_options.include_usage),
            user=end_user(typed),
            max_tokens=typed.max_tokens,
            whole=not isinstance(typed.prompt, dict),
            choices=(typed.n or 1) * (len(typed.prompt) if isinstance(typed.prompt, list) else 1),
            typed=typed,
            spans=spans(body),
        )

    def texts(self, asked: Asked) -> Iterator[tuple[str, str]]:
        prompt = asked.typed.prompt
        if isinstance(prompt, str):
            yield "prompt", prompt
        elif isinstance(prompt, list):
            for at, one in enumerate(prompt):
                if isinstance(one, str):
                    yield f"prompt[{at}]", one
        if asked.typed.suffix:
            yield "suffix", asked.typed.suffix

    def last_turn(self, asked: Asked) -> str:
        prompt = asked.typed.prompt
        if isinstance(prompt, dict):
            return own_words(asked.body, asked.spans)
        return prompt if isinstance(prompt, str) else ""

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return wire.StreamDecoder(withhold_usage=withhold_usage) if stream else wire.BodyDecoder()

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> Encoder:
        return TextWriter(request_id, model, stream=stream, wants_usage=wants_usage)

    def conversation(self, asked: Asked) -> Conversation:
        """A single prompt is what a user says."""
        typed: CompleteAsked = asked.typed
        if not isinstance(typed.prompt, str):
            raise BadRequest("prompt: only a single text can be said in another dialect", param="prompt")
        return Conversation(
            items=(Message("user", (Text(typed.prompt),)),),
            stream=asked.stream,
            max_tokens=asked.ceiling if typed.max_tokens is None else typed.max_tokens,
            temperature=typed.temperature,
            top_p=typed.top_p,
            stop=(typed.stop,) if isinstance(typed.stop, str) else tuple(typed.stop or ()),
            user=typed.user,
            extra=tuple(
                (key, Opaque("openai", asked.body[start:end], key))
                for key, (start, end) in asked.spans.items()
                if key not in _NEUTRAL and asked.body[start:end] != b"null"
            ),
        )

    def prefaced(self, asked: Asked, preface: Preface) -> Written:
        return before_text(asked, preface)

    def render_request(self, conversation: Conversation, model: str) -> Written:
        """Only a conversation of one user's text has this form."""
        dropped = left_out(conversation, self.dialect)
        match conversation.items:
            case (Message(parts=(Text(text),)),):
                body: dict[str, Any] = {"model": model, "prompt": text}
            case _:
                raise BadRequest("plain completions take one text; ask a route whose provider has chat")
        if conversation.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        for key in ("max_tokens", "temperature", "top_p", "user"):
            value = getattr(conversation, key)
            if value is not None:
                body[key] = value
        if conversation.stop:
            body["stop"] = list(conversation.stop)
        body |= {key: msgspec.Raw(own.raw) for key, own in conversation.extra if own.dialect == self.dialect}
        return Written(msgspec.json.encode(body), tuple(dropped))


class TextWriter:
    """Events of any dialect as text completions, streamed or whole."""

    __slots__ = ("_began", "_stream", "_texts", "_usage", "_wants_usage")

    def __init__(self, request_id: str, model: str, *, stream: bool, wants_usage: bool) -> None:
        self._began = Began(f"cmpl-{request_id}", model, 0)
        self._stream = stream
        self._wants_usage = wants_usage
        self._usage = NO_USAGE
        self._texts: dict[int, tuple[str, str | None]] = {}

    def feed(self, events: Sequence[Event]) -> bytes:
        written: list[bytes] = []
        for event in events:
            if event.usage is not None:
                self._usage = event.usage
            for change in event.changes():
                if isinstance(change, Began):
                    self._began = Began(change.id or self._began.id, change.model, change.created or int(time.time()))
                elif isinstance(change, Delta) and change.channel.kind == "text":
                    written.append(self._say(change.channel.choice, change.text, None))
                elif isinstance(change, Finished):
                    written.append(self._say(change.choice, "", FINISH.get(change.reason, change.reason)))
            if event.last and event.error is None:
                written.append(self._end())
        return b"".join(written)

    def _say(self, choice: int, text: str, reason: str | None) -> bytes:
        if self._stream:
            return self._write([{"index": choice, "text": text, "finish_reason": reason, "logprobs": None}])
        before, _ = self._texts.get(choice, ("", None))
        self._texts[choice] = (before + text, reason)
        return b""

    def _end(self) -> bytes:
        usage = wire.write_usage(self._usage)
        if self._stream:
            return (self._write([], usage=usage) if self._wants_usage else b"") + wire.DONE
        choices = [
            {"index": index, "text": text, "finish_reason": reason, "logprobs": None}
            for index, (text, reason) in sorted(self._texts.items())
        ]
        return self._write(choices, usage=usage)

    def _write(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        began = self._began
        head = {"id": began.id, "object": "text_completion", "created": began.created, "model": began.model}
        text = msgspec.json.encode(head | {"choices": choices} | more)
        return b"data: %b\n\n" % text if self._stream else text
