"""What is said to a request? A `Script` and what was asked become the bytes of a response. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from tidegate.core.errors import BadRequest
from tidegate.core.values import Duration

MODEL = "scripted"
NO_TIME = Duration(0)
Count = Annotated[int, Meta(ge=0)]
Ending = Literal["close", "reset", "stall", "half_close"]

# --- what it is told -------------------------------------------------------------------------------------------------


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool that is called.

    name: of the function.
    arguments: as the model writes them, valid JSON or not.
    """

    name: str
    arguments: str = "{}"


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said to one request. What is left out is as a healthy provider does it.

    An event is one frame of a stream that carries something; what only opens a choice (its role) is part of the
    choice's first event. A reply that is not streamed is one event.

    text: the answer, cut into words, or its pieces as they are to be streamed; left out, what was heard.
    reasoning: the same for what is thought before it.
    refusal: the same for a refusal.
    tools: which tools are called, with which arguments.
    finish: why it ends; left out, what fits the rest; "" never says so.
    usage: false says nothing of it; an object is said as it is.
    done: false leaves out the last [DONE].
    opening: what else the first delta of a choice says, such as {content: null}.
    extra: fields that nobody knows, in every chunk or body.
    status: of the response; 400 and above is said as an error.
    headers: in place of, or beside, those that belong there.
    body: text in place of the whole reply, streamed or not: a page, an error, nothing.
    instead: bytes in place of some events, by number: a malformed frame, garbage, a line without an end.
    raw: bytes in place of the whole response, its head included.
    before: the wait before the head.
    between: the wait between events, or between the steps of a trickle.
    trickle: bytes per step; 0 writes event by event, all at once where there is nothing to wait for.
    framing: how the end of the body is told: chunked, length, close; left out, chunked for streams, else length.
    cut_off: the number of events after which it breaks off.
    cut_bytes: the same in bytes of the body.
    then: what becomes of the connection: close, reset, stall (it stays, silent), half_close (the same after a FIN);
        left out, it is kept when the reply was complete, else closed.
    """

    text: str | tuple[str, ...] | None = None
    reasoning: str | tuple[str, ...] = ()
    refusal: str | tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    finish: str | None = None
    usage: bool | dict[str, Any] = True
    done: bool = True
    opening: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    status: Annotated[int, Meta(ge=200, le=999)] = 200
    headers: dict[str, str] = {}
    body: str | None = None
    instead: dict[int, bytes] = {}
    raw: bytes | None = None
    before: Duration = NO_TIME
    between: Duration = NO_TIME
    trickle: Count = 0
    framing: Literal["chunked", "length", "close"] | None = None
    cut_off: Count | None = None
    cut_bytes: Count | None = None
    then: Ending | None = None

    @property
    def at_once(self) -> bool:
        """There is nothing to wait for."""
        return not (self.before or self.between or self.trickle or self.then)


class Message(msgspec.Struct):
    role: str = ""
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return " ".join(str(part["text"]) for part in self.content or () if part.get("text"))


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Metadata(msgspec.Struct):
    script: Script | str | None = None


class Asked(msgspec.Struct):
    """What matters of a request."""

    model: str = MODEL
    messages: list[Message] = []
    prompt: str | list[Any] = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    user: str | None = None
    metadata: Metadata | None = None

    def heard(self) -> list[str]:
        if self.messages:
            return [message.text for message in self.messages]
        return [str(prompt) for prompt in self.prompt] if isinstance(self.prompt, list) else [self.prompt]

    def last_said(self) -> str:
        """What the user said last; when nobody is called a user, what was said last."""
        by_user = [message.text for message in self.messages if message.role == "user"]
        return (by_user or self.heard() or [""])[-1]


def _value(kind: Any, value: object) -> object:
    return kind.parse(value)


_SCRIPT = msgspec.json.Decoder(Script, dec_hook=_value)
_ASKED = msgspec.json.Decoder(Asked, dec_hook=_value)


def read_script(text: str | bytes) -> Script:
    """Raises BadRequest."""
    try:
        return _SCRIPT.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise BadRequest(str(wrong)) from None


def read_request(body: bytes) -> tuple[Asked, Script | None]:
    """What is asked, and the script that came with it. Raises BadRequest."""
    try:
        asked = _ASKED.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise BadRequest(str(wrong)) from None
    script = asked.metadata.script if asked.metadata else None
    return asked, read_script(script) if isinstance(script, str) else script


# --- what it says ----------------------------------------------------------------------------------------------------

ID = b"scripted-" + b"~" * 16  # stands for the id in what was made ready: as long, and the only thing that differs
ECHOED = 12  # words
_WORD = re.compile(r"\s*\S+|\s+")


class Answer(NamedTuple):
    """A response, ready but for its id: its head, then its events as they go over the wire, or as far as they go."""

    script: Script
    pieces: tuple[bytes, ...]
    keep: bool  # the connection, for its end can be told from what follows
    model: str = MODEL
    user: str | None = None
    usage: dict[str, Any] | None = None  # of a reply that is complete


def answer(script: Script, asked: Asked, *, chat: bool) -> Answer:
    """What `script` says to `asked`: the same every time, its text and usage the same streamed and whole."""
    if script.raw is not None:
        return Answer(script, (script.raw,), keep=False)
    said = _Reply(script, asked, chat=chat)
    failed = script.status >= 400 or script.body is not None
    streamed = bool(asked.stream) and not failed
    events = list(said.stream()) if streamed else [_failure(script) if failed else said.whole()]
    events = [script.instead.get(at, event) for at, event in enumerate(events)]
    sent = _cut(script, events)
    complete = sent == events
    headers = {"content-type": "text/event-stream; charset=utf-8" if streamed else "application/json"}
    framing = script.framing or ("chunked" if streamed else "length")
    if framing == "chunked":
        headers["transfer-encoding"] = "chunked"
        sent = [b"%x\r\n%b\r\n" % (len(event), event) for event in sent if event]
        sent += [b"0\r\n\r\n"] if complete else []
    elif framing == "length":
        headers["content-length"] = str(sum(map(len, events)))
    else:
        headers["connection"] = "close"
    headers |= {name.lower(): value for name, value in script.headers.items()}
    return Answer(
        script,
        (_head(script.status, headers), *sent),
        keep=complete and headers.get("connection") != "close",
        model=asked.model,
        user=asked.user,
        usage=said.usage() if complete and not failed else None,
    )


def plain(status: int, body: bytes) -> Answer:
    """What needs no script: a list, a sum, an error."""
    head = _head(status, {"content-type": "application/json", "content-length": str(len(body))})
    return Answer(Script(), (head, body), keep=True)


def error(status: int, message: str) -> bytes:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": None}})


class _Reply:
    """What is said to the end, as events of a stream or as a whole body."""

    def __init__(self, script: Script, asked: Asked, *, chat: bool) -> None:
        self.script = script
        self.asked = asked
        self.chat = chat
        self.choices = range(asked.n or 1)
        self.text = _words(script.text if script.text is not None else _echo(script, asked))
        self.reasoning = _words(script.reasoning) if chat else ()
        self.refusal = _words(script.refusal) if chat else ()
        self.tools = script.tools if chat else ()
        self.finish = script.finish if script.finish is not None else "tool_calls" if self.tools else "stop"
        self.known = {"id": ID.decode(), "created": 0, "model": asked.model, **script.extra}

    def stream(self) -> Iterator[bytes]:
        opening = {"role": "assistant", "content": ""} | self.script.opening
        first = [self._chunk(choice, opening, None) if self.chat else b"" for choice in self.choices]
        finish: list[tuple[dict[str, Any], str | None]] = [({}, self.finish)] if self.finish else []
        for delta, finished in [*((delta, None) for delta in self._deltas()), *finish]:
            for choice in self.choices:
                yield first[choice] + self._chunk(choice, delta, finished)
                first[choice] = b""
        if self.asked.stream_options and self.asked.stream_options.include_usage and self.script.usage is not False:
            yield self._frame(choices=[], usage=self.usage())
        if self.script.done:
            yield b"data: [DONE]\n\n"

    def _deltas(self) -> Iterator[dict[str, Any]]:
        yield from ({"reasoning_content": piece} for piece in self.reasoning)
        yield from ({"content": piece} for piece in self.text)
        yield from ({"refusal": piece} for piece in self.refusal)
        for at, tool in enumerate(self.tools):
            yield {"tool_calls": [{"index": at, **_called(at, tool, "")}]}
            for piece in _words(tool.arguments):
                yield {"tool_calls": [{"index": at, "function": {"arguments": piece}}]}

    def _chunk(self, choice: int, delta: dict[str, Any], finish: str | None) -> bytes:
        said = {"delta": delta} if self.chat else {"text": delta.get("content", "")}
        return self._frame(choices=[{"index": choice, **said, "logprobs": None, "finish_reason": finish}])

    def _frame(self, **more: Any) -> bytes:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return b"data: %b\n\n" % msgspec.json.encode(self.known | {"object": kind} | more)

    def whole(self) -> bytes:
        said = {"message": self._message()} if self.chat else {"text": "".join(self.text)}
        end = {"logprobs": None, "finish_reason": self.finish or None}
        reply: dict[str, Any] = {
            "object": "chat.completion" if self.chat else "text_completion",
            "choices": [{"index": choice, **said, **end} for choice in self.choices],
        }
        if self.script.usage is not False:
            reply["usage"] = self.usage()
        return msgspec.json.encode(self.known | reply)

    def _message(self) -> dict[str, Any]:
        text = "".join(self.text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text or (None if self.tools or self.refusal else ""),
            "refusal": "".join(self.refusal) or None,
        }
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.tools:
            message["tool_calls"] = [_called(at, tool, tool.arguments) for at, tool in enumerate(self.tools)]
        return message

    def usage(self) -> dict[str, Any]:
        """Words heard, and three more a message; words said, of all choices."""
        if isinstance(self.script.usage, dict):
            return self.script.usage
        heard = sum(len(text.split()) for text in self.asked.heard()) + 3 * (len(self.asked.messages) or 1)
        said = len(self.choices) * sum(1 for _ in self._deltas())
        usage: dict[str, Any] = {"prompt_tokens": heard, "completion_tokens": said, "total_tokens": heard + said}
        if self.reasoning:
            usage["completion_tokens_details"] = {"reasoning_tokens": len(self.choices) * len(self.reasoning)}
        return usage


def _words(text: str | Sequence[str]) -> Sequence[str]:
    return _WORD.findall(text) if isinstance(text, str) else text


def _echo(script: Script, asked: Asked) -> str:
    if script.tools or script.refusal:
        return ""
    words = asked.last_said().split()
    return f"You said {len(words)} words: {' '.join(words[:ECHOED])}"


def _called(at: int, tool: Tool, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{at}", "type": "function", "function": {"name": tool.name, "arguments": arguments}}


def _failure(script: Script) -> bytes:
    return error(script.status, "the script says so") if script.body is None else script.body.encode()


def _cut(script: Script, events: list[bytes]) -> list[bytes]:
    """As many of `events` as are said, the last perhaps in part."""
    sent = events[: script.cut_off]
    if script.cut_bytes is None:
        return sent
    left = script.cut_bytes
    for at, event in enumerate(sent):
        if left < len(event):
            return [*sent[:at], event[:left]] if left else sent[:at]
        left -= len(event)
    return sent


def _head(status: int, headers: dict[str, str]) -> bytes:
    phrase = HTTPStatus(status).phrase if status in {*HTTPStatus} else "Odd"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode()
