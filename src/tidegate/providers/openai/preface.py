"""Where does a prompt of the store stand in a request of OpenAI's dialect? Before what the client says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidegate.core.body import Spans, inside, spans, splice, without
from tidegate.core.call import Asked
from tidegate.core.chat import Written
from tidegate.core.errors import PromptInvalid
from tidegate.core.prompts import Preface

_ALIKE = ({"max_tokens", "max_completion_tokens"},)  # who says one has said it
_OF_CHATS = {"reasoning_effort", "parallel_tool_calls", "tool_choice", "verbosity"}
_OF_EMBEDDINGS = ("dimensions", "encoding_format")
_ANY = msgspec.json.Decoder()


def before_chat(asked: Asked, preface: Preface) -> Written:
    body = without(asked.body, asked.spans, "prompt")
    where = spans(body)
    messages = [{"role": role, "content": text} for role, text in preface.said(alone=not asked.whole)]
    changes = {"messages": _joined(messages, body[slice(*where["messages"])] if "messages" in where else b"[]")}
    wording = preface.wording
    wanted = dict(wording.parameters)
    if wording.tools:
        wanted["tools"] = wording.tools
    if wording.response_schema is not None:
        form = {"name": _schema_name(preface), "schema": wording.response_schema}
        wanted["response_format"] = {"type": "json_schema", "json_schema": form}
    return Written(splice(body, where, changes | filled(body, where, wanted)))


def before_text(asked: Asked, preface: Preface) -> Written:
    """A completion: the object that names the prompt stands where its text will."""
    text = preface.text("plain completions")
    wanted = {key: value for key, value in preface.wording.parameters.items() if key not in _OF_CHATS}
    changes = {"prompt": msgspec.json.encode(text)}
    return Written(splice(asked.body, asked.spans, changes | filled(asked.body, asked.spans, wanted)))


def before_input(asked: Asked, preface: Preface) -> Written:
    """An embedding: the text stands before each of those that are embedded; alone, it is the one."""
    text = preface.text("embeddings")
    body = without(asked.body, asked.spans, "prompt")
    where = spans(body)
    given = asked.typed.input
    many = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) for one in many):
        raise PromptInvalid(f"input: tokens cannot follow the text of prompt {preface.id!r}; send texts", param="input")
    said = [text + one for one in many]
    wanted = {key: value for key, value in preface.wording.parameters.items() if key in _OF_EMBEDDINGS}
    changes = {"input": msgspec.json.encode(said if isinstance(given, list) and given else said[0] if said else text)}
    return Written(splice(body, where, changes | filled(body, where, wanted)))


def before_response(asked: Asked, preface: Preface) -> Written:
    """A response, which says the same in other words: input for messages, flat tools, a format for the text."""
    body = without(asked.body, asked.spans, "prompt")
    where = spans(body)
    own = body[slice(*where["input"])] if "input" in where else b"null"
    if own.startswith(b'"'):
        own = msgspec.json.encode([{"role": "user", "content": _ANY.decode(own)}])
    alone = own == b"null" or inside(own) == b""
    messages = [{"role": role, "content": text} for role, text in preface.said(alone=alone)]
    changes = {"input": _joined(messages, b"[]" if own == b"null" else own)}
    return Written(splice(body, where, changes | filled(body, where, _as_response(preface))))


def _as_response(preface: Preface) -> dict[str, Any]:
    wording = preface.wording
    wanted: dict[str, Any] = {}
    for key, value in wording.parameters.items():
        if key in ("max_tokens", "max_completion_tokens"):
            wanted["max_output_tokens"] = value
        elif key == "reasoning_effort":
            wanted["reasoning"] = {"effort": value}
        else:
            wanted[key] = value
    if wording.tools:
        wanted["tools"] = [{"type": "function", **tool["function"]} for tool in wording.tools]
    if wording.response_schema is not None:
        form = {"type": "json_schema", "name": _schema_name(preface), "schema": wording.response_schema}
        wanted["text"] = {"format": form}
    return wanted


def filled(body: bytes, where: Spans, wanted: Mapping[str, Any]) -> dict[str, bytes]:
    """Those of `wanted` that the client does not say; null is not said."""
    found: dict[str, bytes] = {}
    for key, value in wanted.items():
        alike = next((names for names in _ALIKE if key in names), (key,))
        if all(name not in where or body[slice(*where[name])] == b"null" for name in alike):
            found[key] = msgspec.json.encode(value)
    return found


def _joined(messages: list[dict[str, str]], own: bytes) -> bytes:
    """An array of these, and then the client's own as they stand."""
    mine, theirs = inside(msgspec.json.encode(messages)), inside(own)
    return b"[%b]" % b",".join(filter(None, (mine, theirs)))


def _schema_name(preface: Preface) -> str:
    """OpenAI wants one, of letters, digits, _ and -."""
    return preface.id.partition("@")[0].replace(".", "-")[:64]
