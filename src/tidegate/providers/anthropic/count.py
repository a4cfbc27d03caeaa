"""How many tokens would this be? Anthropic's count, asked of a provider that has it, else estimated by us."""

from __future__ import annotations

from typing import ClassVar, NoReturn

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tidegate.core.call import Asked, Event, Metering
from tidegate.core.chat import Conversation, Written
from tidegate.core.errors import BadRequest, UpstreamFailed
from tidegate.core.money import estimated_tokens
from tidegate.core.ports import Decoder, Encoder
from tidegate.providers.anthropic import wire
from tidegate.providers.anthropic.messages import Messages


class CountSaid(msgspec.Struct):
    input_tokens: int | None = None
    error: Raw | UnsetType = UNSET


_SAID = msgspec.json.Decoder(CountSaid)


class Count(Messages):
    operation: ClassVar[str] = "count"
    path: ClassVar[str] = "/v1/messages/count_tokens"
    metering: ClassVar[Metering] = "free"

    def own_answer(self, asked: Asked) -> Event | None:
        """For routes whose providers cannot count: four bytes a token, near enough to know when to shorten."""
        size = sum(len(text.encode()) for _, text in self.texts(asked))
        return Event(msgspec.json.encode({"input_tokens": estimated_tokens(size)}), opens=True, last=True)

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return CountDecoder()

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> Encoder:
        _only_here()

    def conversation(self, asked: Asked) -> Conversation:
        _only_here()

    def render_request(self, conversation: Conversation, model: str) -> Written:
        _only_here()


def _only_here() -> NoReturn:
    raise BadRequest("counting tokens is asked and answered in Anthropic's dialect alone")


class CountDecoder:
    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[Event]:
        self._pieces.append(data)
        return []

    def end(self) -> list[Event]:
        body = b"".join(self._pieces)
        try:
            said = _SAID.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
            raise UpstreamFailed(f"it sent something that is no count: {str(wrong)[:200]}") from None
        if said.input_tokens is None:
            raise UpstreamFailed(f"it sent no count: {wire.error_message(body) or 'without words'}")
        return [Event(body, opens=True, last=True)]
