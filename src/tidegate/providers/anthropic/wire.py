"""What Anthropic's dialect looks like on the wire: the fields that we read of messages and their streams.

Source: Anthropic's API reference and the types of its SDK, November 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tidegate.core.call import Event
from tidegate.core.chat import Began, Change, Channel, Delta, Finished, ToolBegan
from tidegate.core.errors import Complaint, TidegateError, UpstreamFailed, UpstreamRefused
from tidegate.core.money import Usage
from tidegate.core.places import replaced, strings
from tidegate.core.stream import FrameDecoder, WholeDecoder, payload, understood, without_data

STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class UsageSaid(msgspec.Struct):
    """Cumulative; of a stream, what the last event that has a field says."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None

    def over(self, before: UsageSaid | None) -> UsageSaid:
        """This, with what only an earlier event said."""
        if before is None:
            return self
        said = (getattr(self, name) for name in self.__struct_fields__)
        return UsageSaid(
            *(old if new is None else new for new, old in zip(said, msgspec.structs.astuple(before), strict=True))
        )

    def usage(self) -> Usage:
        """Anthropic's input kinds do not overlap; its output includes what was thought."""
        created = self.cache_creation or CacheCreation()
        hour = _count(created.ephemeral_1h_input_tokens)
        written = self.cache_creation_input_tokens
        output = _count(self.output_tokens)
        thought = min(_count((self.output_tokens_details or OutputDetails()).thinking_tokens), output)
        return Usage(
            input=_count(self.input_tokens),
            cached_read=_count(self.cache_read_input_tokens),
            cached_write=_count(created.ephemeral_5m_input_tokens if written is None else written - hour),
            cached_write_1h=hour,
            output=output - thought,
            reasoning=thought,
        )


def _count(tokens: int | None) -> int:
    """What a provider says may be missing, and must never pay us back."""
    return max(tokens or 0, 0)


class Block(msgspec.Struct):
    type: str
    id: str | None = None
    name: str | None = None
    text: str | None = None
    thinking: str | None = None
    input: Raw | UnsetType = UNSET


class Piece(msgspec.Struct):
    """More of a block; or of the message, with its end."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    stop_reason: str | None = None


class Said(msgspec.Struct):
    """A whole message, or one event of a stream: the fields of both."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    usage: UsageSaid | None = None
    index: int = 0
    message: Said | None = None
    content_block: Block | None = None
    delta: Piece | None = None
    error: Raw | UnsetType = UNSET


_SAID = msgspec.json.Decoder(Said)
_ANY = msgspec.json.Decoder()

REASONS: dict[str, Literal["stop", "length", "tool_calls", "content_filter", "other"]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def pieces(block: Block, index: int) -> Iterator[tuple[Channel, str]]:
    """What a block that stands whole says."""
    if block.text:
        yield Channel(), block.text
    if block.thinking:
        yield Channel(0, "reasoning"), block.thinking
    if block.input is not UNSET and bytes(block.input) != b"{}":
        yield Channel(0, "tool", index), bytes(block.input).decode()


def _places(block: Block, index: int, path: str) -> Iterator[tuple[Channel, str, str]]:
    """What a block that stands whole says, string by string."""
    if block.text:
        yield Channel(0, "text", index), f"{path}.text", block.text
    if block.thinking:
        yield Channel(0, "reasoning", index), f"{path}.thinking", block.thinking
    if block.input is not UNSET:
        # These are texts, and no JSON that is still to be read, as the tool channel of a stream is.
        for one, text in strings(f"{path}.input", _ANY.decode(block.input)):
            yield Channel(0, "text", index), one, text


def _frame(name: str, text: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), text)


MORE = {
    "text": ("text_delta", "text"),
    "reasoning": ("thinking_delta", "thinking"),
    "tool": ("input_json_delta", "partial_json"),
}


class AnthropicEvent(Event):
    __slots__ = ("calls", "said")

    def __init__(self, raw: bytes, said: Said, calls: set[int], *, last: bool, usage: Usage | None) -> None:
        super().__init__(raw, last=last, usage=usage)
        self.said = said
        self.calls = calls  # which blocks of the reply call tools of the client's; others run at Anthropic's
        begins = said.content_block is not None and said.content_block.type not in ("text", "thinking")
        ends = last or bool(said.delta and said.delta.stop_reason)
        self.opens = begins or ends or any(True for _ in self.texts())

    def texts(self) -> Iterator[tuple[Channel, str]]:
        said = self.said
        for at, block in enumerate(said.content or ()):
            yield from pieces(block, at)
        if said.content_block is not None:
            yield from pieces(said.content_block, said.index)
        if said.delta is not None:
            if said.delta.text:
                yield Channel(), said.delta.text
            if said.delta.thinking:
                yield Channel(0, "reasoning"), said.delta.thinking
            if said.delta.partial_json:
                yield Channel(0, "tool", said.index), said.delta.partial_json

    def places(self) -> Iterator[tuple[Channel, str, str]]:
        said = self.said
        for at, block in enumerate(said.content or ()):
            yield from _places(block, at, f"content[{at}]")
        if said.content_block is not None:
            yield from _places(said.content_block, said.index, "content_block")
        if said.delta is not None:
            if said.delta.text:
                yield Channel(0, "text", said.index), "delta.text", said.delta.text
            if said.delta.thinking:
                yield Channel(0, "reasoning", said.index), "delta.thinking", said.delta.thinking
            if said.delta.partial_json:
                yield Channel(0, "tool", said.index), "delta.partial_json", said.delta.partial_json

    def closes(self) -> Iterator[tuple[int, int | None]]:
        if self.said.type == "content_block_stop":
            yield 0, self.said.index

    def rewritten(self, texts: Mapping[str, tuple[str, str]]) -> Event:
        text = payload(self.raw) or self.raw
        new = replaced(text, texts)
        raw = new if text is self.raw else _frame(self.said.type or "", new)
        return AnthropicEvent(raw, _SAID.decode(new), self.calls, last=self.last, usage=self.usage)

    def more(self, channel: Channel, text: str) -> Event:
        kind, field = MORE[channel.kind]
        delta = {"type": "content_block_delta", "index": channel.tool, "delta": {"type": kind, field: text}}
        new = msgspec.json.encode(delta)
        return AnthropicEvent(_frame("content_block_delta", new), _SAID.decode(new), self.calls, last=False, usage=None)

    def changes(self) -> Sequence[Change]:
        said = self.said
        changes: list[Change] = []
        began = said.message or (said if said.type == "message" else None)
        if began is not None:
            changes.append(Began(began.id or "", began.model or "", 0))
        blocks = list(enumerate(said.content or ()))
        if said.content_block is not None:
            blocks.append((said.index, said.content_block))
        for at, block in blocks:
            if block.type == "tool_use":
                changes.append(ToolBegan(Channel(0, "tool", at), block.id or "", block.name or ""))
        changes += (
            Delta(channel, text)
            for channel, text in self.texts()
            if channel.kind != "tool" or channel.tool in self.calls
        )
        reason = said.stop_reason or (said.delta.stop_reason if said.delta else None)
        if reason:
            changes.append(Finished(0, REASONS.get(reason, "other")))
        return changes


def read(text: bytes) -> Said:
    """Raises UpstreamFailed: not this dialect, or an error where an answer should be."""
    said = understood(_SAID, text)
    if said.type == "error" or (said.type is None and said.error is not UNSET):
        wrong = complaint(text)
        raise UpstreamFailed(f"it sent an error: {wrong.message or 'without words'}", complaint=wrong)
    if said.type is None:
        raise UpstreamFailed("it sent something without a type, so it does not speak Anthropic's dialect")
    return said


class StreamDecoder(FrameDecoder):
    """Complete is: message_stop, or an end after the message said why it stopped."""

    __slots__ = ("_calls", "_stopped", "_usage")

    def __init__(self) -> None:
        super().__init__()
        self._calls: set[int] = set()
        self._usage: UsageSaid | None = None
        self._stopped = False

    def event(self, frame: bytes) -> Event:
        text = payload(frame)
        if not text:
            return without_data(frame)
        said = read(text)
        told = said.usage or (said.message.usage if said.message else None)
        if told is not None:
            self._usage = told.over(self._usage)
        if said.content_block is not None and said.content_block.type == "tool_use":
            self._calls.add(said.index)
        if said.delta is not None and said.delta.stop_reason:
            self._stopped = True
        usage = self._usage.usage() if told is not None and self._usage else None
        return AnthropicEvent(frame, said, self._calls, last=said.type == "message_stop", usage=usage)

    def unsaid_end(self) -> Event | None:
        return Event(STOP, opens=True, last=True) if self._stopped else None


class BodyDecoder(WholeDecoder):
    """A whole message to the one event that it is."""

    __slots__ = ()

    def event(self, body: bytes) -> Event:
        said = read(body)
        if said.type != "message" or said.content is None:
            raise UpstreamFailed("it sent an answer with nothing in it")
        calls = {at for at, block in enumerate(said.content) if block.type == "tool_use"}
        return AnthropicEvent(body, said, calls, last=True, usage=said.usage.usage() if said.usage else None)


def write_usage(usage: Usage) -> dict[str, object]:
    """Our kinds as Anthropic's; it has none for audio."""
    return {
        "input_tokens": usage.input + usage.audio_input,
        "cache_creation_input_tokens": usage.cached_write + usage.cached_write_1h,
        "cache_read_input_tokens": usage.cached_read,
        "output_tokens": usage.output_total,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }


# --- errors ----------------------------------------------------------------------------------------------------------


class ErrorSaid(msgspec.Struct):
    message: str | None = None
    type: str | None = None


class ErrorBody(msgspec.Struct):
    error: ErrorSaid | str | None = None
    message: str | None = None
    detail: Raw | UnsetType = UNSET  # FastAPI, behind which some who speak this dialect stand


_ERROR = msgspec.json.Decoder(ErrorBody)


def error_message(body: bytes) -> str:
    """What an error body says, in whatever shape; "" when it is HTML, empty or says nothing."""
    return complaint(body).message


def complaint(body: bytes) -> Complaint:
    """The same, with the words for what kind of error it is."""
    try:
        said = _ERROR.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Complaint()
    if isinstance(said.error, str):
        return Complaint(said.error)
    detail = bytes(said.detail).decode("utf-8", "replace") if said.detail is not UNSET else ""
    error = said.error or ErrorSaid()
    message = error.message or said.message or detail.strip('"')
    return Complaint(message, error.type or "")


TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def write_error(error: TidegateError, status: int) -> bytes:
    """`{"type": "error", …}` as Anthropic's SDKs read it."""
    if isinstance(error, UpstreamRefused) and error.dialect == "anthropic" and error.body.lstrip()[:1] == b"{":
        return error.body
    kind = TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    said = {"type": kind, "message": error.message, "code": error.code, "param": error.param}
    return msgspec.json.encode({"type": "error", "error": {k: v for k, v in said.items() if v is not None}})
