"""How can a provider break off? Each way as bytes on a socket, in any dialect, before or after the first event.

What becomes of each is the table docs/reference/broken-streams.json, which tests/upstream/test_fault_matrix.py goes
through and the page of that name is made from.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from tests.rawserver import Peer, Script

LINE = 5 * 1024 * 1024  # bytes; a line is at most 4 MiB
STEP = 256 * 1024


class Good(NamedTuple):
    """A reply that says hello, in two pieces."""

    preamble: bytes  # events that carry nothing yet
    first: bytes  # the first that carries something: "hel"
    rest: bytes
    whole: bytes
    error: bytes  # an error, as a body
    error_frame: bytes


def _frame(name: str | None = None, **data: Any) -> bytes:
    return (b"event: %b\n" % name.encode() if name else b"") + b"data: %b\n\n" % json.dumps(data).encode()


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _frame(id="x", object="chat.completion.chunk", created=0, model="m", choices=[choice])


def _openai() -> Good:
    usage = {"prompt_tokens": 25, "completion_tokens": 2, "total_tokens": 27}
    message = {"role": "assistant", "content": "hello"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    error = {"error": {"message": "overloaded", "type": "server_error", "param": None, "code": None}}
    ended = _chunk({}, "stop") + _frame(id="x", object="chat.completion.chunk", model="m", choices=[], usage=usage)
    return Good(
        preamble=_chunk({"role": "assistant", "content": ""}),
        first=_chunk({"content": "hel"}),
        rest=_chunk({"content": "lo"}) + ended + b"data: [DONE]\n\n",
        whole=json.dumps({"id": "x", "object": "chat.completion", "choices": choices, "usage": usage}).encode(),
        error=json.dumps(error).encode(),
        error_frame=_frame(**error),
    )


def _event(type: str, **more: Any) -> bytes:
    return _frame(type, type=type, **more)


def _anthropic() -> Good:
    message = {"id": "x", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    began = message | {"content": [], "stop_reason": None, "usage": {"input_tokens": 25, "output_tokens": 1}}
    text = {"type": "text", "text": "hello"}
    ended = message | {"content": [text], "stop_reason": "end_turn", "usage": {"input_tokens": 25, "output_tokens": 2}}
    error = {"error": {"type": "overloaded_error", "message": "overloaded"}}

    def delta(said: str) -> bytes:
        return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": said})

    return Good(
        preamble=_event("message_start", message=began)
        + _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        + _event("ping"),
        first=delta("hel"),
        rest=delta("lo")
        + _event("content_block_stop", index=0)
        + _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
        + _event("message_stop"),
        whole=json.dumps(ended).encode(),
        error=json.dumps({"type": "error"} | error).encode(),
        error_frame=_event("error", **error),
    )


GOOD = {"openai": _openai(), "anthropic": _anthropic()}
OTHER = {"openai": "anthropic", "anthropic": "openai"}


class Voice:
    """One reply as it goes wrong: its dialect, and how its bytes are framed."""

    def __init__(self, peer: Peer, dialect: str, *, stream: bool, after: bool) -> None:
        self.peer = peer
        self.good = GOOD[dialect]
        self.other = GOOD[OTHER[dialect]]
        self.stream = stream
        self.after = after  # the first event, or half of the body, is said already

    async def begin(self) -> None:
        """As a healthy provider does."""
        self.head(b"text/event-stream" if self.stream else b"application/json")
        if self.stream:
            await self.say(self.good.preamble)
        if self.after:
            await self.say(self.good.first if self.stream else self.good.whole[: len(self.good.whole) // 2])

    def head(self, kind: bytes) -> None:
        self.peer.say(b"HTTP/1.1 200 OK\r\ncontent-type: ", kind, b"\r\ntransfer-encoding: chunked\r\n\r\n")

    async def say(self, text: bytes) -> None:
        if text:
            await self.peer.dictate(b"%x\r\n%b\r\n" % (len(text), text))

    def end(self) -> None:
        self.peer.say(b"0\r\n\r\n")

    @property
    def rest(self) -> bytes:
        """What would still have to come."""
        if self.stream:
            return self.good.rest if self.after else self.good.first + self.good.rest
        return self.good.whole[len(self.good.whole) // 2 :] if self.after else self.good.whole


# --- each fault, from where the reply stood ---------------------------------------------------------------------------


async def cut(voice: Voice) -> None:
    voice.peer.close()


async def connection_reset(voice: Voice) -> None:
    voice.peer.reset()


async def half_close(voice: Voice) -> None:
    voice.peer.half_close()


async def stall(voice: Voice) -> None:
    await voice.peer.gone()


async def trickle(voice: Voice) -> None:
    for at in range(len(voice.rest)):
        await voice.say(voice.rest[at : at + 1])
    voice.end()


async def malformed_frame(voice: Voice) -> None:
    await voice.say(b"data: {nonsense}\n\n" if voice.stream else b'"{nonsense"')
    await voice.say(voice.rest)
    voice.end()


async def truncated_json(voice: Voice) -> None:
    frame = voice.rest.partition(b"\n\n")[0]
    await voice.say(frame[: len(frame) - 3] + b"\n\n" if voice.stream else voice.rest[: len(voice.rest) // 2])
    voice.end()


async def garbage_body(voice: Voice) -> None:
    await voice.say(bytes(range(256)) * 4 + b"\n\n")
    voice.end()


async def endless_line(voice: Voice) -> None:
    await voice.say(b"data: " if voice.stream else b'{"id": "')
    for _ in range(LINE // STEP):
        await voice.say(b"x" * STEP)


async def error_frame(voice: Voice) -> None:
    await voice.say(voice.good.error_frame)
    voice.end()


async def error_body(voice: Voice) -> None:
    voice.head(b"application/json")
    await voice.say(voice.good.error)
    voice.end()


async def wrong_content_type(voice: Voice) -> None:
    voice.head(b"text/html; charset=utf-8")
    await voice.say(b"<html><body>We will be back soon</body></html>")
    voice.end()


async def empty(voice: Voice) -> None:
    voice.head(b"text/event-stream" if voice.stream else b"application/json")
    voice.end()


async def wrong_dialect(voice: Voice) -> None:
    other = voice.other
    if voice.stream:
        await voice.say(other.rest if voice.after else other.preamble + other.first + other.rest)
    else:
        await voice.say(other.whole)
    voice.end()


Fault = Callable[[Voice], Awaitable[None]]

BEGUN: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        cut, connection_reset, half_close, stall, trickle, malformed_frame, truncated_json, garbage_body, endless_line,
        error_frame, wrong_dialect,
    )
}  # fmt: skip
FROM_THE_HEAD: dict[str, Fault] = {fault.__name__: fault for fault in (error_body, wrong_content_type, empty)}
FAULTS = BEGUN | FROM_THE_HEAD


def script(name: str, dialect: str, *, stream: bool, after: bool) -> Script:
    """For a `rawserver.Server`: every request is answered, as far as it goes, and then the fault `name` happens."""

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            voice = Voice(peer, dialect, stream=stream, after=after)
            if name in BEGUN:
                await voice.begin()
            await FAULTS[name](voice)
            if peer.writer.is_closing():
                return

    return play
