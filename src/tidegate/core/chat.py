"""What is a conversation, whoever's dialect it was written in?

The neutral form is a list of typed items in the order they happened. What it does not know is kept as `Opaque`, with
the dialect it belongs to: it goes back into that dialect unchanged, and into another one only as a clear error.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from tidegate.core.errors import BadRequest
from tidegate.core.places import strings

Role = Literal["system", "developer", "user", "assistant"]


class Opaque(msgspec.Struct, frozen=True, tag=True):
    """A value that only its own dialect understands, as JSON.

    A hint may be left out in another dialect, and the client is told; anything else is refused there.
    """

    dialect: str
    raw: bytes
    path: str  # where it stood: messages[2].content[0]
    hint: bool = False


Extra = tuple[tuple[str, Opaque], ...]  # fields that one dialect alone has, by name; a field's field is "outer.inner"


class _Extensible(msgspec.Struct, frozen=True, kw_only=True):
    extra: Extra = ()


class Text(_Extensible, frozen=True, tag=True):
    text: str


class Image(_Extensible, frozen=True, tag=True):
    """A picture by address; a `data:` address carries it whole."""

    url: str


class File(_Extensible, frozen=True, tag=True):
    """A document, whole: a `data:` address."""

    url: str
    name: str | None = None


Part = Text | Image | File | Opaque


class Message(_Extensible, frozen=True, tag=True):
    role: Role
    parts: tuple[Part, ...]


class ToolCall(_Extensible, frozen=True, tag=True):
    """The model asks for a tool. `arguments` is JSON as the model wrote it, valid or not."""

    id: str
    name: str
    arguments: str


class ToolResult(_Extensible, frozen=True, tag=True):
    call_id: str  # of a ToolCall before it
    parts: tuple[Part, ...]
    is_error: bool = False


Item = Message | ToolCall | ToolResult | Opaque


class Tool(_Extensible, frozen=True, tag=True):
    name: str
    description: str | None = None
    parameters: bytes | None = None  # a JSON schema
    strict: bool | None = None


class OutputSchema(_Extensible, frozen=True):
    """The answer is to be JSON of this schema."""

    name: str
    schema: bytes
    strict: bool | None = None


class Conversation(_Extensible, frozen=True):
    """All that a client may ask of a chat model. None means: not said, the provider decides.

    What a model thought in an earlier turn is no part of it: only the vendor that signed it takes it back, so it is
    Opaque, and a hint.
    """

    items: tuple[Item, ...]
    stream: bool = False
    tools: tuple[Tool | Opaque, ...] = ()
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


class Written(NamedTuple):
    """A conversation in one dialect, and what had to be left out of it, in words for the client."""

    body: bytes
    left_out: tuple[str, ...] = ()


def left_out(conversation: Conversation, dialect: str) -> list[str]:
    """Where the hints of other dialects stood. Raises BadRequest for what is more than a hint: nothing is dropped in
    silence."""
    found: list[str] = []
    for opaque in opaques(conversation):
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


def opaques(value: object) -> Iterator[Opaque]:
    """All that only one dialect understands, wherever in it."""
    if isinstance(value, Opaque):
        yield value
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from opaques(getattr(value, field))
    elif isinstance(value, tuple):
        for one in value:
            yield from opaques(one)


# --- how it is read and written --------------------------------------------------------------------------------------

_NOTHING: tuple[Any, ...] = (None, "", [], {})


class Own(NamedTuple):
    """What one dialect has fields for and no other: kept where it is read, put back where it is written."""

    dialect: str
    hints: Collection[str]  # names of fields
    idle: Mapping[str, Any]  # values that ask for nothing, by field; null and what is empty never do
    nests: Collection[str]  # fields whose fields may be extra too

    def keep(self, path: str, value: Any, *, hint: bool = False) -> Opaque:
        return Opaque(self.dialect, msgspec.json.encode(value), path, hint)

    def beside(
        self, path: str, fields: Mapping[str, Any], known: Collection[str], *, within: str = "", hint: bool = False
    ) -> Extra:
        """The fields that are not `known`, at `path`; `within`: of the field of this name."""
        return tuple(
            (f"{within}.{key}" if within else key, self.keep(at(path, key), value, hint=hint or key in self.hints))
            for key, value in fields.items()
            if key not in known and value not in _NOTHING and not (key in self.idle and value == self.idle[key])
        )

    def back(self, written: dict[str, Any], extra: Extra) -> dict[str, Any]:
        for key, own in extra:
            if own.dialect == self.dialect:
                outer, _, inner = key.partition(".")
                if inner and outer in self.nests:
                    written.setdefault(outer, {})[inner] = msgspec.Raw(own.raw)
                else:
                    written[key] = msgspec.Raw(own.raw)
        return written


def at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def read_text(fields: Mapping[str, Any], key: str, path: str) -> str:
    """Raises BadRequest, with the path, when it is not there or no text."""
    value = fields.get(key)
    if not isinstance(value, str):
        raise BadRequest(f"{at(path, key)}: a text is needed here", param=at(path, key))
    return value


_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)


def data_url(media_type: str, data: str) -> str:
    return f"data:{media_type};base64,{data}"


def read_data_url(url: str, path: str) -> tuple[str, bytes]:
    """Media type and content of a `data:` address. Raises BadRequest, with the path, when it is none."""
    found = _DATA_URL.fullmatch(url)
    try:
        content = base64.b64decode(found[2], validate=True) if found else b""
    except (binascii.Error, ValueError):
        content = b""
    if not found or not content:
        raise BadRequest(f"{path}: {url[:40]!r} is not 'data:TYPE/SUBTYPE;base64,' and base64 after it", param=path)
    return found[1], content


def read_image(url: str, path: str, extra: Extra) -> Image:
    """Raises BadRequest, with the path, when there can be no picture at this address."""
    kind = read_data_url(url, path)[0] if url.startswith("data:") else "image" if re.match("https?://.", url) else url
    if not kind.startswith("image"):
        raise BadRequest(f"{path}: {kind[:40]!r} is no picture; give an https:// address or data:image/…", param=path)
    return Image(url, extra=extra)


def read_file(url: str, name: str | None, path: str, extra: Extra) -> File:
    """Raises BadRequest, with the path, when it is not whole, or no text though it says so."""
    kind, content = read_data_url(url, path)
    if kind.startswith("text/"):
        try:
            content.decode()
        except UnicodeDecodeError:
            raise BadRequest(f"{path}: it says {kind}, but is not UTF-8", param=path) from None
    return File(url, name, extra=extra)


def described(path: str, schema: Any) -> Iterator[tuple[str, str]]:
    """The texts in a JSON schema that a model reads as such, with their paths."""
    return ((where, text) for where, text in strings(path, schema) if where.endswith(".description"))


def silent(path: str) -> BadRequest:
    return BadRequest(f"{path}: this message of the user is empty; say something, or leave it out", param=path)


def unspoken() -> BadRequest:
    return BadRequest("messages: there is nothing in them that this provider could answer", param="messages")


def unasked(call_id: str, path: str) -> BadRequest:
    return BadRequest(f"{path}: no tool call {call_id!r} comes before this result of one", param=path)


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
