"""What does a request in OpenAI's dialect say in any other, and the other way round?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from tidegate.core.call import Asked
from tidegate.core.chat import (
    Conversation,
    File,
    Image,
    Item,
    Message,
    Opaque,
    OutputSchema,
    Part,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Written,
    left_out,
    read_data_url,
)
from tidegate.core.errors import BadRequest
from tidegate.providers.openai.asked import ChatAsked

_ANY = msgspec.json.Decoder()
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])
# Fields that `Conversation` has a place for, or that say nothing in another dialect.
_NEUTRAL = {
    "model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "max_tokens",
    "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "user", "reasoning_effort", "response_format",
}  # fmt: skip
# What another provider may leave out: the answer is of the same kind without it. The client is told.
_HINTS = {
    "seed", "store", "metadata", "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "verbosity", "prediction", "frequency_penalty", "presence_penalty", "logit_bias",
}  # fmt: skip
# Values that ask for nothing.
_IDLE = {
    "n": b"1",
    "logprobs": b"false",
    "frequency_penalty": b"0",
    "presence_penalty": b"0",
    "modalities": b'["text"]',
}


def read_conversation(asked: Asked) -> Conversation:
    """Everything the client asked for; what only OpenAI has is `Opaque`."""
    typed: ChatAsked = asked.typed
    fields: dict[str, Raw] = _FIELDS.decode(asked.body)
    items: list[Item] = []
    for at, message in enumerate(_LIST.decode(fields["messages"])):
        items += _read_message(f"messages[{at}]", message)
    extra = [
        (key, Opaque("openai", bytes(raw), key, key in _HINTS))
        for key, raw in fields.items()
        if key not in _NEUTRAL and bytes(raw) not in (b"null", _IDLE.get(key))
    ]
    tools: list[Tool] = []
    for at, tool in enumerate(_ANY.decode(fields.get("tools", b"null")) or ()):
        if tool.get("type") == "function" and isinstance(tool.get("function"), dict):
            tools.append(_read_tool(tool["function"]))
        else:
            extra.append((f"tools[{at}]", Opaque("openai", msgspec.json.encode(tool), f"tools[{at}]")))
    form = typed.response_format
    schema = _read_schema(form)
    if form is not None and schema is None and form.get("type") != "text":
        extra.append(("response_format", Opaque("openai", msgspec.json.encode(form), "response_format")))
    return Conversation(
        items=tuple(items),
        stream=asked.stream,
        tools=tuple(tools),
        tool_choice=_read_choice(typed.tool_choice),
        parallel_tool_calls=typed.parallel_tool_calls,
        max_tokens=typed.max_completion_tokens or typed.max_tokens,
        temperature=typed.temperature,
        top_p=typed.top_p,
        top_k=typed.top_k,
        stop=(typed.stop,) if isinstance(typed.stop, str) else tuple(typed.stop or ()),
        effort=typed.reasoning_effort,
        output_schema=schema,
        user=typed.user,
        extra=tuple(extra),
    )


def _read_choice(choice: str | dict[str, Any] | None) -> str | None:
    if not isinstance(choice, dict):
        return choice
    named = choice.get("function")
    if not isinstance(named, dict):
        raise BadRequest("tool_choice: only a function can be said in another dialect", param="tool_choice")
    return f"tool:{named.get('name')}"


def _read_schema(form: dict[str, Any] | None) -> OutputSchema | None:
    given = form.get("json_schema") if form and form.get("type") == "json_schema" else None
    if not isinstance(given, dict):
        return None
    return OutputSchema(str(given.get("name")), msgspec.json.encode(given.get("schema")), given.get("strict"))


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
        thought = _ANY.decode(fields.get("reasoning_content", b"null"))
        if thought:
            yield Reasoning(str(thought))
        name = _ANY.decode(fields.get("name", b"null"))
        calls = _ANY.decode(fields.get("tool_calls", b"null")) or ()
        if parts or not calls:
            yield Message(role, parts, name)
        for at, call in enumerate(calls):
            yield _read_call(f"{path}.tool_calls[{at}]", call)
        known = {"role", "content", "name", "tool_calls", "reasoning_content"}
    else:
        yield Opaque("openai", bytes(raw), path)
        return
    for key, value in fields.items():
        if key not in known and bytes(value) not in _EMPTY:
            yield Opaque("openai", bytes(value), f"{path}.{key}")


def _read_call(path: str, call: Mapping[str, Any]) -> ToolCall | Opaque:
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, dict):
        return Opaque("openai", msgspec.json.encode(call), path)
    return ToolCall(str(call.get("id")), str(function.get("name")), str(function.get("arguments", "")))


def _read_parts(path: str, raw: Raw | None) -> Iterator[Part]:
    content = _ANY.decode(raw) if raw is not None else None
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    for at, part in enumerate(content or ()):
        image, file = part.get("image_url"), part.get("file")
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            yield Text(part["text"])
        elif part.get("type") == "image_url" and isinstance(image, dict) and isinstance(image.get("url"), str):
            yield Image(image["url"], image.get("detail"))
        elif part.get("type") == "file" and isinstance(file, dict) and isinstance(file.get("file_data"), str):
            yield File(file["file_data"], file.get("filename"))
        else:
            yield Opaque("openai", msgspec.json.encode(part), f"{path}[{at}]")


def _read_tool(function: Mapping[str, Any]) -> Tool:
    parameters = function.get("parameters")
    return Tool(
        name=str(function.get("name")),
        description=function.get("description"),
        parameters=msgspec.json.encode(parameters) if parameters is not None else None,
        strict=function.get("strict"),
    )


# --- from the neutral form -------------------------------------------------------------------------------------------

_EFFORTS = {"max": "xhigh"}  # OpenAI's own most


def write_conversation(conversation: Conversation, model: str) -> Written:
    """A chat request. Raises BadRequest for what only another dialect can say."""
    dropped = left_out(conversation, "openai")
    body: dict[str, Any] = {"model": model, "messages": _write_items(conversation.items, dropped)}
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
    if conversation.top_k is not None:
        dropped.append("top_k")
    if conversation.stop:
        body["stop"] = list(conversation.stop)
    if conversation.effort:
        body["reasoning_effort"] = _EFFORTS.get(conversation.effort, conversation.effort)
    schema = conversation.output_schema
    if schema is not None:
        form = {"name": schema.name, "schema": Raw(schema.schema)} | (
            {"strict": schema.strict} if schema.strict else {}
        )
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    for key, own in conversation.extra:
        if own.dialect == "openai" and key.startswith("tools["):
            body.setdefault("tools", []).append(Raw(own.raw))
        elif own.dialect == "openai":
            body[key] = Raw(own.raw)
    return Written(msgspec.json.encode(body), tuple(dropped))


def _write_items(items: Sequence[Item], dropped: list[str]) -> list[Any]:
    messages: list[Any] = []
    asked: set[str] = set()
    for item in items:
        if isinstance(item, Message):
            messages.append({"role": item.role, "content": _write_parts(item.parts)})
            if item.name is not None:
                messages[-1]["name"] = item.name
        elif isinstance(item, ToolCall):
            asked.add(item.id)
            _calls(messages).append(
                {"id": item.id, "type": "function", "function": {"name": item.name, "arguments": item.arguments}}
            )
        elif isinstance(item, ToolResult):
            if item.call_id not in asked:
                raise BadRequest(
                    f"there is a tool result for {item.call_id!r}, but no tool call with this id before it"
                )
            messages += _write_result(item)
        elif isinstance(item, Reasoning):
            dropped.append("reasoning of an earlier turn")
        elif item.dialect == "openai":
            _, dot, key = item.path.partition(".")
            if not dot:
                messages.append(Raw(item.raw))  # a message of its own
            elif key.startswith("tool_calls["):
                _calls(messages).append(Raw(item.raw))
            else:
                messages[-1][key] = Raw(item.raw)  # a field of the message before
    return messages


def _calls(messages: list[Any]) -> list[Any]:
    """The tool calls of the assistant's message that is being written; a new one where it has said nothing else."""
    if not messages or not isinstance(messages[-1], dict) or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    calls: list[Any] = messages[-1].setdefault("tool_calls", [])
    return calls


def _write_result(result: ToolResult) -> Iterator[dict[str, Any]]:
    """A tool answers in text here; a picture it made is said by the user right after it."""
    texts = [part for part in result.parts if isinstance(part, Text)]
    content = _write_parts(texts)
    if result.is_error and isinstance(content, str):
        content = f"Error: {content}"
    yield {"role": "tool", "tool_call_id": result.call_id, "content": content}
    others = [part for part in result.parts if not isinstance(part, Text)]
    if others:
        yield {"role": "user", "content": _write_parts(others)}


def _write_parts(parts: Sequence[Part]) -> Any:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    written: list[Any] = []
    for part in parts:
        if isinstance(part, Text):
            written.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            if part.url.startswith("data:"):
                read_data_url(part.url, "image")
            image = {"url": part.url} | ({"detail": part.detail} if part.detail else {})
            written.append({"type": "image_url", "image_url": image})
        elif isinstance(part, File):
            if not part.url.startswith("data:"):
                raise BadRequest(f"the document {part.url[:80]!r} is elsewhere; OpenAI's dialect takes only whole ones")
            written.append({"type": "file", "file": {"filename": part.name or "document", "file_data": part.url}})
        elif part.dialect == "openai":
            written.append(Raw(part.raw))
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
