"""The typed minimum of a request in OpenAI's dialect: what is read of every one."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tidegate.providers.openai.said import FunctionSaid, ToolSaid


class PartAsked(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None


class MessageAsked(msgspec.Struct, gc=False):
    role: str
    content: str | list[PartAsked] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolSaid] | None = None
    function_call: FunctionSaid | None = None


class StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class FunctionAsked(msgspec.Struct, gc=False):
    name: str | None = None
    description: str | None = None
    parameters: Raw | UnsetType = UNSET


class ToolAsked(msgspec.Struct, gc=False):
    type: str | None = None
    function: FunctionAsked | None = None


class ChatAsked(msgspec.Struct, gc=False):
    model: str
    messages: list[MessageAsked] = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[ToolAsked] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None  # not OpenAI's, but vLLM and llama.cpp take it
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None
