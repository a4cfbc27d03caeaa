"""What do all operations of OpenAI's dialect have in common?"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

from tidegate.core.body import splice
from tidegate.core.call import Asked, Event, Metering
from tidegate.core.errors import Complaint, TidegateError
from tidegate.core.ports import Headers
from tidegate.providers.openai import wire

# OpenAI's reasoning models know only the new word. Others may know only the old one: the new one would be refused, or
# passed over.
_THINKS = re.compile(r"(?:^|/)(?:o\d|gpt-(?:[5-9]|\d\d))")
SHORT = 20  # letters of a last turn that says too little alone, such as "go on"
_ANY = msgspec.json.Decoder()


class OpenAIDialect:
    dialect: ClassVar[str] = "openai"
    metering: ClassVar[Metering] = "tokens"

    def outgoing(self, asked: Asked, model: str) -> bytes:
        """The client's bytes, with the target's model, and a stream that ends with its usage."""
        changes: dict[str, bytes] = {}
        if model != asked.model:
            changes["model"] = msgspec.json.encode(model)
        if asked.ceiling is not None:
            changes[most_tokens(model)] = b"%d" % asked.ceiling
        if asked.stream and not asked.wants_usage:
            options = asked.spans.get("stream_options")
            given = _ANY.decode(asked.body[slice(*options)]) if options else None
            changes["stream_options"] = msgspec.json.encode({**(given or {}), "include_usage": True})
        return splice(asked.body, asked.spans, changes) if changes else asked.body

    def media_type(self, *, stream: bool) -> bytes | None:
        return b"text/event-stream" if stream else b"application/json"

    def last_turn(self, asked: Asked) -> str:
        return ""

    def own_answer(self, asked: Asked) -> Event | None:
        return None

    def parse_error(self, status: int, headers: Headers, body: bytes) -> Complaint:
        return wire.complaint(body)

    def render_error(self, error: TidegateError, status: int) -> bytes:
        return wire.write_error(error, status)

    def render_error_event(self, error: TidegateError, status: int) -> bytes:
        return b"data: %b\n\n" % wire.write_error(error, status)


def most_tokens(model: str) -> str:
    """What the bound of an answer is called."""
    return "max_completion_tokens" if _THINKS.search(model) else "max_tokens"


def end_user(typed: Any) -> str | None:
    """Who the end user is, by the fields that clients use for it, in order."""
    user: str | None = typed.user or typed.safety_identifier
    if user is None and typed.metadata:
        found = typed.metadata.get("user_id")
        user = found if isinstance(found, str) else None
    return user
