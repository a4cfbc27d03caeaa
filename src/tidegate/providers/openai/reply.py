"""How does a reply of another dialect read for a client of OpenAI's?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from tidegate.core.call import Event
from tidegate.core.chat import Began, Change, Channel, Delta, Finished, ToolBegan
from tidegate.core.money import NO_USAGE
from tidegate.providers.openai import wire

FINISH = {"other": "stop"}
FIELDS = {"text": "content", "reasoning": "reasoning_content", "refusal": "refusal"}


class ChunkWriter:
    """Events of any dialect as chat completion chunks."""

    __slots__ = ("_began", "_silent", "_started", "_tools", "_usage", "_wants_usage")

    def __init__(self, request_id: str, model: str, wants_usage: bool) -> None:
        self._began = Began(f"chatcmpl-{request_id}", model, int(time.time()))
        self._started = False
        self._tools: dict[Channel, int] = {}  # clients number the tool calls of a message; dialects number otherwise
        self._silent: list[Channel] = []  # tool calls without arguments so far
        self._wants_usage = wants_usage
        self._usage = NO_USAGE

    def feed(self, events: Sequence[Event]) -> bytes:
        written: list[bytes] = []
        for event in events:
            if event.usage is not None:
                self._usage = event.usage
            for change in event.changes():
                self._apply(change, written)
            if event.last and event.error is None:
                if self._wants_usage:
                    written.append(self._write(choices=[], usage=wire.write_usage(self._usage)))
                written.append(wire.DONE)
        return b"".join(written)

    def _apply(self, change: Change, written: list[bytes]) -> None:
        if isinstance(change, Began):
            self._began = began(change, self._began)
        if not self._started:
            self._started = True
            written.append(self._chunk(0, {"role": "assistant", "content": None}))
        if isinstance(change, ToolBegan):
            self._call(change, written)
        elif isinstance(change, Delta) and change.channel.kind == "tool":
            if change.channel not in self._tools:
                self._call(ToolBegan(change.channel, "", ""), written)
            self._argue(change, written)
        elif isinstance(change, Delta):
            written.append(self._chunk(change.channel.choice, {FIELDS[change.channel.kind]: change.text}))
        elif isinstance(change, Finished):
            for channel in [channel for channel in self._silent if channel.choice == change.choice]:
                self._argue(Delta(channel, "{}"), written)  # clients parse them
            written.append(self._chunk(change.choice, {}, FINISH.get(change.reason, change.reason)))

    def _call(self, tool: ToolBegan, written: list[bytes]) -> None:
        if tool.channel in self._tools:
            return
        number = sum(tool.channel.choice == other.choice for other in self._tools)
        self._tools[tool.channel] = number
        self._silent.append(tool.channel)
        function = {"name": tool.name, "arguments": ""}
        call = {"index": number, "id": tool.id, "type": "function", "function": function}
        written.append(self._chunk(tool.channel.choice, {"tool_calls": [call]}))

    def _argue(self, said: Delta, written: list[bytes]) -> None:
        if said.channel in self._silent:
            self._silent.remove(said.channel)
        call = {"index": self._tools[said.channel], "function": {"arguments": said.text}}
        written.append(self._chunk(said.channel.choice, {"tool_calls": [call]}))

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
        self._began = Began(f"chatcmpl-{request_id}", model, int(time.time()))
        self._choices: dict[int, dict[str, Any]] = {}
        self._tools: dict[Channel, dict[str, Any]] = {}
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

    def _apply(self, change: Change) -> None:
        if isinstance(change, Began):
            self._began = began(change, self._began)
        elif isinstance(change, Finished):
            self._choice(change.choice)["finish_reason"] = FINISH.get(change.reason, change.reason)
        elif isinstance(change, ToolBegan):
            self._call(change)
        elif change.channel.kind == "tool":
            self._call(ToolBegan(change.channel, "", ""))["arguments"] += change.text
        else:
            message = self._choice(change.channel.choice)["message"]
            field = FIELDS[change.channel.kind]
            message[field] = (message.get(field) or "") + change.text

    def _choice(self, index: int) -> dict[str, Any]:
        message = {"role": "assistant", "content": None}
        return self._choices.setdefault(index, {"index": index, "message": message, "finish_reason": None})

    def _call(self, tool: ToolBegan) -> dict[str, Any]:
        """The function that is called; a new one, unless it is known."""
        if tool.channel not in self._tools:
            function = self._tools[tool.channel] = {"name": tool.name, "arguments": ""}
            calls = self._choice(tool.channel.choice)["message"].setdefault("tool_calls", [])
            calls.append({"id": tool.id, "type": "function", "function": function})
        return self._tools[tool.channel]

    def _body(self) -> bytes:
        for function in self._tools.values():
            function["arguments"] = function["arguments"] or "{}"  # clients parse them
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


def began(said: Began, ours: Began) -> Began:
    """What a reply says of itself, and for what it does not say, our words."""
    return Began(said.id or ours.id, said.model or ours.model, said.created or ours.created)
