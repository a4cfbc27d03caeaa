"""What do coding agents send? Requests of their shape and size, made anew: every field is there, no text is theirs.

Claude Code speaks only messages, Codex only responses; both send tens of kilobytes before anybody has said a word.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

TEXT = """
the file that was read is not what it seems and whoever edits it first must look at each line again before
anything is written while a command runs in the background its output may be long so ask for the part that counts
"""
ODD = ('"quoted"', "a\\path", "née", "→", "<tag>\n", "🌊")

CLAUDE_CODE = {
    "anthropic-version": "2026-10-21",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
    "prompt-caching-scope-2026-01-05,effort-2025-11-24",
    "anthropic-dangerous-direct-browser-access": "true",
    "x-app": "cli",
    "x-claude-code-session-id": "0b7c7f1e-6f0c-4b57-9d0a-2f8f6f2f5a11",
    "user-agent": "claude-cli/3.1.0 (external, cli)",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
    "accept": "application/json",
}
CODEX = {
    "originator": "codex_cli_rs",
    "session_id": "0199f4a2-6c1c-7b42-8f0e-1d2e3c4b5a69",
    "openai-beta": "responses=experimental",
    "user-agent": "codex_cli_rs/0.99.0 (Linux; x86_64) xterm",
    "accept": "text/event-stream",
}

TOOLS = (
    "Bash", "Read", "Write", "Edit", "Glob", "Grep", "Task", "TodoWrite", "WebFetch", "WebSearch", "NotebookEdit",
    "KillShell", "TaskOutput", "Skill", "AskUserQuestion", "EnterPlanMode", "ExitPlanMode", "ListMcpResources",
)  # fmt: skip

SHORT_LIVED = {"cache_control": {"type": "ephemeral"}}
DIRECT = {"caller": {"type": "direct"}}


def prose(seed: int, size: int) -> str:
    """So many characters, always the same, with what JSON has to escape among them."""
    said = random.Random(seed)
    return " ".join(said.choices([*TEXT.split(), *ODD], k=size // 2))[:size]


def schema(seed: int) -> dict[str, Any]:
    said = random.Random(seed)
    fields = {
        f"field_{at}": {"type": said.choice(["string", "number", "boolean"]), "description": prose(seed + at, 90)}
        for at in range(said.randint(2, 6))
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": fields | {"list": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
        "required": ["field_0"],
        "additionalProperties": False,
    }


def claude_code(model: str) -> bytes:
    """POST /v1/messages?beta=true, 49 KB: the second turn, after the model has thought and read a file."""
    lasting = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=3.1.0; cc_entrypoint=cli;"},
        {"type": "text", "text": prose(1, 120), **lasting},
        {"type": "text", "text": prose(2, 14_000), **SHORT_LIVED},
    ]
    tools: list[Any] = [
        {"name": name, "description": prose(at, 900), "input_schema": schema(at)} for at, name in enumerate(TOOLS)
    ]
    tools[1]["eager_input_streaming"] = True
    thought = {"type": "thinking", "thinking": prose(3, 300), "signature": "c2lnbmVk" * 30}
    call = {"type": "tool_use", "id": "toolu_01", "name": "Read", "input": {"field_0": "/é.py"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_01", "content": prose(4, 1_500), **SHORT_LIVED}
    reminder = {"type": "text", "text": f"<system-reminder>\n{prose(5, 2_000)}\n</system-reminder>"}
    body = {
        "model": model,
        "messages": [
            {"role": "user", "content": [reminder, {"type": "text", "text": "mend the test"}]},
            {"role": "assistant", "content": [thought, {"type": "text", "text": "I'll look."}, call | DIRECT]},
            {"role": "user", "content": [result]},
        ],
        "system": system,
        "tools": tools,
        "metadata": {"user_id": json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "0b7c7f1e"})},
        "max_tokens": 64_000,
        "thinking": {"type": "adaptive", "display": "summarized"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "medium"},
        "diagnostics": {"previous_message_id": None},
        "stream": True,
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def codex(model: str) -> bytes:
    """POST /v1/responses, 40 KB: tools of several types, reasoning that comes back as it went, nothing kept there."""
    functions = [
        {
            "type": "function",
            "name": name,
            "description": prose(at, 700),
            "strict": False,
            "parameters": schema(at + 50),
        }
        for at, name in enumerate(("exec_command", "write_stdin", "update_plan", "view_image", "list_mcp_resources"))
    ]
    grammar = {"type": "grammar", "syntax": "lark", "definition": f'start: "***" LF hunk+ end\n{prose(6, 800)}'}
    tools = [
        *functions,
        {"type": "custom", "name": "apply_patch", "description": prose(7, 300), "format": grammar},
        {"type": "web_search", "external_web_access": False},
        {"type": "namespace", "name": "mcp__files", "tools": [functions[0]]},
    ]
    turns = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": prose(8, 6_000)}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "mend the test"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "Z0FBQUFB" * 250},
        {"type": "custom_tool_call", "call_id": "call_1", "name": "apply_patch", "input": prose(9, 400)},
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "Done!"}]},
        {"type": "an_item_of_tomorrow", "deep": [[{"kept": 1.50}]]},
    ]
    body = {
        "model": model,
        "instructions": prose(10, 20_000),
        "input": turns,
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto", "context": "all_turns"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": CODEX["session_id"],
        "text": {"verbosity": "low"},
        "client_metadata": {"x-codex-installation-id": "1"},
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _responses() -> Iterator[dict[str, Any]]:
    item = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "Z0FBQUFB" * 100}
    usage = {
        "input_tokens": 9_000,
        "input_tokens_details": {"cached_tokens": 8_000},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 9_050,
    }
    yield {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "usage": None}}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.custom_tool_call_input.delta", "item_id": "ctc_1", "delta": "*** Begin Patch\n"}
    yield {"type": "response.an_event_of_tomorrow", "deep": {"kept": [1.0]}}
    yield {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "usage": usage}}


def responses_stream() -> bytes:
    """How such a call is answered; it has no [DONE]."""
    frames = [dict(event, sequence_number=at) for at, event in enumerate(_responses())]
    return b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in frames)
