"""What of a request whose meaning we do not know? Passed on as it is, to a provider of its own dialect.

Responses, moderations, images, audio…: any path under /v1 that has no codec of its own. Read is only
what we must: the model, to find the route and to name the target's, and the usage in the answer, where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from tidegate.core.body import checked, decode, spans, splice
from tidegate.core.call import Asked, Event, Metering
from tidegate.core.chat import Written
from tidegate.core.errors import PromptInvalid
from tidegate.core.money import Usage
from tidegate.core.ports import Decoder
from tidegate.core.prompts import Preface
from tidegate.core.stream import Frames, payload
from tidegate.providers.anthropic.dialect import AnthropicDialect
from tidegate.providers.openai.dialect import OpenAIDialect
from tidegate.providers.openai.preface import before_response
from tidegate.providers.untranslated import Untranslated

MAX_READ = 4 * 1024 * 1024  # bytes of an answer that are looked through for its usage

_FORM_MODEL = re.compile(rb'name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)')


class RawAsked(msgspec.Struct):
    model: str = ""
    stream: bool | None = None
    user: Any = None  # of whatever kind: nothing is refused for a field that only we read
    safety_identifier: Any = None
    metadata: Any = None

    @property
    def end_user(self) -> str | None:
        said = (self.user, self.safety_identifier, self.metadata)
        return next((one for one in map(_name, said) if one), None)


def _name(said: Any) -> str | None:
    found = said.get("user_id") if isinstance(said, dict) else said
    return found if isinstance(found, str) else None


class UsageSaid(msgspec.Struct):
    """Both families' words; the one that is absent is 0."""

    input_tokens: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens_details: Details | None = None
    output_tokens_details: Details | None = None

    def usage(self) -> Usage:
        heard, said = self.input_tokens_details or Details(), self.output_tokens_details or Details()
        cached, thought = heard.cached_tokens or 0, said.reasoning_tokens or 0
        return Usage(
            input=max((self.input_tokens or self.prompt_tokens or 0) - cached, 0),
            cached_read=cached,
            output=max((self.output_tokens or self.completion_tokens or 0) - thought, 0),
            reasoning=thought,
        )


class Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Carrier(msgspec.Struct):
    """Where usage stands: in the answer, or in the response that an event carries."""

    usage: UsageSaid | None = None
    response: Carrier | None = None


_ASKED = msgspec.json.Decoder(RawAsked)
_CARRIER = msgspec.json.Decoder(Carrier)


class _Raw(Untranslated):
    why: ClassVar[str] = "this path is passed on as it is, so only to a provider that speaks the client's dialect"
    operation: ClassVar[str] = "raw"
    path: ClassVar[str] = ""
    metering: ClassVar[Metering] = "unknown"

    def parse_request(self, body: bytes) -> Asked:
        if body.lstrip()[:1] != b"{":
            form = _FORM_MODEL.search(body)
            return Asked(codec=self, body=body, model=form[1].decode("utf-8", "replace") if form else "")  # type: ignore[arg-type]
        typed: RawAsked = decode(_ASKED, checked(body))
        return Asked(
            codec=self,  # type: ignore[arg-type]
            body=body,
            model=typed.model,
            stream=bool(typed.stream),
            wants_usage=True,
            user=typed.end_user,
            spans=spans(body),
        )

    def outgoing(self, asked: Asked, model: str) -> bytes:
        if model == asked.model or not asked.model:
            return asked.body
        if asked.spans:
            return splice(asked.body, asked.spans, {"model": msgspec.json.encode(model)})
        form = _FORM_MODEL.search(asked.body)
        assert form is not None  # that is where its model was found
        return asked.body[: form.start(1)] + model.encode() + asked.body[form.end(1) :]

    def prefaced(self, asked: Asked, preface: Preface) -> Written:
        raise PromptInvalid(f"prompt {preface.id!r} cannot be said here; it is for chats, messages, and single texts")

    def texts(self, asked: Asked) -> Iterator[tuple[str, str]]:
        yield from ()

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return RawDecoder()


class OpenAIRaw(_Raw, OpenAIDialect):
    """Anything else that OpenAI's clients ask for."""

    metering: ClassVar[Metering] = "unknown"

    def prefaced(self, asked: Asked, preface: Preface) -> Written:
        """Of responses; nothing else that is passed on has a place for a prompt."""
        return before_response(asked, preface)

    def media_type(self, *, stream: bool) -> bytes | None:
        return None


class AnthropicRaw(_Raw, AnthropicDialect):
    """Anything else that Anthropic's clients ask for."""

    metering: ClassVar[Metering] = "unknown"

    def media_type(self, *, stream: bool) -> bytes | None:
        return None


class RawDecoder:
    """Every piece is an event as it comes. What may hold the usage is read beside it, bounded."""

    __slots__ = ("_body", "_frames", "_read", "_usage")

    def __init__(self) -> None:
        self._body = bytearray()
        self._frames: Frames | None = None
        self._read = 0
        self._usage: Usage | None = None

    def feed(self, data: bytes) -> list[Event]:
        if not self._read and data.startswith((b"event:", b"data:", b":")):
            self._frames = Frames()
        self._read += len(data)
        if self._frames is not None:
            for frame in self._frames.feed(data):
                if b'"usage"' in frame:
                    self._look(payload(frame))
        elif self._read <= MAX_READ:
            self._body += data
        return [Event(data, opens=True)]

    def end(self) -> list[Event]:
        if self._body[:1] == b"{" and self._read <= MAX_READ:
            self._look(bytes(self._body))
        return [Event(opens=True, last=True, usage=self._usage)]

    def _look(self, text: bytes) -> None:
        try:
            said = _CARRIER.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        usage = said.usage or (said.response.usage if said.response else None)
        self._usage = usage.usage() if usage else self._usage
