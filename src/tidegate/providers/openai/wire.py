"""How is OpenAI's dialect spoken on the wire? Events, bodies and errors, of chat and of plain completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tidegate.core.call import Event, size
from tidegate.core.chat import Began, Change, Channel, Delta, Finished, ToolBegan
from tidegate.core.errors import Complaint, TidegateError, UpstreamFailed, UpstreamRefused
from tidegate.core.money import Usage
from tidegate.core.places import replaced
from tidegate.core.stream import UNREADABLE, FrameDecoder, WholeDecoder, no_answer, payload, without_data
from tidegate.providers.openai.said import CHANCES, LOGPROBS, REPLY, Reply, Said

DONE = b"data: [DONE]\n\n"

REASONS: dict[str, Literal["stop", "length", "tool_calls", "content_filter"]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAIEvent(Event):
    """An event of this dialect: read once, when it comes; its meaning in other dialects only when asked for."""

    __slots__ = ("first", "reply")

    def __init__(self, raw: bytes, reply: Reply, *, first: bool = False, last: bool = False) -> None:
        self.raw = raw
        choices = reply.choices
        self.opens = (choices[0].opens() or any(choice.opens() for choice in choices[1:])) if choices else False
        self.last = last
        self.usage = reply.usage.usage() if reply.usage else None
        self.error = None
        self.reply = reply
        self.first = first

    def texts(self) -> Iterator[tuple[Channel, str]]:
        for choice in self.reply.choices or ():
            yield from choice.pieces()

    def places(self) -> Iterator[tuple[Channel, str, str]]:
        for at, choice in enumerate(self.reply.choices or ()):
            if choice.text:
                yield Channel(choice.index), f"choices[{at}].text", choice.text
            for field in ("delta", "message"):
                said: Said | None = getattr(choice, field)
                if said:
                    yield from said.places(choice.index, f"choices[{at}].{field}")

    def closes(self) -> Iterator[tuple[int, None]]:
        return ((choice.index, None) for choice in self.reply.choices or () if choice.finish_reason)

    def rewritten(self, texts: Mapping[str, tuple[str, str]]) -> Event:
        """Log probabilities would tell the words that were there, so they go."""
        bare = {f"{path.split('.')[0]}.logprobs": b"null" for path in texts}
        text = payload(self.raw) or self.raw
        new = replaced(text, texts, without=bare)
        raw = b"data: %b\n\n" % new if text is not self.raw else new
        event = OpenAIEvent(raw, REPLY.decode(new), first=self.first, last=self.last)
        event.usage = self.usage
        return event

    def chances(self) -> Iterator[float]:
        for said in self._logprobs():
            yield from (token.logprob for token in LOGPROBS.decode(said).content or ())

    def without_chances(self) -> Event:
        raw = self.raw
        for said in self._logprobs():
            raw = raw.replace(said, b"null", 1)  # it has quotation marks, so it stands within no text
        if raw is self.raw:
            return self
        event = OpenAIEvent(raw, self.reply, first=self.first, last=self.last)
        event.usage = self.usage
        return event

    def _logprobs(self) -> list[bytes]:
        """As they stand there, of all choices."""
        if b'"logprobs"' not in self.raw:
            return []
        said = [bytes(one.logprobs) for one in CHANCES.decode(payload(self.raw) or self.raw).choices or ()]
        return [one for one in said if one.startswith(b'{"')]

    def more(self, channel: Channel, text: str) -> Event:
        reply = self.reply
        head = {"id": reply.id, "created": reply.created, "model": reply.model}
        said: dict[str, object] = {"index": channel.choice, "finish_reason": None}
        if any(choice.text is not None for choice in reply.choices or ()):
            head["object"] = "text_completion"
            said |= {"text": text, "logprobs": None}
        else:
            head["object"] = "chat.completion.chunk"
            said["delta"] = _said(channel, text)
        new = msgspec.json.encode(head | {"choices": [said]})
        return OpenAIEvent(b"data: %b\n\n" % new, REPLY.decode(new))

    def text_bytes(self) -> int:
        choices = self.reply.choices
        if choices is not None and len(choices) == 1:
            said = choices[0].delta
            text = said.content if said is not None else None
            # What almost every chunk is: a text, and nothing else.
            if (
                isinstance(text, str)
                and said is not None
                and not (said.refusal or said.reasoning_content or said.reasoning or said.tool_calls)
            ):
                return len(text) if text.isascii() else size(text)
        return super().text_bytes()

    def changes(self) -> Sequence[Change]:
        changes: list[Change] = []
        reply = self.reply
        if self.first:
            changes.append(Began(reply.id or "", reply.model or "", int(reply.created or 0)))
        for choice in reply.choices or ():
            said = choice.delta or choice.message
            for at, tool in enumerate((said and said.tool_calls) or ()):
                if tool.function and tool.function.name:
                    channel = Channel(choice.index, "tool", at if tool.index is None else tool.index)
                    changes.append(ToolBegan(channel, tool.id or "", tool.function.name))
            changes += (Delta(channel, text) for channel, text in choice.pieces())
            if choice.finish_reason:
                changes.append(Finished(choice.index, REASONS.get(choice.finish_reason, "other")))
        return changes


def _said(channel: Channel, text: str) -> dict[str, object]:
    if channel.kind == "tool":
        if channel.tool < 0:
            return {"function_call": {"arguments": text}}
        return {"tool_calls": [{"index": channel.tool, "function": {"arguments": text}}]}
    if channel.kind == "reasoning":
        return {"reasoning" if channel.tool else "reasoning_content": text}
    return {"refusal" if channel.kind == "refusal" else "content": text}


def read_reply(text: bytes) -> Reply:
    """Raises UpstreamFailed: not this dialect, or an error where an answer should be."""
    try:
        reply = REPLY.decode(text)
    except UNREADABLE as wrong:
        raise no_answer(wrong) from None
    if reply.error is not UNSET and bytes(reply.error) != b"null":
        said = complaint(text)
        raise UpstreamFailed(f"it sent an error: {said.message or 'without words'}", complaint=said)
    return reply


class StreamDecoder(FrameDecoder):
    """Server-sent chunks to events. Complete is: [DONE], or an end after every choice that began has finished."""

    __slots__ = ("_began", "_open", "_withhold_usage")

    def __init__(self, *, withhold_usage: bool) -> None:
        super().__init__()
        self._withhold_usage = withhold_usage
        self._began = False
        self._open: dict[int, bool] = {}  # choice → still speaking

    def event(self, frame: bytes) -> Event:
        text = payload(frame)
        if not text:
            return without_data(frame)
        if text == b"[DONE]":
            return Event(frame, opens=True, last=True)
        reply = read_reply(text)
        if not reply.choices:
            if reply.type is not None and reply.choices is None:
                raise UpstreamFailed(f"it sent {reply.type[:60]!r}, so it does not speak OpenAI's dialect")
            withheld = self._withhold_usage and reply.usage is not None
            return OpenAIEvent(b"" if withheld else frame, reply)
        still = self._open
        for choice in reply.choices:
            # "" is what some send for null, and some have a last word after the finish
            if choice.finish_reason or choice.index not in still:
                still[choice.index] = still.get(choice.index, True) and not choice.finish_reason
        if self._began:
            return OpenAIEvent(frame, reply)
        # Azure begins with a verdict on the prompt that has neither choices nor an id.
        self._began = True
        return OpenAIEvent(frame, reply, first=True)

    def unsaid_end(self) -> Event | None:
        finished = self._open and not any(self._open.values())
        return Event(DONE, opens=True, last=True) if finished else None


class BodyDecoder(WholeDecoder):
    """A whole body to the one event that it is."""

    __slots__ = ()

    def event(self, body: bytes) -> Event:
        reply = read_reply(body)
        event = OpenAIEvent(body, reply, first=True, last=True)
        if not event.opens:  # no choice, or choices that neither say anything nor say why
            raise UpstreamFailed("it sent an answer with nothing in it")
        return event


def write_usage(usage: Usage) -> dict[str, object]:
    """Our kinds as OpenAI's totals."""
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output_total,
        "total_tokens": usage.input_total + usage.output_total,
        "prompt_tokens_details": {"cached_tokens": usage.cached_read, "audio_tokens": usage.audio_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output},
    }


# --- errors ----------------------------------------------------------------------------------------------------------


class ErrorSaid(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None  # a number: llama.cpp, which repeats the status


class ErrorBody(msgspec.Struct):
    error: ErrorSaid | str | None = None
    message: str | None = None  # vLLM and others, unwrapped
    detail: Raw | UnsetType = UNSET  # FastAPI


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
    return Complaint(message, error.type or "", str(error.code or ""))


TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def write_error(error: TidegateError, status: int) -> bytes:
    """`{"error": …}` as OpenAI's SDKs read it."""
    if isinstance(error, UpstreamRefused) and error.dialect == "openai" and error.body.lstrip()[:1] == b"{":
        return error.body
    kind = TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")
    return msgspec.json.encode(
        {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}
    )
