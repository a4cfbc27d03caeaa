"""How does a reply of another dialect read for a client of OpenAI's?"""

from __future__ import annotations

import time
from collections.abc import Sequence
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
from tidegate.core.money import NO_USAGE
from tidegate.providers.openai import wire

_ANY = msgspec.json.Decoder()
FINISH = {"other": "stop"}
FIELDS = {"text": "content", "reasoning": "reasoning_content", "refusal": "refusal"}


class ChunkWriter:
    """Events of any dialect as chat completion chunks."""

    __slots__ = ("_began", "_tools", "_usage", "_wants_usage")

    def __init__(self, request_id: str, model: str, wants_usage: bool) -> None:
        self._began = Began(f"chatcmpl-{request_id}", model, 0)
        self._tools: dict[Channel, int] = {}  # clients number the tool calls of a message; dialects number otherwise
        self._wants_usage = wants_usage
        self._usage = NO_USAGE

    def feed(self, events: Sequence[Event]) -> bytes:
        written: list[bytes] = []
        for event in events:
            if event.usage is not None:
                self._usage = event.usage
            for change in event.changes():
                if isinstance(change, Began):
                    self._began = Began(change.id or self._began.id, change.model, change.created or int(time.time()))
                    written.append(self._chunk(0, {"role": "assistant", "content": ""}))
                elif isinstance(change, Delta) and change.channel.kind == "tool":
                    tool = {"index": self._number(change.channel), "function": {"arguments": change.text}}
                    written.append(self._chunk(change.channel.choice, {"tool_calls": [tool]}))
                elif isinstance(change, Delta):
                    written.append(self._chunk(change.channel.choice, {FIELDS[change.channel.kind]: change.text}))
                elif isinstance(change, ToolBegan):
                    function = {"name": change.name, "arguments": ""}
                    number = self._number(change.channel)
                    tool = {"index": number, "id": change.id, "type": "function", "function": function}
                    written.append(self._chunk(change.channel.choice, {"tool_calls": [tool]}))
                else:
                    reason = FINISH.get(change.reason, change.reason)
                    written.append(self._chunk(change.choice, {}, reason))
            if event.last and event.error is None:
                if self._wants_usage:
                    written.append(self._write(choices=[], usage=wire.write_usage(self._usage)))
                written.append(wire.DONE)
        return b"".join(written)

    def _number(self, channel: Channel) -> int:
        if channel not in self._tools:
            self._tools[channel] = sum(channel.choice == other.choice for other in self._tools)
        return self._tools[channel]

    def _chunk(self, choice: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return self._write(choices=[{"index": choice, "delta": delta, "finish_reason": finish_reason}])

    def _write(self, **fields: Any) -> bytes:
        began = self._began
        chunk = {"id": began.id, "object": "chat.completion.chunk", "created": began.created, "model": began.model}
        return b"data: %b\n\n" % msgspec.json.encode(chunk | fields)


class BodyWriter:
    """Events of any dialect as one chat completion."""

    __slots__ = ("_began", "_choices", "_tools", "_usage")

    def __init__(self, request_id: str, model: str) -> None:
        self._began = Began(f"chatcmpl-{request_id}", model, 0)
        self._choices: dict[int, dict[str, Any]] = {}
        self._tools: dict[Channel, dict[str, Any]] = {}
        self._usage = NO_USAGE

    def _choice(self, index: int) -> dict[str, Any]:
        message = {"role": "assistant", "content": None}
        return self._choices.setdefault(index, {"index": index, "message": message, "finish_reason": None})

    def feed(self, events: Sequence[Event]) -> bytes:
        for event in events:
            if event.usage is not None:
                self._usage = event.usage
            for change in event.changes():
                self._apply(change)
            if event.last:
                return self._body()
        return b""

    def _apply(self, change: Began | Delta | ToolBegan | Finished) -> None:
        if isinstance(change, Began):
            self._began = Began(change.id or self._began.id, change.model, change.created or int(time.time()))
        elif isinstance(change, Finished):
            self._choice(change.choice)["finish_reason"] = FINISH.get(change.reason, change.reason)
        elif isinstance(change, ToolBegan):
            function = self._tools[change.channel] = {"name": change.name, "arguments": ""}
            tools = self._choice(change.channel.choice)["message"].setdefault("tool_calls", [])
            tools.append({"id": change.id, "type": "function", "function": function})
        elif change.channel.kind == "tool":
            self._tools[change.channel]["arguments"] += change.text
        else:
            message = self._choice(change.channel.choice)["message"]
            field = FIELDS[change.channel.kind]
            message[field] = (message.get(field) or "") + change.text

    def _body(self) -> bytes:
        return msgspec.json.encode(
            {
                "id": self._began.id,
                "object": "chat.completion",
                "created": self._began.created,
                "model": self._began.model,
                "choices": [self._choices[index] for index in sorted(self._choices)],
                "usage": wire.write_usage(self._usage),
            }
        )
