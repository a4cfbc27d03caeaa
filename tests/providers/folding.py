"""What does an SDK make of a stream? The message that it accumulates, by the rules of the vendors' own SDKs."""

from __future__ import annotations

import json
from typing import Any


def payloads(stream: bytes) -> list[Any]:
    """The JSON of each event, in order; [DONE] is left out."""
    lines = [line.removeprefix(b"data: ") for line in stream.splitlines() if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def folded_openai(stream: bytes) -> dict[str, Any]:
    """Text is joined, lists are told apart by their index, and of the rest the first word counts."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in payloads(stream):
        whole |= {key: chunk[key] for key in ("id", "model", "created")} | {"object": "chat.completion"}
        whole["usage"] = chunk.get("usage") or whole.get("usage")
        for piece in chunk["choices"]:
            fresh = {"index": piece["index"], "message": {"content": None}, "finish_reason": None}
            choice = choices.setdefault(piece["index"], fresh)
            _join(choice["message"], piece["delta"])
            choice["finish_reason"] = piece["finish_reason"] or choice["finish_reason"]
    for choice in choices.values():
        for call in choice["message"].get("tool_calls", ()):
            del call["index"]
    return whole | {"choices": [choices[index] for index in sorted(choices)]}


def _join(whole: dict[str, Any], piece: dict[str, Any]) -> None:
    for key, value in piece.items():
        before = whole.get(key)
        if before is None or key in ("index", "type"):
            whole[key] = value
        elif isinstance(before, str) and isinstance(value, str):
            whole[key] = before + value
        elif isinstance(before, dict):
            _join(before, value)
        elif isinstance(before, list):
            for one in value:
                at = next((known for known in before if known["index"] == one["index"]), None)
                if at is None:
                    before.append(one)
                else:
                    _join(at, one)


def folded_anthropic(stream: bytes) -> dict[str, Any]:
    """Blocks by their index, usage by what the last event says of each kind."""
    whole: dict[str, Any] = {}
    arguments: dict[int, str] = {}
    open_block: int | None = None
    for event in payloads(stream):
        kind = event["type"]
        if kind == "message_start":
            assert not whole
            whole = event["message"]
        elif kind == "content_block_start":
            assert open_block is None, "one block after the other"
            open_block = event["index"]
            assert open_block == len(whole["content"])
            whole["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            assert event["index"] == open_block
            block, delta = whole["content"][event["index"]], event["delta"]
            if delta["type"] == "input_json_delta":
                arguments[event["index"]] = arguments.get(event["index"], "") + delta["partial_json"]
            elif delta["type"] == "citations_delta":
                block.setdefault("citations", []).append(delta["citation"])
            else:
                field = delta["type"].removesuffix("_delta")
                block[field] += delta[field]
        elif kind == "content_block_stop":
            assert event["index"] == open_block
            open_block = None
        elif kind == "message_delta":
            whole |= event["delta"]
            whole["usage"] |= event["usage"]
    for index, text in arguments.items():
        whole["content"][index]["input"] = _object(text) if text else {}
    return whole


def _object(text: str) -> Any:
    """An SDK raises for what is no JSON; in a whole message there is this in its place."""
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    return given if isinstance(given, dict) else {"invalid_json": text}
