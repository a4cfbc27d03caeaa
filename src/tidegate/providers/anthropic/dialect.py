"""What do all operations of Anthropic's dialect have in common?"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tidegate.core.body import splice
from tidegate.core.call import Asked, Event, Metering
from tidegate.core.errors import Complaint, TidegateError
from tidegate.core.ports import Headers
from tidegate.providers.anthropic import wire

SHORT = 20  # letters of a last turn that says too little alone, such as "go on"


class AnthropicDialect:
    dialect: ClassVar[str] = "anthropic"
    metering: ClassVar[Metering] = "tokens"

    def outgoing(self, asked: Asked, model: str) -> bytes:
        changes: dict[str, bytes] = {}
        if model != asked.model:
            changes["model"] = msgspec.json.encode(model)
        if asked.ceiling is not None:
            changes["max_tokens"] = b"%d" % asked.ceiling
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
        return b"event: error\ndata: %b\n\n" % wire.write_error(error, status)
