"""OpenAI's chat completions, read and written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from tidegate.core.body import checked, spans, splice
from tidegate.core.call import Asked, Event
from tidegate.core.chat import (
    Began,
    Conversation,
    Delta,
    Finished,
    Image,
    Item,
    Message,
    Opaque,
    Part,
    Role,
    Text,
    Tool,
    ToolBegan,
    ToolCall,
    ToolResult,
)
from tidegate.core.errors import BadRequest, TidegateError
from tidegate.core.money import NO_USAGE
from tidegate.core.ports import Decoder, Encoder, Headers
from tidegate.providers.openai import wire

# --- the typed minimum of a request ----------------------------------------------------------------------------------


class PartAsked(msgspec.Struct):
    type: str | None = None
    text: str | None = None


class MessageAsked(msgspec.Struct):
    role: str
    content: str | list[PartAsked] | None = None
    tool_calls: list[wire.ToolSaid] | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class FunctionAsked(msgspec.Struct):
    name: str | None = None
    description: str | None = None


class ToolAsked(msgspec.Struct):
    type: str | None = None
    function: FunctionAsked | None = None


class ChatAsked(msgspec.Struct):
    model: str
    messages: list[MessageAsked]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[ToolAsked] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None


_ASKED = msgspec.json.Decoder(ChatAsked)
_ANY = msgspec.json.Decoder()
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])


def decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """The typed minimum of `body`. Raises BadRequest with the path of the field that is wrong."""
    try:
        return decoder.decode(checked(body))
    except msgspec.ValidationError as wrong:
        what, _, where = str(wrong).partition(" - at `$")
        path = where.rstrip("`").lstrip(".")
        raise BadRequest(f"{path}: {what}" if path else what, param=path or None) from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise BadRequest(f"the body is not JSON: {wrong}") from None


def end_user(typed: Any) -> str | None:
    """Who the end user is, by the fields that clients use for it, in order."""
    user: str | None = typed.user or typed.safety_identifier
    if user is None and typed.metadata:
        found = typed.metadata.get("user_id")
        user = found if isinstance(found, str) else None
    return user


def outgoing(asked: Asked, model: str) -> bytes:
    """The client's bytes, with the target's model, and a stream that ends with its usage."""
    changes: dict[str, bytes] = {}
    if model != asked.model:
        changes["model"] = msgspec.json.encode(model)
    if asked.stream and not asked.wants_usage:
        options = asked.spans.get("stream_options")
        given = _ANY.decode(asked.body[slice(*options)]) if options else None
        changes["stream_options"] = msgspec.json.encode({**(given or {}), "include_usage": True})
    return splice(asked.body, asked.spans, changes) if changes else asked.body


class Chat:
    dialect: ClassVar[str] = "openai"
    operation: ClassVar[str] = "chat"
    path: ClassVar[str] = "/chat/completions"

    def parse_request(self, body: bytes) -> Asked:
        typed: ChatAsked = decode(_ASKED, body)
        if not typed.messages:
            raise BadRequest("messages: at least one message is needed", param="messages")
        if typed.n is not None and not 1 <= typed.n <= 128:
            raise BadRequest("n: between 1 and 128", param="n")
        return Asked(
            codec=self,
            body=body,
            model=typed.model,
            stream=bool(typed.stream),
            wants_usage=bool(typed.stream_options and typed.stream_options.include_usage),
            user=end_user(typed),
            typed=typed,
            spans=spans(body),
        )

    def outgoing(self, asked: Asked, model: str) -> bytes:
        return outgoing(asked, model)

    def texts(self, asked: Asked) -> Iterator[tuple[str, str]]:
        typed: ChatAsked = asked.typed
        for at, message in enumerate(typed.messages):
            if isinstance(message.content, str):
                yield f"messages[{at}].content", message.content
            else:
                for part_at, part in enumerate(message.content or ()):
                    if part.text:
                        yield f"messages[{at}].content[{part_at}].text", part.text
            for tool_at, tool in enumerate(message.tool_calls or ()):
                if tool.function and tool.function.arguments:
                    yield f"messages[{at}].tool_calls[{tool_at}].function.arguments", tool.function.arguments
        for at, asked_tool in enumerate(typed.tools or ()):
            if asked_tool.function and asked_tool.function.description:
                yield f"tools[{at}].function.description", asked_tool.function.description

    def decoder(self, *, stream: bool, withhold_usage: bool) -> Decoder:
        return wire.StreamDecoder(withhold_usage=withhold_usage) if stream else wire.BodyDecoder()

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> Encoder:
        return ChunkWriter(request_id, model, wants_usage) if stream else BodyWriter(request_id, model)

    def parse_error(self, status: int, headers: Headers, body: bytes) -> str:
        return wire.parse_error(status, headers, body)

    def render_error(self, error: TidegateError, status: int) -> bytes:
        return wire.write_error(error, status)

    def render_error_event(self, error: TidegateError, status: int) -> bytes:
        return b"data: %b\n\n" % wire.write_error(error, status)

    def conversation(self, asked: Asked) -> Conversation:
        return read_conversation(asked)

    def render_request(self, conversation: Conversation, model: str) -> bytes:
        return write_conversation(conversation, model)


# --- to the neutral form ---------------------------------------------------------------------------------------------

# Fields that `Conversation` has a place for, or that say nothing in another dialect.
_NEUTRAL = {
    "model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "max_tokens",
    "max_completion_tokens", "temperature", "top_p", "stop", "user",
}  # fmt: skip


def read_conversation(asked: Asked) -> Conversation:
    """Everything the client asked for; what only OpenAI has is `Opaque`."""
    typed: ChatAsked = asked.typed
    fields: dict[str, Raw] = _FIELDS.decode(asked.body)
    items: list[Item] = []
    for at, message in enumerate(_LIST.decode(fields["messages"])):
        items += _read_message(f"messages[{at}]", message)
    choice = typed.tool_choice
    if isinstance(choice, dict):
        named = choice.get("function")
        if not isinstance(named, dict):
            raise BadRequest("tool_choice: only a function can be said in another dialect", param="tool_choice")
        choice = f"tool:{named.get('name')}"
    return Conversation(
        items=tuple(items),
        stream=asked.stream,
        tools=tuple(_read_tool(at, tool) for at, tool in enumerate(_ANY.decode(fields.get("tools", b"null")) or ())),
        tool_choice=choice,
        parallel_tool_calls=typed.parallel_tool_calls,
        max_tokens=typed.max_completion_tokens or typed.max_tokens,
        temperature=typed.temperature,
        top_p=typed.top_p,
        stop=(typed.stop,) if isinstance(typed.stop, str) else tuple(typed.stop or ()),
        user=typed.user,
        extra=tuple(
            (key, Opaque("openai", bytes(raw), key))
            for key, raw in fields.items()
            if key not in _NEUTRAL and bytes(raw) != b"null"
        ),
    )


_ROLES: tuple[Role, ...] = ("system", "developer", "user", "assistant")
_EMPTY = (b"null", b"[]", b"{}", b'""')


def _read_message(path: str, raw: Raw) -> Iterator[Item]:
    fields: dict[str, Raw] = _FIELDS.decode(raw)
    role = _ANY.decode(fields["role"])
    parts = tuple(_read_parts(f"{path}.content", fields.get("content")))
    if role == "tool":
        yield ToolResult(str(_ANY.decode(fields.get("tool_call_id", b'""'))), parts)
        known = {"role", "content", "tool_call_id"}
    elif role in _ROLES:
        name = _ANY.decode(fields.get("name", b"null"))
        if parts or "tool_calls" not in fields:
            yield Message(role, parts, name)
        for call in _ANY.decode(fields.get("tool_calls", b"null")) or ():
            function = call.get("function") or {}
            yield ToolCall(str(call.get("id")), str(function.get("name")), str(function.get("arguments", "")))
        known = {"role", "content", "name", "tool_calls"}
    else:
        yield Opaque("openai", bytes(raw), path)
        return
    for key, value in fields.items():
        if key not in known and bytes(value) not in _EMPTY:
            yield Opaque("openai", bytes(value), f"{path}.{key}")


def _read_parts(path: str, raw: Raw | None) -> Iterator[Part]:
    content = _ANY.decode(raw) if raw is not None else None
    if isinstance(content, str):
        yield Text(content)
        return
    for at, part in enumerate(content or ()):
        image = part.get("image_url")
        if part.get("type") == "text" and set(part) == {"type", "text"}:
            yield Text(part["text"])
        elif part.get("type") == "image_url" and isinstance(image, dict) and isinstance(image.get("url"), str):
            yield Image(image["url"], image.get("detail"))
        else:
            yield Opaque("openai", msgspec.json.encode(part), f"{path}[{at}]")


def _read_tool(at: int, tool: Mapping[str, Any]) -> Tool:
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, dict):
        raise BadRequest(f"tools[{at}]: only tools of type 'function' can be said in another dialect")
    parameters = function.get("parameters")
    return Tool(
        name=str(function.get("name")),
        description=function.get("description"),
        parameters=msgspec.json.encode(parameters) if parameters is not None else None,
        strict=function.get("strict"),
    )


# --- from the neutral form -------------------------------------------------------------------------------------------


def foreign(opaque: Opaque) -> BadRequest:
    """The error for what cannot be said here: it names where it stood, for nothing is dropped in silence."""
    return BadRequest(
        f"{opaque.path}: only providers that speak {opaque.dialect} understand this; leave it out, or ask one of those",
        param=opaque.path,
    )


def _own(opaque: Opaque) -> Raw:
    if opaque.dialect != "openai":
        raise foreign(opaque)
    return Raw(opaque.raw)


def write_conversation(conversation: Conversation, model: str) -> bytes:
    """A chat request. Raises BadRequest for what only another dialect can say."""
    body: dict[str, Any] = {"model": model, "messages": _write_items(conversation.items)}
    if conversation.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if conversation.tools:
        body["tools"] = [_write_tool(tool) for tool in conversation.tools]
    choice = conversation.tool_choice
    if choice and choice.startswith("tool:"):
        body["tool_choice"] = {"type": "function", "function": {"name": choice.removeprefix("tool:")}}
    elif choice:
        body["tool_choice"] = choice
    for key in ("parallel_tool_calls", "max_tokens", "temperature", "top_p", "user"):
        value = getattr(conversation, key)
        if value is not None:
            body[key] = value
    if conversation.stop:
        body["stop"] = list(conversation.stop)
    body |= {key: _own(opaque) for key, opaque in conversation.extra}
    return msgspec.json.encode(body)


def _write_items(items: Sequence[Item]) -> list[Any]:
    messages: list[Any] = []
    for item in items:
        if isinstance(item, Message):
            messages.append({"role": item.role, "content": _write_parts(item.parts)})
            if item.name is not None:
                messages[-1]["name"] = item.name
        elif isinstance(item, ToolCall):
            if not messages or not isinstance(messages[-1], dict) or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(
                {"id": item.id, "type": "function", "function": {"name": item.name, "arguments": item.arguments}}
            )
        elif isinstance(item, ToolResult):
            messages.append({"role": "tool", "tool_call_id": item.call_id, "content": _write_parts(item.parts)})
        else:
            _, _, key = item.path.rpartition(".")
            if "]" in key:
                messages.append(_own(item))  # a message of its own
            else:
                messages[-1][key] = _own(item)  # a field of the message before
    return messages


def _write_parts(parts: Sequence[Part]) -> Any:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    written: list[Any] = []
    for part in parts:
        if isinstance(part, Text):
            written.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            image = {"url": part.url} | ({"detail": part.detail} if part.detail else {})
            written.append({"type": "image_url", "image_url": image})
        else:
            written.append(_own(part))
    return written if written else ""


def _write_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = Raw(tool.parameters)
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


# --- a reply of another dialect, for a client of this one ------------------------------------------------------------

FINISH = {"other": "stop"}
FIELDS = {"text": "content", "reasoning": "reasoning_content", "refusal": "refusal"}


class ChunkWriter:
    """Events of any dialect as chat completion chunks."""

    __slots__ = ("_began", "_request_id", "_usage", "_wants_usage")

    def __init__(self, request_id: str, model: str, wants_usage: bool) -> None:
        self._request_id = request_id
        self._began = Began(f"chatcmpl-{request_id}", model, 0)
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
                    tool = {"index": change.channel.tool, "function": {"arguments": change.text}}
                    written.append(self._chunk(change.channel.choice, {"tool_calls": [tool]}))
                elif isinstance(change, Delta):
                    written.append(self._chunk(change.channel.choice, {FIELDS[change.channel.kind]: change.text}))
                elif isinstance(change, ToolBegan):
                    function = {"name": change.name, "arguments": ""}
                    tool = {"index": change.channel.tool, "id": change.id, "type": "function", "function": function}
                    written.append(self._chunk(change.channel.choice, {"tool_calls": [tool]}))
                else:
                    reason = FINISH.get(change.reason, change.reason)
                    written.append(self._chunk(change.choice, {}, reason))
            if event.last:
                if self._wants_usage:
                    written.append(self._write(choices=[], usage=wire.write_usage(self._usage)))
                written.append(wire.DONE)
        return b"".join(written)

    def _chunk(self, choice: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return self._write(choices=[{"index": choice, "delta": delta, "finish_reason": finish_reason}])

    def _write(self, **fields: Any) -> bytes:
        began = self._began
        chunk = {"id": began.id, "object": "chat.completion.chunk", "created": began.created, "model": began.model}
        return b"data: %b\n\n" % msgspec.json.encode(chunk | fields)


class BodyWriter:
    """Events of any dialect as one chat completion."""

    __slots__ = ("_began", "_choices", "_usage")

    def __init__(self, request_id: str, model: str) -> None:
        self._began = Began(f"chatcmpl-{request_id}", model, 0)
        self._choices: dict[int, dict[str, Any]] = {}
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
            tools = self._choice(change.channel.choice)["message"].setdefault("tool_calls", [])
            tools.append({"id": change.id, "type": "function", "function": {"name": change.name, "arguments": ""}})
        elif change.channel.kind == "tool":
            tools = self._choice(change.channel.choice)["message"]["tool_calls"]
            tools[-1]["function"]["arguments"] += change.text
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
