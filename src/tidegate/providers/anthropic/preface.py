"""Where does a prompt of the store stand in a request of Anthropic's dialect? Before what the client says."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import msgspec

from tidegate.core.body import Spans, inside, spans, splice, without
from tidegate.core.call import Asked
from tidegate.core.chat import Message, Text, Written
from tidegate.core.errors import PromptInvalid
from tidegate.core.prompts import Preface
from tidegate.providers.anthropic.conversation import write_conversation

_SYSTEM = ("system", "developer")
_ANY = msgspec.json.Decoder()
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SAID = ("model", "messages", "system", "stream")  # by the client, or written here


def before_messages(asked: Asked, preface: Preface, only: Container[str] | None = None) -> Written:
    """`only`: these fields may be filled, and no other."""
    body = without(asked.body, asked.spans, "prompt")
    where = spans(body)
    said = preface.said(alone=not asked.whole)
    own = body[slice(*where["messages"])] if "messages" in where else b"[]"
    spoken = [{"role": role, "content": text} for role, text in said if role not in _SYSTEM]
    if not spoken and not inside(own):
        raise PromptInvalid(f"prompt {preface.id!r} has only the system's word; send messages too", param="messages")
    if spoken and spoken[0]["role"] != "user":
        raise PromptInvalid(f"prompt {preface.id!r} begins with the assistant's word; here the user speaks first")
    pieces = filter(None, (inside(msgspec.json.encode(spoken)), inside(own)))
    changes = {"messages": b"[%b]" % b",".join(pieces)}
    told = [text for role, text in said if role in _SYSTEM]
    if told:
        changes["system"] = _system("\n\n".join(told), body, where)
    fields, left_out = _fields(preface, asked.model)
    for key, value in fields.items():
        if (key not in where or body[slice(*where[key])] == b"null") and (only is None or key in only):
            changes[key] = value
    return Written(splice(body, where, changes), left_out)


def _system(told: str, body: bytes, where: Spans) -> bytes:
    own: Any = body[slice(*where["system"])] if "system" in where else b"null"
    if own.startswith(b"["):
        first = msgspec.json.encode({"type": "text", "text": told})
        return b"[%b]" % b",".join(filter(None, (first, inside(own))))
    words = _ANY.decode(own) or ""
    return msgspec.json.encode(f"{told}\n\n{words}" if words else told)


def _fields(preface: Preface, model: str) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """What it asks for besides, in this dialect, and what that cannot say."""
    asks = preface.asks
    wording = preface.wording
    if not wording.parameters and not wording.tools and wording.response_schema is None:
        return {}, ()
    asks = msgspec.structs.replace(asks, items=(Message("user", (Text("-"),)),))
    written = write_conversation(asks, model)
    fields = {key: bytes(value) for key, value in _MEMBERS.decode(written.body).items() if key not in _SAID}
    if asks.max_tokens is None:
        fields.pop("max_tokens", None)  # not its own: what is written where nobody says it
    return fields, written.left_out
