"""How does a reply of another dialect read for a client of Anthropic's?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidegate.core.call import Event
from tidegate.core.chat import Began, Change, Channel, Delta, ToolBegan
from tidegate.core.money import NO_USAGE, Usage
from tidegate.providers.anthropic import wire
from tidegate.providers.anthropic.conversation import read_arguments

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "other": "end_turn",
}


class Block:
    """One piece of a message: a text, a thought, or a tool call; as it begins, and what was said in it."""

    __slots__ = ("begins", "kind", "texts")

    def __init__(self, kind: str, begins: dict[str, Any]) -> None:
        self.kind = kind  # text | reasoning | tool
        self.begins = begins
        self.texts: list[str] = []


class BodyWriter:
    """Events of any dialect as one message: its blocks in the order in which they began."""

    def __init__(self, request_id: str, model: str) -> None:
        self._id = f"msg_{request_id}"
        self._model = model
        self._blocks: list[Block] = []
        self._calls: dict[Channel, Block] = {}
        self._finished = "stop"
        self._refused = False
        self._usage = NO_USAGE
        self._out: list[bytes] = []

    def feed(self, events: Sequence[Event]) -> bytes:
        for event in events:
            if event.usage is not None:
                self._usage = event.usage
            for change in sorted(event.changes(), key=_place):
                self._apply(change)
            if event.last and event.error is None:
                self._ended()
        written, self._out = b"".join(self._out), []
        return written

    def _apply(self, change: Change) -> None:
        if isinstance(change, Began):
            self._id, self._model = change.id or self._id, change.model or self._model
            self._begun()
        elif isinstance(change, ToolBegan):
            self._call(change)
        elif isinstance(change, Delta):
            self._refused = self._refused or change.channel.kind == "refusal"
            self._said(self._block(change.channel), change.text)
        else:
            self._finished = change.reason

    def _call(self, began: ToolBegan) -> Block:
        if began.channel not in self._calls:
            begins = {"type": "tool_use", "id": began.id, "name": began.name, "input": {}}
            self._calls[began.channel] = self._open(Block("tool", begins))
        return self._calls[began.channel]

    def _block(self, channel: Channel) -> Block:
        if channel.kind == "tool":
            return self._calls.get(channel) or self._call(ToolBegan(channel, "", ""))
        kind = "reasoning" if channel.kind == "reasoning" else "text"
        if self._blocks and self._blocks[-1].kind == kind:
            return self._blocks[-1]
        thought = {"type": "thinking", "thinking": "", "signature": ""}
        return self._open(Block(kind, thought if kind == "reasoning" else {"type": "text", "text": ""}))

    def _open(self, block: Block) -> Block:
        self._blocks.append(block)
        self._opened()
        return block

    def _reason(self) -> str:
        """Others may say that they stopped where they called a tool, or refused; a client would not act on that."""
        reason = STOP_REASONS[self._finished]
        if reason != "end_turn":
            return reason
        return "refusal" if self._refused else "tool_use" if self._calls else reason

    def _message(self, content: Sequence[Any], reason: str | None, usage: Usage) -> dict[str, Any]:
        return {
            "id": self._id, "type": "message", "role": "assistant", "model": self._model, "content": content,
            "stop_reason": reason, "stop_sequence": None, "usage": wire.write_usage(usage),
        }  # fmt: skip

    # --- when it is said: at the end

    def _begun(self) -> None:
        """The reply has an id and a model."""

    def _opened(self) -> None:
        """There is a new block, the last."""

    def _said(self, block: Block, text: str) -> None:
        block.texts.append(text)

    def _ended(self) -> None:
        content = [_whole(block) for block in self._blocks]
        self._out.append(msgspec.json.encode(self._message(content, self._reason(), self._usage)))


def _place(change: Change) -> int:
    """Whoever tells thoughts and words at once has them in fields side by side; here the thoughts come first."""
    thought = isinstance(change, Delta) and change.channel.kind == "reasoning"
    return 0 if isinstance(change, Began) else 1 if thought else 2


def _whole(block: Block) -> dict[str, Any]:
    text = "".join(block.texts)
    if block.kind == "tool":
        return block.begins | {"input": read_arguments(text)}
    return block.begins | {"thinking" if block.kind == "reasoning" else "text": text}


class StreamWriter(BodyWriter):
    """The same message as Anthropic's stream: one block after the other, never two at once.

    Another dialect may say a little of two tool calls in turn, and of a text between them. A text is over when
    something else begins; a call may go on until the end, and what began after it waits.
    """

    def __init__(self, request_id: str, model: str) -> None:
        super().__init__(request_id, model)
        self._started = False
        self._shown = -1  # the block that is open, counted from 0

    def _begun(self) -> None:
        if not self._started:
            self._started = True
            self._frame("message_start", message=self._message([], None, NO_USAGE))

    def _opened(self) -> None:
        if self._shown < 0 or self._blocks[self._shown].kind != "tool":
            self._next()

    def _next(self) -> None:
        """The open block is over; the one after it begins, with what waited in it."""
        self._begun()
        if self._shown >= 0:
            self._frame("content_block_stop", index=self._shown)
        self._shown += 1
        if self._shown < len(self._blocks):
            block = self._blocks[self._shown]
            self._frame("content_block_start", index=self._shown, content_block=block.begins)
            if block.texts:
                self._said(block, "".join(block.texts))

    def _said(self, block: Block, text: str) -> None:
        if block is not self._blocks[self._shown]:
            block.texts.append(text)
            return
        field = {"text": "text", "reasoning": "thinking", "tool": "partial_json"}[block.kind]
        kind = {"text": "text_delta", "reasoning": "thinking_delta", "tool": "input_json_delta"}[block.kind]
        self._frame("content_block_delta", index=self._shown, delta={"type": kind, field: text})

    def _ended(self) -> None:
        self._begun()
        while self._shown < len(self._blocks):
            self._next()
        stop = {"stop_reason": self._reason(), "stop_sequence": None}
        self._frame("message_delta", delta=stop, usage=wire.write_usage(self._usage))
        self._out.append(wire.STOP)

    def _frame(self, kind: str, **fields: Any) -> None:
        text = msgspec.json.encode({"type": kind, **fields})
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), text))
