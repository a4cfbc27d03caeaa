"""What is a conversation, whoever's dialect it was written in?

The neutral form is a list of typed items in the order they happened. What it does not know is kept as `Opaque`, with
the dialect it belongs to: it goes back into that dialect unchanged, and into another one only as a clear error.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from tidegate.core.errors import BadRequest

Role = Literal["system", "developer", "user", "assistant"]


class Opaque(msgspec.Struct, frozen=True, tag=True):
    """A value that only its own dialect understands, as the JSON it came as.

    A hint may be left out in another dialect, and the client is told; anything else is refused there.
    """

    dialect: str
    raw: bytes
    path: str  # where it stood: messages[2].content[0]
    hint: bool = False


class Text(msgspec.Struct, frozen=True, tag=True):
    text: str


class Image(msgspec.Struct, frozen=True, tag=True):
    """A picture by address; a `data:` address carries it whole."""

    url: str
    detail: str | None = None


class File(msgspec.Struct, frozen=True, tag=True):
    """A document by address; a `data:` address carries it whole."""

    url: str
    name: str | None = None


Part = Text | Image | File | Opaque


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
    is_error: bool = False


class Reasoning(msgspec.Struct, frozen=True, tag=True):
    """What a model thought in an earlier turn; only the vendor that signed it takes it back."""

    text: str
    signature: str | None = None


Item = Message | ToolCall | ToolResult | Reasoning | Opaque


class Tool(msgspec.Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: bytes | None = None  # a JSON schema
    strict: bool | None = None


class OutputSchema(msgspec.Struct, frozen=True):
    """The answer is to be JSON of this schema."""

    name: str
    schema: bytes
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
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    effort: str | None = None  # of reasoning: none | minimal | low | medium | high | xhigh | max
    output_schema: OutputSchema | None = None
    user: str | None = None
    extra: tuple[tuple[str, Opaque], ...] = ()  # (path, value) of what one dialect alone has a field for


class Written(NamedTuple):
    """A conversation in one dialect, and what had to be left out of it, in words for the client."""

    body: bytes
    left_out: tuple[str, ...] = ()


def left_out(conversation: Conversation, dialect: str) -> list[str]:
    """Where the hints of other dialects stood. Raises BadRequest for what is more than a hint: nothing is dropped in
    silence."""
    found: list[str] = []
    for opaque in _opaques(conversation):
        if opaque.dialect == dialect:
            continue
        if not opaque.hint:
            raise BadRequest(
                f"{opaque.path}: only providers that speak {opaque.dialect} understand this; "
                f"leave it out, or ask a route that has one",
                param=opaque.path,
            )
        found.append(opaque.path)
    return found


def _opaques(conversation: Conversation) -> Iterator[Opaque]:
    for _, opaque in conversation.extra:
        yield opaque
    for item in conversation.items:
        if isinstance(item, Opaque):
            yield item
        elif isinstance(item, Message | ToolResult):
            yield from (part for part in item.parts if isinstance(part, Opaque))


# --- what a part's address can carry ---------------------------------------------------------------------------------

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)


def data_url(media_type: str, data: str) -> str:
    return f"data:{media_type};base64,{data}"


def read_data_url(url: str, what: str) -> tuple[str, str]:
    """Media type and base64 of a `data:` address. Raises BadRequest when it is none."""
    found = _DATA_URL.fullmatch(url)
    try:
        if found and base64.b64decode(found[2], validate=True):
            return found[1], found[2]
    except ValueError:
        pass
    raise BadRequest(f"an {what} address begins with {url[:40]!r}, but what follows is not 'data:TYPE;base64,…'")


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
