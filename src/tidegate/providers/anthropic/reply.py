"""How does a reply of another dialect read for a client of Anthropic's?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tidegate.core.call import Event
from tidegate.core.chat import (
    Began,
    Channel,
    Delta,
    Finished,
    ToolBegan,
)
from tidegate.core.money import NO_USAGE, Usage
from tidegate.providers.anthropic import wire

_ANY = msgspec.json.Decoder()
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "other": "end_turn",
}


class StreamWriter:
    """Events of any dialect as Anthropic's stream: one block after the other, never two at once.

    Another dialect may say a little of two tool calls in turn; what comes for one that is not open waits for its place.
    """

    __slots__ = ("_blocks", "_id", "_model", "_open", "_reason", "_started", "_usage", "_waiting")

    def __init__(self, request_id: str, model: str) -> None:
        self._id = f"msg_{request_id}"
        self._model = model
        self._started = False
        self._blocks = 0
        self._open: Channel | None = None
        self._waiting: dict[Channel, tuple[ToolBegan, list[str]]] = {}
        self._reason = "end_turn"
        self._usage = NO_USAGE

    def feed(self, events: Sequence[Event]) -> bytes:
        written: list[bytes] = []
        for event in events:
            if event.usage is not None:
                self._usage = event.usage
            for change in event.changes():
                if isinstance(change, Began):
                    self._id, self._model = change.id or self._id, change.model or self._model
                    written += self._start()
                elif isinstance(change, ToolBegan):
                    written += self._tool(change)
                elif isinstance(change, Delta):
                    written += self._delta(change.channel, change.text)
                else:
                    self._reason = STOP_REASONS[change.reason]
            if event.last and event.error is None:
                written += self._end()
        return b"".join(written)

    def _start(self) -> Iterator[bytes]:
        if not self._started:
            self._started = True
            usage = wire.write_usage(Usage(input=self._usage.input))
            message: dict[str, Any] = {
                "id": self._id, "type": "message", "role": "assistant", "model": self._model, "content": [],
                "stop_reason": None, "stop_sequence": None, "usage": usage,
            }  # fmt: skip
            yield _frame("message_start", message=message)

    def _tool(self, began: ToolBegan) -> Iterator[bytes]:
        if self._open is not None and self._open.kind == "tool":
            self._waiting[began.channel] = (began, [])
            return
        yield from self._turn_to(began.channel, {"type": "tool_use", "id": began.id, "name": began.name, "input": {}})

    def _delta(self, channel: Channel, text: str) -> Iterator[bytes]:
        if channel in self._waiting:
            self._waiting[channel][1].append(text)
            return
        if channel.kind == "tool":
            piece = {"type": "input_json_delta", "partial_json": text}
        elif channel.kind == "reasoning":
            yield from self._turn_to(channel, {"type": "thinking", "thinking": "", "signature": ""})
            piece = {"type": "thinking_delta", "thinking": text}
        else:
            yield from self._turn_to(Channel(channel.choice), {"type": "text", "text": ""})
            piece = {"type": "text_delta", "text": text}
        yield _frame("content_block_delta", index=self._blocks - 1, delta=piece)

    def _turn_to(self, channel: Channel, block: Mapping[str, Any]) -> Iterator[bytes]:
        """Open a block for `channel`, unless it is the open one."""
        if self._open == channel:
            return
        yield from self._close()
        yield from self._start()
        self._open = channel
        yield _frame("content_block_start", index=self._blocks, content_block=block)
        self._blocks += 1

    def _close(self) -> Iterator[bytes]:
        if self._open is not None:
            yield _frame("content_block_stop", index=self._blocks - 1)
            self._open = None

    def _end(self) -> Iterator[bytes]:
        yield from self._start()
        yield from self._close()
        for began, texts in list(self._waiting.values()):
            del self._waiting[began.channel]
            yield from self._tool(began)
            for text in texts:
                yield from self._delta(began.channel, text)
            yield from self._close()
        stop = {"stop_reason": self._reason, "stop_sequence": None}
        yield _frame("message_delta", delta=stop, usage=wire.write_usage(self._usage))
        yield wire.STOP


def _frame(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **fields}))


class BodyWriter:
    """Events of any dialect as one message."""

    __slots__ = ("_blocks", "_id", "_model", "_reason", "_tools", "_usage")

    def __init__(self, request_id: str, model: str) -> None:
        self._id = f"msg_{request_id}"
        self._model = model
        self._blocks: list[dict[str, Any]] = []
        self._tools: dict[Channel, list[str]] = {}
        self._reason = "end_turn"
        self._usage = NO_USAGE

    def feed(self, events: Sequence[Event]) -> bytes:
        for event in events:
            if event.usage is not None:
                self._usage = event.usage
            for change in event.changes():
                self._apply(change)
            if event.last and event.error is None:
                return self._body()
        return b""

    def _apply(self, change: Began | Delta | ToolBegan | Finished) -> None:
        if isinstance(change, Began):
            self._id, self._model = change.id or self._id, change.model or self._model
        elif isinstance(change, Finished):
            self._reason = STOP_REASONS[change.reason]
        elif isinstance(change, ToolBegan):
            self._tools[change.channel] = []
            self._blocks.append({"type": "tool_use", "id": change.id, "name": change.name, "input": change.channel})
        elif change.channel.kind == "tool":
            self._tools[change.channel].append(change.text)
        else:
            kind = "thinking" if change.channel.kind == "reasoning" else "text"
            if not self._blocks or self._blocks[-1]["type"] != kind:
                self._blocks.append({"type": kind, kind: ""} | ({"signature": ""} if kind == "thinking" else {}))
            self._blocks[-1][kind] += change.text

    def _body(self) -> bytes:
        for block in self._blocks:
            if block["type"] == "tool_use":
                arguments = "".join(self._tools[block["input"]])
                try:
                    block["input"] = _ANY.decode(arguments.encode() or b"{}")
                except msgspec.DecodeError:  # the model wrote no JSON: an object is wanted here, so it is kept as text
                    block["input"] = {"invalid_json": arguments}
        return msgspec.json.encode(
            {
                "id": self._id, "type": "message", "role": "assistant", "model": self._model,
                "content": self._blocks, "stop_reason": self._reason, "stop_sequence": None,
                "usage": wire.write_usage(self._usage),
            }
        )  # fmt: skip
