"""Which texts has a request, and who says each of them?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tidegate.core.call import Asked
from tidegate.core.guard import Part
from tidegate.core.places import strings

_MESSAGE = re.compile(r"messages\[(\d+)\]")
_RESULT = re.compile(r"messages\[\d+\]\.content\[\d+\]\.(?:content|source|title|context)")
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def parts_of(asked: Asked) -> list[Part]:
    """All that is text, in order. Of a request whose meaning we do not know: every string."""
    if asked.codec.operation == "raw":
        return [
            Part(path, _raw_role(path), text)
            for path, text in strings("", _OBJECT.decode(asked.body))
            if is_spoken(text)
        ]
    return [Part(path, _role(asked, path), text) for path, text in asked.codec.texts(asked)]


def is_spoken(text: str) -> bool:
    """Whether it is no picture or file, whole."""
    return not (text.startswith("data:") and ";base64," in text[:100])


def _raw_role(path: str) -> str:
    return "tool" if path.startswith("tools") or path.endswith(".output") else "user"


def _role(asked: Asked, path: str) -> str:
    message = _MESSAGE.match(path)
    if message is None:
        return "system" if path.startswith("system") else "tool" if path.startswith("tools") else "user"
    if _RESULT.match(path):
        return "tool"
    role: str = asked.typed.messages[int(message[1])].role
    return "tool" if role == "function" else role


def unreadable(asked: Asked) -> str | None:
    """Why a guard cannot look at this request; None when it can."""
    if asked.codec.operation == "raw" and asked.body and not asked.spans:
        return "it is no JSON object"
    return next(_tokens(asked), None)


def _tokens(asked: Asked) -> Iterator[str]:
    for field in ("prompt", "input"):
        given = getattr(asked.typed, field, None)
        if isinstance(given, list) and not all(isinstance(one, str) for one in given):
            yield f"{field} holds tokens; send text"
