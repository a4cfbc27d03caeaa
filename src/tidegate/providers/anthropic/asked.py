"""The typed minimum of a request in Anthropic's dialect: what is read of every one."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType


class BlockAsked(msgspec.Struct):
    type: str
    text: str | None = None
    thinking: str | None = None
    title: str | None = None
    context: str | None = None
    content: str | list[BlockAsked] | dict[str, Any] | None = None  # of a tool result; some results are objects
    input: Raw | UnsetType = UNSET


class MessageAsked(msgspec.Struct):
    role: str
    content: str | list[BlockAsked]


class ToolAsked(msgspec.Struct):
    name: str | None = None
    description: str | None = None


class Metadata(msgspec.Struct):
    user_id: str | None = None


class MessagesAsked(msgspec.Struct):
    model: str
    messages: list[MessageAsked]
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
    output_config: dict[str, Any] | None = None
