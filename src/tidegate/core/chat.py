"""What is a conversation, whoever's dialect it was written in?

The neutral form is a list of typed items in the order they happened. What it does not know is kept as `Opaque`, with
the dialect it belongs to: it goes back into that dialect unchanged, and into another one only as a clear error.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

Role = Literal["system", "developer", "user", "assistant"]


class Opaque(msgspec.Struct, frozen=True, tag=True):
    """A value that only its own dialect understands, as the JSON it came as."""

    dialect: str
    raw: bytes
    path: str  # where it stood: messages[2].content[0]


class Text(msgspec.Struct, frozen=True, tag=True):
    text: str


class Image(msgspec.Struct, frozen=True, tag=True):
    """A picture by address; a `data:` address carries it whole."""

    url: str
    detail: str | None = None


Part = Text | Image | Opaque


class Message(msgspec.Struct, frozen=True, tag=True):
    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


class ToolCall(msgspec.Struct, frozen=True, tag=True):
    """The model asks for a tool. `arguments` is JSON as the model wrote it, valid or not."""

    id: str
    name: str
    arguments: str


class ToolResult(msgspec.Struct, frozen=True, tag=True):
    call_id: str
    parts: tuple[Part, ...]


Item = Message | ToolCall | ToolResult | Opaque


class Tool(msgspec.Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: bytes | None = None  # a JSON schema
    strict: bool | None = None


class Conversation(msgspec.Struct, frozen=True):
    """All that a client may ask of a chat model. None means: not said, the provider decides."""

    items: tuple[Item, ...]
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None  # auto | none | required | the name of a tool, as "tool:NAME"
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    user: str | None = None
    extra: tuple[tuple[str, Opaque], ...] = ()  # top-level fields of one dialect alone


# --- what a reply is made of -----------------------------------------------------------------------------------------


class Channel(NamedTuple):
    """One stream of text within a reply: which answer (`n`), what it is, and which of several tool calls."""

    choice: int = 0
    kind: Literal["text", "reasoning", "refusal", "tool"] = "text"
    tool: int = 0


class Began(NamedTuple):
    """The reply has an id and says which model answers."""

    id: str
    model: str
    created: int  # seconds since 1970


class Delta(NamedTuple):
    """More text in a channel; for a tool call, more of its arguments."""

    channel: Channel
    text: str


class ToolBegan(NamedTuple):
    channel: Channel
    id: str
    name: str


class Finished(NamedTuple):
    """One answer is complete, and why."""

    choice: int
    reason: Literal["stop", "length", "tool_calls", "content_filter", "other"]


Change = Began | Delta | ToolBegan | Finished
