"""OpenAI's embeddings: texts in, vectors out, as numbers or as base64. Vectors are passed on, not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tidegate.core.body import decode, spans
from tidegate.core.call import Asked, Event
from tidegate.core.chat import Written
from tidegate.core.errors import BadRequest, UpstreamFailed
from tidegate.core.ports import Decoder
from tidegate.core.prompts import Preface, is_object
from tidegate.core.stream import WholeDecoder, understood
from tidegate.providers.openai import wire
from tidegate.providers.openai.dialect import OpenAIDialect, end_user
from tidegate.providers.openai.preface import before_input
from tidegate.providers.openai.said import UsageSaid
from tidegate.providers.untranslated import Untranslated


class EmbedAsked(msgspec.Struct):
    model: str
    input: str | list[str | int | list[int]] = ""  # a text, texts, tokens, or lists of tokens
    dimensions: int | None = None
    encoding_format: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None


class EmbedSaid(msgspec.Struct):
    data: list[Raw] | None = None
    usage: UsageSaid | None = None
    error: Raw | UnsetType = UNSET


_ASKED = msgspec.json.Decoder(EmbedAsked)
_SAID = msgspec.json.Decoder(EmbedSaid)


class Embed(Untranslated, OpenAIDialect):
    why: ClassVar[str] = (
        "embeddings are asked and answered in OpenAI's dialect alone; ask a route whose providers speak it"
    )
    operation: ClassVar[str] = "embed"
    path: ClassVar[str] = "/embeddings"

    def parse_request(self, body: bytes) -> Asked:
        typed: EmbedAsked = decode(_ASKED, body)
        where = spans(body)
        if not typed.input and not is_object(body, where, "prompt"):
            raise BadRequest("input: at least one text is needed", param="input")
        if typed.encoding_format not in (None, "float", "base64"):
            raise BadRequest("encoding_format: float or base64", param="encoding_format")
        if typed.dimensions is not None and typed.dimensions < 1:
            raise BadRequest("dimensions: 1 or more", param="dimensions")
        return Asked(
            codec=self,
            body=body,
            model=typed.model,
            user=end_user(typed),
            whole=bool(typed.input),
            typed=typed,
            spans=where,
        )

    def texts(self, asked: Asked) -> Iterator[tuple[str, str]]:
        given = asked.typed.input
        if isinstance(given, str):
            yield "input", given
            return
        for at, one in enumerate(given):
            if isinstance(one, str):
                yield f"input[{at}]", one

    def prefaced(self, asked: Asked, preface: Preface) -> Written:
        return before_input(asked, preface)

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return EmbedDecoder()


class EmbedDecoder(WholeDecoder):
    """All vectors are one event."""

    __slots__ = ()

    def event(self, body: bytes) -> Event:
        said = understood(_SAID, body)
        if said.error is not UNSET and bytes(said.error) != b"null":
            wrong = wire.complaint(body)
            raise UpstreamFailed(f"it sent an error: {wrong.message or 'without words'}", complaint=wrong)
        if not said.data:
            raise UpstreamFailed("it sent an answer without vectors")
        return Event(body, opens=True, last=True, usage=said.usage.usage() if said.usage else None)
