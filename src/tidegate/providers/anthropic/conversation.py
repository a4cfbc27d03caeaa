"""What does a request in Anthropic's dialect say in any other, and the other way round?"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from tidegate.core.body import decode
from tidegate.core.call import Asked
from tidegate.core.chat import (
    Conversation,
    Extra,
    File,
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
    data_url,
    left_out,
    read_file,
    read_image,
    read_text,
    silent,
    unasked,
    unspoken,
)
from tidegate.core.errors import BadRequest
from tidegate.providers.anthropic.asked import MessagesAsked

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ANY = msgspec.json.Decoder()
_OWN = Own(
    "anthropic",
    # What another provider may leave out: the answer is of the same kind without it.
    hints={
        "service_tier", "inference_geo", "context_management", "diagnostics", "cache_control", "speed", "display",
        "user_profile_id", "workspace_id", "task_budget", "fallbacks", "fallback_credit_token", "billing_policy",
        "defer_loading", "eager_input_streaming", "input_examples", "transformations",
    },
    idle={"caller": {"type": "direct"}, "allowed_callers": ["direct"], "citations": {"enabled": False}},
    nests={"metadata", "output_config", "thinking", "tool_choice", "source"},
)  # fmt: skip
# Fields that `Conversation` has a place for.
_NEUTRAL = {
    "model", "messages", "system", "stream", "max_tokens", "tools", "tool_choice", "temperature", "top_p", "top_k",
    "stop_sequences", "metadata", "thinking", "output_config",
}  # fmt: skip
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_EFFORT_BY_BUDGET = ((2_048, "low"), (16_384, "medium"))  # tokens of thinking; above, high
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def read_conversation(asked: Asked) -> Conversation:
    """Everything the client asked for; what only Anthropic has is `Opaque`. Raises BadRequest for what makes no sense
    in any dialect."""
    typed: MessagesAsked = asked.typed
    fields: dict[str, Any] = decode(_OBJECT, asked.body)
    items: list[Item] = []
    system = tuple(_read_parts("system", fields.get("system")))
    if system:
        items.append(Message("system", system))
    calls: set[str] = set()
    for number, message in enumerate(fields["messages"]):
        items += _read_message(f"messages[{number}]", message, calls)
    choice, parallel, extra = _read_choice(typed.tool_choice or {})
    effort, thinking = _read_effort(typed, fields)
    form = typed.output_config.format if typed.output_config else None
    extra += _OWN.beside("metadata", fields.get("metadata") or {}, {"user_id"}, within="metadata", hint=True)
    return Conversation(
        items=tuple(items),
        stream=asked.stream,
        tools=tuple(_read_tool(f"tools[{at}]", tool) for at, tool in enumerate(fields.get("tools") or ())),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        max_tokens=typed.max_tokens,
        temperature=typed.temperature,
        top_p=typed.top_p,
        top_k=typed.top_k,
        stop=tuple(typed.stop_sequences or ()),
        effort=effort,
        output_schema=_read_schema(form) if form else None,
        user=asked.user,
        extra=extra + thinking + _OWN.beside("", fields, _NEUTRAL),
    )


def _read_choice(choice: Mapping[str, Any]) -> tuple[str | None, bool | None, Extra]:
    if not choice:
        return None, None, ()
    kind = choice.get("type")
    named = f"tool:{read_text(choice, 'name', 'tool_choice')}" if kind == "tool" else _CHOICES.get(str(kind))
    if named is None:
        raise BadRequest(f"tool_choice.type: auto, any, tool or none, not {kind!r}", param="tool_choice.type")
    one = choice.get("disable_parallel_tool_use")
    extra = _OWN.beside("tool_choice", choice, {"type", "name", "disable_parallel_tool_use"}, within="tool_choice")
    return named, None if one is None else not one, extra


def _read_effort(typed: MessagesAsked, fields: Mapping[str, Any]) -> tuple[str | None, Extra]:
    """How much a model is to think, in one word, and what that word does not say."""
    effort = typed.output_config.effort if typed.output_config else None
    thinking = typed.thinking or {}
    kind = thinking.get("type")
    config = fields.get("output_config") or {}
    extra = _OWN.beside("output_config", config, {"effort", "format"}, within="output_config")
    if kind == "disabled" or (kind == "adaptive" and effort):
        extra += _OWN.beside("thinking", thinking, {"type"}, within="thinking")
    elif thinking:
        extra += (("thinking", _OWN.keep("thinking", thinking, hint=True)),)
        budget = thinking.get("budget_tokens")
        if effort is None and isinstance(budget, int):
            effort = next((name for most, name in _EFFORT_BY_BUDGET if budget <= most), "high")
    if kind == "disabled" and effort:  # of the words, then; there is no word for that elsewhere
        extra += (("output_config.effort", _OWN.keep("output_config.effort", effort, hint=True)),)
    return "none" if kind == "disabled" else effort, extra


def _read_schema(form: Mapping[str, Any]) -> OutputSchema:
    if form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        path = "output_config.format"
        raise BadRequest(f"{path}: {{'type': 'json_schema', 'schema': {{…}}}} is what is known here", param=path)
    extra = _OWN.beside("output_config.format", form, {"type", "schema"})
    return OutputSchema("answer", msgspec.json.encode(form["schema"]), True, extra=extra)


def _read_tool(path: str, tool: Mapping[str, Any]) -> Tool | Opaque:
    if tool.get("type") not in (None, "custom") or not isinstance(tool.get("input_schema"), dict):
        return _OWN.keep(path, tool)
    return Tool(
        name=read_text(tool, "name", path),
        description=tool.get("description"),
        parameters=msgspec.json.encode(tool["input_schema"]),
        strict=tool.get("strict"),
        extra=_OWN.beside(path, tool, {"type", "name", "description", "input_schema", "strict"}),
    )


def _read_message(path: str, message: Mapping[str, Any], calls: set[str]) -> Iterator[Item]:
    """A message is what was said and, each an item of its own, tools that were called and what they answered."""
    role = _ROLES.get(message["role"])
    if role is None:
        raise BadRequest(f"{path}.role: user, assistant or system, not {message['role']!r}", param=f"{path}.role")
    content = message["content"]
    extra = _OWN.beside(path, message, {"role", "content"})
    said: list[Part] = []
    quiet = True
    if isinstance(content, str):
        said += _read_parts(f"{path}.content", content)
        content = ()
    for at, block in enumerate(content):
        here = f"{path}.content[{at}]"
        item: Item
        if block["type"] == "tool_use" and role == "assistant":
            item = _read_call(here, block)
            calls.add(item.id)
        elif block["type"] == "tool_result" and role == "user":
            item = _read_result(here, block, calls)
        else:
            said += _read_part(here, block)
            continue
        quiet = False
        if said:
            yield Message(role, tuple(said))
            said = []
        yield item
    if said or extra:
        yield Message(role, tuple(said), extra=extra)
    elif quiet and role == "user":
        raise silent(f"{path}.content")


def _read_call(path: str, block: Mapping[str, Any]) -> ToolCall:
    given = block.get("input")
    if not isinstance(given, dict):
        raise BadRequest(f"{path}.input: an object is needed here", param=f"{path}.input")
    return ToolCall(
        read_text(block, "id", path),
        read_text(block, "name", path),
        msgspec.json.encode(given).decode(),
        extra=_OWN.beside(path, block, {"type", "id", "name", "input"}),
    )


def _read_result(path: str, block: Mapping[str, Any], calls: set[str]) -> ToolResult:
    id = read_text(block, "tool_use_id", path)
    if id not in calls:
        raise unasked(id, f"{path}.tool_use_id")
    parts = tuple(_read_parts(f"{path}.content", block.get("content")))
    extra = _OWN.beside(path, block, {"type", "tool_use_id", "content", "is_error"})
    return ToolResult(id, parts, bool(block.get("is_error")), extra=extra)


def _read_parts(path: str, content: Any) -> Iterator[Part]:
    if content is None or isinstance(content, str):
        if content:
            yield Text(content)
        return
    if not isinstance(content, list):
        raise BadRequest(f"{path}: a text or a list of blocks is needed here", param=path)
    for at, block in enumerate(content):
        here = f"{path}[{at}]"
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise BadRequest(f"{here}: a block with a type is needed here", param=here)
        yield from _read_part(here, block)


def _read_part(path: str, block: Mapping[str, Any]) -> Iterator[Part]:
    """One part, or none for a text that is empty."""
    kind, source = block["type"], block.get("source")
    if not isinstance(source, dict):
        source = {}
    if kind == "text":
        text = read_text(block, "text", path)
        # In earlier turns, what the model cited then; a client sends it back as it came.
        quoted = _OWN.beside(path, {"citations": block.get("citations")}, (), hint=True)
        extra = quoted + _OWN.beside(path, block, {"type", "text", "citations"})
        if text or extra:
            yield Text(text, extra=extra)
    elif kind == "image" and source.get("type") in ("base64", "url"):
        url = _address(source, f"{path}.source")
        yield read_image(url, f"{path}.source", _beside_source(path, block, source, {"type", "source"}))
    elif kind == "document" and source.get("type") in ("base64", "text"):
        name = read_text(block, "title", path) if block.get("title") is not None else None
        extra = _beside_source(path, block, source, {"type", "source", "title"})
        yield read_file(_address(source, f"{path}.source"), name, f"{path}.source", extra)
    else:
        yield _OWN.keep(path, block, hint=kind in ("thinking", "redacted_thinking"))


def _beside_source(path: str, block: Mapping[str, Any], source: Mapping[str, Any], known: set[str]) -> Extra:
    within = _OWN.beside(f"{path}.source", source, {"type", "url", "media_type", "data"}, within="source")
    return _OWN.beside(path, block, known) + within


def _address(source: Mapping[str, Any], path: str) -> str:
    if source["type"] == "url":
        return read_text(source, "url", path)
    data = read_text(source, "data", path)
    if source["type"] == "text":
        data = base64.b64encode(data.encode()).decode()
    return data_url(read_text(source, "media_type", path), data)


# --- from the neutral form -------------------------------------------------------------------------------------------

DEFAULT_MAX_TOKENS = 4_096  # Anthropic wants a number; a client of another dialect may not have said one
DEFAULT_WITH_THOUGHT = 32_000  # thinking counts too, and a model that takes an effort takes as many
_NO_SAMPLING = re.compile(r"claude-(?:opus-4-[7-9]|[a-z]+-[5-9])")  # they refuse all of it


def write_conversation(conversation: Conversation, model: str) -> Written:
    """A messages request. Raises BadRequest for what only another dialect can say."""
    dropped = left_out(conversation, "anthropic")
    items = list(conversation.items)
    system: list[Any] = []
    while items and isinstance(items[0], Message) and items[0].role in ("system", "developer"):
        system += _write_parts(items.pop(0).parts)  # type: ignore[union-attr]
    messages = _write_items(items)
    if not messages:
        raise unspoken()
    body: dict[str, Any] = {"model": model, "max_tokens": _max_tokens(conversation), "messages": messages}
    if system:
        body["system"] = system
    if conversation.stream:
        body["stream"] = True
    if conversation.tools:
        body["tools"] = [_write_tool(tool) for tool in conversation.tools]
    choice = _write_choice(conversation)
    if choice:
        body["tool_choice"] = choice
    body |= _write_sampling(conversation, model, dropped)
    if conversation.stop:
        body["stop_sequences"] = list(conversation.stop)
    if conversation.user is not None:
        body["metadata"] = {"user_id": conversation.user}
    body |= _write_thinking(conversation, dropped)
    return Written(msgspec.json.encode(_OWN.back(body, conversation.extra)), tuple(dropped))


def _max_tokens(conversation: Conversation) -> int:
    if conversation.max_tokens is not None:
        return conversation.max_tokens
    return DEFAULT_MAX_TOKENS if conversation.effort in (None, "none") else DEFAULT_WITH_THOUGHT


def _write_sampling(conversation: Conversation, model: str, dropped: list[str]) -> dict[str, Any]:
    given = {key: getattr(conversation, key) for key in ("temperature", "top_p", "top_k")}
    sampling = {key: value for key, value in given.items() if value is not None}
    if _NO_SAMPLING.search(model):
        dropped += sampling
        return {}
    if sampling.get("temperature", 0) > 1:
        dropped.append("temperature above 1")
        sampling["temperature"] = 1.0
    return sampling


def _write_thinking(conversation: Conversation, dropped: list[str]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    effort, choice, schema = conversation.effort, conversation.tool_choice, conversation.output_schema
    output: dict[str, Any] = {}
    if effort == "none":
        written["thinking"] = {"type": "disabled"}
    elif effort is not None:
        if effort == "minimal":
            dropped.append("reasoning_effort below low")
            effort = "low"
        output["effort"] = effort
        if choice in (None, "auto", "none"):  # a model that must call a tool may not think first
            written["thinking"] = {"type": "adaptive"}
    if schema is not None:
        output["format"] = _OWN.back({"type": "json_schema", "schema": Raw(schema.schema)}, schema.extra)
    if output:
        written["output_config"] = output
    return written


def _write_choice(conversation: Conversation) -> dict[str, Any]:
    choice, parallel = conversation.tool_choice, conversation.parallel_tool_calls
    if choice is None and parallel is False and conversation.tools:
        choice = "auto"
    if choice is None:
        return {}
    if choice.startswith("tool:"):
        written: dict[str, Any] = {"type": "tool", "name": choice.removeprefix("tool:")}
    else:
        written = {"type": {"required": "any"}.get(choice, choice)}
    if parallel is not None and choice != "none":
        written["disable_parallel_tool_use"] = not parallel
    return written


def _write_items(items: Sequence[Item]) -> list[Any]:
    """Messages by turns: what a user says and what tools answered in one go belong together."""
    turns: list[dict[str, Any]] = []
    for item in items:
        fields: dict[str, Any] = {}
        if isinstance(item, Message):
            role = "system" if item.role == "developer" else item.role
            blocks, fields = _write_parts(item.parts), _OWN.back({}, item.extra)
        elif isinstance(item, ToolCall):
            role, blocks = "assistant", [_write_call(item)]
        elif isinstance(item, ToolResult):
            role, blocks = "user", [_write_result(item)]
        else:
            continue  # a hint of another dialect; this one has no items of its own
        if turns and turns[-1]["role"] == role and not fields:
            turns[-1]["content"] += blocks
        elif blocks or fields:
            turns.append({"role": role, "content": blocks} | fields)
    return turns


def _write_call(call: ToolCall) -> dict[str, Any]:
    written = {"type": "tool_use", "id": call.id, "name": call.name, "input": read_arguments(call.arguments)}
    return _OWN.back(written, call.extra)


def read_arguments(text: str) -> Any:
    """An object is wanted here. A model may have written anything, and what it wrote is kept."""
    try:
        given = _ANY.decode(text.encode() or b"{}")
    except (msgspec.DecodeError, RecursionError):
        given = None
    return Raw(text.encode() or b"{}") if isinstance(given, dict) else {"invalid_json": text}


def _write_result(result: ToolResult) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "tool_result", "tool_use_id": result.call_id}
    if result.parts:
        written["content"] = _write_parts(result.parts)
    if result.is_error:
        written["is_error"] = True
    return _OWN.back(written, result.extra)


def _write_parts(parts: Sequence[Part]) -> list[Any]:
    written: list[Any] = []
    for part in parts:
        if isinstance(part, Opaque):
            if part.dialect == "anthropic":
                written.append(Raw(part.raw))
        elif isinstance(part, Text):
            written.append(_OWN.back({"type": "text", "text": part.text}, part.extra))
        else:
            kind = "document" if isinstance(part, File) else "image"
            block: dict[str, Any] = {"type": kind, "source": _write_source(part.url)}
            if isinstance(part, File) and part.name is not None:
                block["title"] = part.name
            written.append(_OWN.back(block, part.extra))
    return written


def _write_source(url: str) -> dict[str, Any]:
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    head, _, data = url.partition(",")
    media_type = head.removeprefix("data:").partition(";")[0]
    if media_type.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": base64.b64decode(data).decode()}
    return {"type": "base64", "media_type": media_type, "data": data}


def _write_tool(tool: Tool | Opaque) -> Any:
    if isinstance(tool, Opaque):
        return Raw(tool.raw)
    written: dict[str, Any] = {"name": tool.name, "input_schema": Raw(tool.parameters or b'{"type":"object"}')}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.strict is not None:
        written["strict"] = tool.strict
    return _OWN.back(written, tool.extra)
