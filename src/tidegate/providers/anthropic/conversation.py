"""What does a request in Anthropic's dialect say in any other, and the other way round?"""

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
    data_url,
    left_out,
    read_data_url,
)
from tidegate.core.errors import BadRequest
from tidegate.providers.anthropic.asked import MessagesAsked

DEFAULT_MAX_TOKENS = 4096  # Anthropic wants a number; a client of another dialect may not have said one
_ANY = msgspec.json.Decoder()
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])
_NEUTRAL = {
    "model", "messages", "system", "stream", "max_tokens", "tools", "tool_choice", "temperature", "top_p", "top_k",
    "stop_sequences", "metadata",
}  # fmt: skip
# What another provider may leave out without changing what is answered; the client is told.
_HINTS = {"service_tier", "inference_geo", "context_management", "diagnostics", "cache_control", "speed", "thinking"}
_EFFORT_BY_BUDGET = ((2_048, "low"), (16_384, "medium"))  # tokens of thinking; above, high


def read_conversation(asked: Asked) -> Conversation:
    typed: MessagesAsked = asked.typed
    fields: dict[str, Raw] = _FIELDS.decode(asked.body)
    reading = _Reading()
    items: list[Item] = []
    if typed.system is not None:
        items.append(Message("system", tuple(reading.parts("system", _ANY.decode(fields["system"])))))
    for at, message in enumerate(_ANY.decode(fields["messages"])):
        items += reading.message(f"messages[{at}]", message)
    choice, parallel = _read_choice(typed.tool_choice)
    effort, schema = reading.output(typed.output_config or {}, typed.thinking or {})
    for key, raw in fields.items():
        if key not in _NEUTRAL and key != "output_config" and bytes(raw) != b"null":
            reading.keep(key, raw, hint=key in _HINTS)
    return Conversation(
        items=tuple(items),
        stream=asked.stream,
        tools=tuple(reading.tools(_ANY.decode(fields["tools"]) or ())) if "tools" in fields else (),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        max_tokens=typed.max_tokens,
        temperature=typed.temperature,
        top_p=typed.top_p,
        top_k=typed.top_k,
        stop=tuple(typed.stop_sequences or ()),
        effort=effort,
        output_schema=schema,
        user=asked.user,
        extra=tuple(reading.extra),
    )


def _read_choice(choice: Mapping[str, Any] | None) -> tuple[str | None, bool | None]:
    if choice is None:
        return None, None
    kind = {"auto": "auto", "any": "required", "none": "none"}.get(choice.get("type", ""))
    if kind is None:
        kind = f"tool:{choice.get('name')}"
    return kind, False if choice.get("disable_parallel_tool_use") else None


class _Reading:
    """One request being read; collects what has no neutral form."""

    def __init__(self) -> None:
        self.extra: list[tuple[str, Opaque]] = []

    def keep(self, path: str, value: Any, *, hint: bool) -> None:
        self.extra.append((path, Opaque("anthropic", msgspec.json.encode(value), path, hint)))

    def rest(self, path: str, value: Mapping[str, Any], known: set[str]) -> None:
        for key in value.keys() - known:
            if value[key] not in (None, [], {}):
                self.keep(f"{path}.{key}", value[key], hint=key == "cache_control")

    def output(self, config: Mapping[str, Any], thinking: Mapping[str, Any]) -> tuple[str | None, OutputSchema | None]:
        effort = config.get("effort")
        if effort is None and thinking.get("type") == "enabled":
            budget = thinking.get("budget_tokens") or 0
            effort = next((name for most, name in _EFFORT_BY_BUDGET if budget <= most), "high")
        form = config.get("format")
        schema = None
        if isinstance(form, dict) and form.get("type") == "json_schema":
            schema = OutputSchema("answer", msgspec.json.encode(form.get("schema")), True)
        elif form is not None:
            self.keep("output_config.format", form, hint=False)
        self.rest("output_config", config, {"effort", "format"})
        return effort, schema

    def tools(self, tools: Sequence[Mapping[str, Any]]) -> Iterator[Tool]:
        for at, tool in enumerate(tools):
            if tool.get("type", "custom") != "custom" or "input_schema" not in tool:
                self.keep(f"tools[{at}]", tool, hint=False)
                continue
            self.rest(f"tools[{at}]", tool, {"type", "name", "description", "input_schema", "strict"})
            schema = msgspec.json.encode(tool["input_schema"])
            yield Tool(str(tool.get("name")), tool.get("description"), schema, tool.get("strict"))

    def message(self, path: str, message: Mapping[str, Any]) -> Iterator[Item]:
        role, content = message["role"], message["content"]
        if role not in ("user", "assistant", "system"):
            raise BadRequest(f"{path}.role: user, assistant or system, not {role!r}", param=f"{path}.role")
        said: list[Part] = []
        if isinstance(content, str):
            yield Message(_role(role), (Text(content),) if content else ())
            return
        for at, block in enumerate(content):
            here = f"{path}.content[{at}]"
            item = self.item(here, block)
            if item is None:
                said += self.parts(f"{path}.content", [block], at)
                continue
            if said:
                yield Message(_role(role), tuple(said))
                said = []
            yield item
        if said or not content:
            yield Message(_role(role), tuple(said))

    def item(self, path: str, block: Mapping[str, Any]) -> Item | None:
        """A block that is an item of its own; None for what is part of a message."""
        kind = block["type"]
        if kind == "tool_use":
            self.rest(path, block, {"type", "id", "name", "input"})
            arguments = msgspec.json.encode(block.get("input", {})).decode()
            return ToolCall(str(block.get("id")), str(block.get("name")), arguments)
        if kind == "tool_result":
            self.rest(path, block, {"type", "tool_use_id", "content", "is_error"})
            parts = tuple(self.parts(f"{path}.content", block.get("content") or ()))
            return ToolResult(str(block.get("tool_use_id")), parts, bool(block.get("is_error")))
        if kind == "thinking":
            return Reasoning(str(block.get("thinking", "")), block.get("signature"))
        if kind == "redacted_thinking":
            return Opaque("anthropic", msgspec.json.encode(block), path, True)
        return None

    def parts(self, path: str, content: Any, first: int = 0) -> Iterator[Part]:
        if isinstance(content, str):
            yield Text(content)
            return
        for at, block in enumerate(content, first):
            here = f"{path}[{at}]"
            source = block.get("source")
            if block["type"] == "text":
                self.rest(here, block, {"type", "text"})
                yield Text(block.get("text") or "")
            elif block["type"] == "image" and isinstance(source, dict) and source.get("type") in ("base64", "url"):
                self.rest(here, block, {"type", "source"})
                yield Image(_url(source))
            elif block["type"] == "document" and isinstance(source, dict) and source.get("type") in ("base64", "url"):
                self.rest(here, block, {"type", "source", "title"})
                yield File(_url(source), block.get("title"))
            else:
                yield Opaque("anthropic", msgspec.json.encode(block), here)


def _url(source: Mapping[str, Any]) -> str:
    if source["type"] == "url":
        return str(source.get("url"))
    return data_url(str(source.get("media_type")), str(source.get("data")))


def _role(role: str) -> Role:
    roles: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
    return roles[role]


# --- from the neutral form -------------------------------------------------------------------------------------------

_EFFORTS = {"minimal": "low", "none": None}


def write_conversation(conversation: Conversation, model: str) -> Written:
    """A messages request. Raises BadRequest for what only another dialect can say."""
    dropped = left_out(conversation, "anthropic")
    items = list(conversation.items)
    system: list[Any] = []
    while items and isinstance(items[0], Message) and items[0].role in ("system", "developer"):
        system += _write_parts(items.pop(0).parts)  # type: ignore[union-attr]
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": conversation.max_tokens or DEFAULT_MAX_TOKENS,
        "messages": _write_items(items, dropped),
    }
    if system:
        body["system"] = system
    if conversation.stream:
        body["stream"] = True
    if conversation.tools:
        body["tools"] = [_write_tool(tool) for tool in conversation.tools]
    choice = _write_choice(conversation)
    if choice:
        body["tool_choice"] = choice
    temperature = conversation.temperature
    if temperature is not None:
        if temperature > 1:
            dropped.append(f"temperature {temperature:g} became 1, the most there")
        body["temperature"] = min(temperature, 1.0)
    for key, value in (("top_p", conversation.top_p), ("top_k", conversation.top_k)):
        if value is not None:
            body[key] = value
    if conversation.stop:
        body["stop_sequences"] = list(conversation.stop)
    if conversation.user:
        body["metadata"] = {"user_id": conversation.user}
    output: dict[str, Any] = {}
    effort = _EFFORTS.get(conversation.effort or "none", conversation.effort)
    if effort:
        output["effort"] = effort
    if conversation.output_schema:
        output["format"] = {"type": "json_schema", "schema": Raw(conversation.output_schema.schema)}
    if output:
        body["output_config"] = output
    body |= {key: Raw(own.raw) for key, own in conversation.extra if own.dialect == "anthropic" and "." not in key}
    return Written(msgspec.json.encode(body), tuple(dropped))


def _write_choice(conversation: Conversation) -> dict[str, Any]:
    choice = conversation.tool_choice
    if choice and choice.startswith("tool:"):
        written: dict[str, Any] = {"type": "tool", "name": choice.removeprefix("tool:")}
    elif choice or (conversation.parallel_tool_calls is False and conversation.tools):
        written = {"type": {"required": "any"}.get(choice or "auto", choice or "auto")}
    else:
        return {}
    if conversation.parallel_tool_calls is False:
        written["disable_parallel_tool_use"] = True
    return written


def _write_items(items: Sequence[Item], dropped: list[str]) -> list[Any]:
    """Messages by turns: what a user says and what tools answered in one go belong together."""
    turns: list[dict[str, Any]] = []
    asked: set[str] = set()
    for at, item in enumerate(items):
        if isinstance(item, Message):
            role = "system" if item.role == "developer" else item.role
            blocks = _write_parts(item.parts)
            if not blocks and role == "user":
                raise BadRequest(
                    f"item {at + 1} of the conversation is an empty message; say something or leave it out"
                )
        elif isinstance(item, ToolCall):
            role, blocks = "assistant", [_write_call(item)]
            asked.add(item.id)
        elif isinstance(item, ToolResult):
            if item.call_id not in asked:
                raise BadRequest(
                    f"there is a tool result for {item.call_id!r}, but no tool call with this id before it"
                )
            role, blocks = "user", [_write_result(item)]
        elif isinstance(item, Reasoning):
            role = "assistant"
            blocks = (
                [{"type": "thinking", "thinking": item.text, "signature": item.signature}] if item.signature else []
            )
            if not item.signature:
                dropped.append("reasoning without a signature")
        elif item.dialect == "anthropic":
            role, blocks = "assistant", [Raw(item.raw)]
        else:
            continue  # a hint of another dialect
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _write_call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = _ANY.decode(call.arguments.encode() or b"{}")
    except (msgspec.DecodeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise BadRequest(f"the arguments of tool call {call.id!r} are not a JSON object, so they cannot be passed on")
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _write_result(result: ToolResult) -> dict[str, Any]:
    written: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": result.call_id,
        "content": _write_parts(result.parts),
    }
    return written | ({"is_error": True} if result.is_error else {})


def _write_parts(parts: Sequence[Part]) -> list[Any]:
    written: list[Any] = []
    for part in parts:
        if isinstance(part, Text):
            if part.text:
                written.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            written.append({"type": "image", "source": _source(part.url, "image")})
        elif isinstance(part, File):
            document: dict[str, Any] = {"type": "document", "source": _source(part.url, "file")}
            written.append(document | ({"title": part.name} if part.name else {}))
        elif part.dialect == "anthropic":
            written.append(Raw(part.raw))
    return written


def _source(url: str, what: str) -> dict[str, Any]:
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    media_type, data = read_data_url(url, what)
    return {"type": "base64", "media_type": media_type, "data": data}


def _write_tool(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name, "input_schema": Raw(tool.parameters or b'{"type":"object"}')}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.strict is not None:
        written["strict"] = tool.strict
    return written
