"""How many tokens would this be? Anthropic's count, asked of a provider that has it, else estimated by us."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tidegate.core.call import Asked, Event, Metering
from tidegate.core.chat import Written
from tidegate.core.errors import UpstreamFailed
from tidegate.core.money import estimated_tokens
from tidegate.core.ports import Decoder
from tidegate.core.prompts import Preface
from tidegate.core.stream import WholeDecoder, understood
from tidegate.providers.anthropic import wire
from tidegate.providers.anthropic.messages import Messages
from tidegate.providers.anthropic.preface import before_messages
from tidegate.providers.untranslated import Untranslated


class CountSaid(msgspec.Struct):
    input_tokens: int | None = None
    error: Raw | UnsetType = UNSET


COUNTED = ("tools", "tool_choice", "thinking")  # of what a prompt asks for: the rest has no tokens, and no place here
_SAID = msgspec.json.Decoder(CountSaid)


class Count(Untranslated, Messages):
    why: ClassVar[str] = "counting tokens is asked and answered in Anthropic's dialect alone"
    operation: ClassVar[str] = "count"
    path: ClassVar[str] = "/v1/messages/count_tokens"
    metering: ClassVar[Metering] = "free"

    def own_answer(self, asked: Asked) -> Event | None:
        """For routes whose providers cannot count: four bytes a token, near enough to know when to shorten."""
        size = sum(len(text.encode()) for _, text in self.texts(asked))
        return Event(msgspec.json.encode({"input_tokens": estimated_tokens(size)}), opens=True, last=True)

    def prefaced(self, asked: Asked, preface: Preface) -> Written:
        return before_messages(asked, preface, only=COUNTED)

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return CountDecoder()


class CountDecoder(WholeDecoder):
    __slots__ = ()

    def event(self, body: bytes) -> Event:
        said = understood(_SAID, body)
        if said.input_tokens is None:
            wrong = wire.complaint(body)
            raise UpstreamFailed(f"it sent no count: {wrong.message or 'without words'}", complaint=wrong)
        return Event(body, opens=True, last=True)
