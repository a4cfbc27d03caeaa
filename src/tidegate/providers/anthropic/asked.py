"""The typed minimum of a request in Anthropic's dialect: what is read of every one."""

from __future__ import annotations

from typing import Any

import msgspec


class BlockAsked(msgspec.Struct):
    type: str
    text: str | None = None
    thinking: str | None = None
    title: Any = None
    context: Any = None
    content: Any = None  # of results: a text, blocks, or an object; of blocks that we do not know, who knows
    source: Any = None
    input: Any = None


class MessageAsked(msgspec.Struct):
    role: str
    content: str | list[BlockAsked]


class ToolAsked(msgspec.Struct):
    name: str | None = None
    description: str | None = None
    input_schema: Any = None


class Metadata(msgspec.Struct):
    user_id: str | None = None


class OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: dict[str, Any] | None = None


class MessagesAsked(msgspec.Struct):
    model: str
    messages: list[MessageAsked] = []
    max_tokens: int | None = None  # needed, but counting tokens goes without; Anthropic says so itself
    system: str | list[BlockAsked] | None = None
    stream: bool | None = None
    tools: list[ToolAsked] | None = None
    metadata: Metadata | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: OutputConfig | None = None
