"""What does a request in OpenAI's dialect say in any other, and the other way round?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from tidegate.core.body import decode
from tidegate.core.call import Asked
from tidegate.core.chat import (
    Conversation,
    Extra,
    Image,
    Item,
    Message,
    Opaque,
    OutputSchema,
    Own,
    Part,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Written,
    left_out,
    read_file,
    read_image,
    read_text,
    silent,
    unasked,
    unspoken,
)
from tidegate.core.errors import BadRequest
from tidegate.providers.openai.asked import ChatAsked
from tidegate.providers.openai.dialect import most_tokens

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_OWN = Own(
    "openai",
    # What another provider may leave out: the answer is of the same kind without it.
    hints={
        "seed", "store", "metadata", "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
        "verbosity", "prediction", "frequency_penalty", "presence_penalty", "logit_bias", "prompt_cache_options",
        "prompt_cache_breakpoint", "cache_control", "include_obfuscation", "name", "index", "detail", "description",
        "annotations", "reasoning", "reasoning_content", "reasoning_details",
    },
    idle={
        "n": 1, "logprobs": False, "frequency_penalty": 0, "presence_penalty": 0, "modalities": ["text"],
        "include_obfuscation": False,
    },
    nests={"stream_options", "image_url", "file", "function"},
)  # fmt: skip
# Fields that `Conversation` has a place for.
_NEUTRAL = {
    "model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "max_tokens",
    "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "user", "reasoning_effort", "response_format",
}  # fmt: skip
_ROLES: dict[str, Role] = {"system": "system", "developer": "developer", "user": "user", "assistant": "assistant"}


def read_conversation(asked: Asked) -> Conversation:
    """Everything the client asked for; what only OpenAI has is `Opaque`. Raises BadRequest for what makes no sense in
    any dialect."""
    typed: ChatAsked = asked.typed
    fields: dict[str, Any] = decode(_OBJECT, asked.body)
    items: list[Item] = []
    calls: set[str] = set()
    for number, message in enumerate(fields["messages"]):
        items += _read_message(f"messages[{number}]", message, calls)
    choice, extra = _read_choice(typed.tool_choice)
    schema, more = _read_format(typed.response_format or {})
    known = _NEUTRAL if typed.user is not None else _NEUTRAL | {"safety_identifier"}
    options = fields.get("stream_options") or {}
    extra += more + _OWN.beside("stream_options", options, {"include_usage"}, within="stream_options")
    return Conversation(
        items=tuple(items),
        stream=asked.stream,
        tools=tuple(_read_tool(f"tools[{at}]", tool) for at, tool in enumerate(fields.get("tools") or ())),
        tool_choice=choice,
        parallel_tool_calls=typed.parallel_tool_calls,
        max_tokens=asked.ceiling if asked.max_tokens is None else asked.max_tokens,
        temperature=typed.temperature,
        top_p=typed.top_p,
        top_k=typed.top_k,
        stop=(typed.stop,) if isinstance(typed.stop, str) else tuple(typed.stop or ()),
        effort=typed.reasoning_effort,
        output_schema=schema,
        user=typed.safety_identifier if typed.user is None else typed.user,
        extra=extra + _OWN.beside("", fields, known),
    )


def _read_choice(choice: str | dict[str, Any] | None) -> tuple[str | None, Extra]:
    if choice is None or choice in ("auto", "none", "required"):
        return choice, ()
    if isinstance(choice, str):
        raise BadRequest(f"tool_choice: auto, none, required or a tool, not {choice!r}", param="tool_choice")
    named = choice.get("function")
    if choice.keys() == {"type", "function"} and isinstance(named, dict) and named.keys() == {"name"}:
        return f"tool:{read_text(named, 'name', 'tool_choice.function')}", ()
    return None, (("tool_choice", _OWN.keep("tool_choice", choice)),)


def _read_format(form: Mapping[str, Any]) -> tuple[OutputSchema | None, Extra]:
    given = form.get("json_schema")
    if form.keys() == {"type", "json_schema"} and isinstance(given, dict) and isinstance(given.get("schema"), dict):
        path = "response_format.json_schema"
        extra = _OWN.beside(path, given, {"name", "schema", "strict"})
        name, schema = read_text(given, "name", path), msgspec.json.encode(given["schema"])
        return OutputSchema(name, schema, given.get("strict"), extra=extra), ()
    if not form or form == {"type": "text"}:
        return None, ()
    return None, (("response_format", _OWN.keep("response_format", form)),)


def _read_message(path: str, message: Mapping[str, Any], calls: set[str]) -> Iterator[Item]:
    role = message["role"]
    content = tuple(_read_parts(f"{path}.content", message.get("content")))
    if role == "tool":
        id = read_text(message, "tool_call_id", path)
        if id not in calls:
            raise unasked(id, f"{path}.tool_call_id")
        yield ToolResult(id, content, extra=_OWN.beside(path, message, {"role", "content", "tool_call_id"}))
        return
    if role not in _ROLES:
        yield _OWN.keep(path, message)
        return
    refusal = message.get("refusal")
    if role == "assistant" and refusal and isinstance(refusal, str):
        content += (Text(refusal),)
    known = {"role", "content", "tool_calls"} | ({"refusal"} if role == "assistant" else set())
    extra = _OWN.beside(path, message, known)
    asked = message.get("tool_calls") or ()
    if content or extra:
        yield Message(_ROLES[role], content, extra=extra)
    elif role == "user" and not asked:
        raise silent(f"{path}.content")
    for at, call in enumerate(asked):
        calls.add(str(call.get("id")))
        yield _read_call(f"{path}.tool_calls[{at}]", call)


def _read_call(path: str, call: Mapping[str, Any]) -> ToolCall | Opaque:
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, dict):
        return _OWN.keep(path, call)
    within = _OWN.beside(f"{path}.function", function, {"name", "arguments"}, within="function")
    return ToolCall(
        read_text(call, "id", path),
        read_text(function, "name", f"{path}.function"),
        function.get("arguments") or "",
        extra=_OWN.beside(path, call, {"id", "type", "function"}) + within,
    )


def _read_parts(path: str, content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    for number, part in enumerate(content or ()):
        yield from _read_part(f"{path}[{number}]", part)


def _read_part(path: str, part: Mapping[str, Any]) -> Iterator[Part]:
    """One part, or none for a text that is empty."""
    kind = str(part.get("type"))
    given = part.get(kind) if kind in ("text", "refusal", "image_url", "file") else None
    extra = _OWN.beside(path, part, {"type", kind})
    if isinstance(given, str) and kind in ("text", "refusal"):
        if given or extra:
            yield Text(given, extra=extra)
    elif kind == "image_url" and isinstance(given, dict):
        url = read_text(given, "url", f"{path}.image_url")
        extra += _OWN.beside(f"{path}.image_url", given, {"url"}, within="image_url")
        yield read_image(url, f"{path}.image_url.url", extra)
    elif kind == "file" and isinstance(given, dict) and given.get("file_data") is not None:
        name = read_text(given, "filename", f"{path}.file") if given.get("filename") is not None else None
        extra += _OWN.beside(f"{path}.file", given, {"file_data", "filename"}, within="file")
        yield read_file(read_text(given, "file_data", f"{path}.file"), name, f"{path}.file.file_data", extra)
    else:
        yield _OWN.keep(path, part)


def _read_tool(path: str, tool: Mapping[str, Any]) -> Tool | Opaque:
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, dict):
        return _OWN.keep(path, tool)
    parameters = function.get("parameters")
    known = {"name", "description", "parameters", "strict"}
    within = _OWN.beside(f"{path}.function", function, known, within="function")
    return Tool(
        name=read_text(function, "name", f"{path}.function"),
        description=function.get("description"),
        parameters=msgspec.json.encode(parameters) if parameters is not None else None,
        strict=function.get("strict"),
        extra=_OWN.beside(path, tool, {"type", "function"}) + within,
    )


# --- from the neutral form -------------------------------------------------------------------------------------------


def write_conversation(conversation: Conversation, model: str) -> Written:
    """A chat request. Raises BadRequest for what only another dialect can say."""
    dropped = left_out(conversation, "openai")
    messages = _write_items(conversation.items)
    if not messages:
        raise unspoken()
    body: dict[str, Any] = {"model": model, "messages": messages}
    if conversation.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if conversation.tools:
        body["tools"] = [_write_tool(tool) for tool in conversation.tools]
        if conversation.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = conversation.parallel_tool_calls
    choice = conversation.tool_choice
    if choice and choice.startswith("tool:"):
        body["tool_choice"] = {"type": "function", "function": {"name": choice.removeprefix("tool:")}}
    elif choice:
        body["tool_choice"] = choice
    if conversation.max_tokens is not None:
        body[most_tokens(model)] = conversation.max_tokens
    for key in ("temperature", "top_p", "user"):
        value = getattr(conversation, key)
        if value is not None:
            body[key] = value
    if conversation.top_k is not None:
        dropped.append("top_k")
    if conversation.stop:
        body["stop"] = list(conversation.stop)
    if conversation.effort is not None:
        body["reasoning_effort"] = conversation.effort
    schema = conversation.output_schema
    if schema is not None:
        form: dict[str, Any] = {"name": schema.name, "schema": Raw(schema.schema)}
        if schema.strict is not None:
            form["strict"] = schema.strict
        body["response_format"] = {"type": "json_schema", "json_schema": _OWN.back(form, schema.extra)}
    return Written(msgspec.json.encode(_OWN.back(body, conversation.extra)), tuple(dropped))


def _write_items(items: Sequence[Item]) -> list[Any]:
    messages: list[Any] = []
    shown: list[Part] = []  # by tools, whose messages can hold only text: said by the user, after the last of them
    for item in items:
        if shown and not isinstance(item, ToolResult):
            messages.append({"role": "user", "content": shown})
            shown = []
        if isinstance(item, Message):
            parts = [part for part in item.parts if not isinstance(part, Opaque) or part.dialect == "openai"]
            fields = _OWN.back({}, item.extra)
            last = messages[-1] if messages and isinstance(messages[-1], dict) else {}
            if item.role == "assistant" and "tool_calls" in last:
                # Answers of tools must follow their calls at once: what was said after the calls stands before them.
                last["content"] = [*last["content"], *parts]
                last |= fields
            elif parts or fields:
                messages.append({"role": item.role, "content": parts} | fields)
        elif isinstance(item, ToolCall):
            function = {"name": item.name, "arguments": item.arguments}
            call = {"id": item.id, "type": "function", "function": function}
            _calls(messages).append(_OWN.back(call, item.extra))
        elif isinstance(item, ToolResult):
            messages.append(_write_result(item))
            shown += [part for part in item.parts if not isinstance(part, Text)]
        elif item.dialect == "openai" and ".tool_calls[" in item.path:
            _calls(messages).append(Raw(item.raw))
        elif item.dialect == "openai":
            messages.append(Raw(item.raw))
    if shown:
        messages.append({"role": "user", "content": shown})
    for message in messages:
        if isinstance(message, dict):
            message["content"] = _write_parts(message["content"]) or (None if "tool_calls" in message else "")
    return messages


def _calls(messages: list[Any]) -> list[Any]:
    """The tool calls of the assistant's message that is being written; a new one where it has said nothing else."""
    if not messages or not isinstance(messages[-1], dict) or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ()})
    calls: list[Any] = messages[-1].setdefault("tool_calls", [])
    return calls


def _write_result(result: ToolResult) -> dict[str, Any]:
    texts = [part for part in result.parts if isinstance(part, Text)]
    if result.is_error:
        texts = [Text(f"Error: {texts[0].text}" if texts else "Error"), *texts[1:]]
    return _OWN.back({"role": "tool", "content": texts, "tool_call_id": result.call_id}, result.extra)


def _write_parts(parts: Sequence[Part]) -> Any:
    """A text alone is a text, which every server takes. None when there is nothing."""
    written: list[Any] = []
    for part in parts:
        if isinstance(part, Opaque):
            if part.dialect == "openai":
                written.append(Raw(part.raw))
        elif isinstance(part, Text):
            written.append(_OWN.back({"type": "text", "text": part.text}, part.extra))
        elif isinstance(part, Image):
            written.append(_OWN.back({"type": "image_url", "image_url": {"url": part.url}}, part.extra))
        else:
            file = {"filename": part.name or "document", "file_data": part.url}
            written.append(_OWN.back({"type": "file", "file": file}, part.extra))
    if len(written) == 1 and isinstance(written[0], dict) and written[0].keys() == {"type", "text"}:
        return written[0]["text"]
    return written or None


def _write_tool(tool: Tool | Opaque) -> Any:
    if isinstance(tool, Opaque):
        return Raw(tool.raw)
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = Raw(tool.parameters)
    if tool.strict is not None:
        function["strict"] = tool.strict
    return _OWN.back({"type": "function", "function": function}, tool.extra)
