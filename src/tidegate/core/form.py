"""Is a text JSON of the form that a request asks for?

The look is a cheap one: JSON at all, types, required fields and choices, a few levels deep. It finds a model that has
lost the form, and not each fault.
"""

from __future__ import annotations

from typing import Any

import msgspec

DEEPEST = 4
MOST = 200  # values that are looked at
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class _Format(msgspec.Struct):
    schema: dict[str, Any] | None = None


class _Responding(msgspec.Struct):
    type: str = ""
    json_schema: _Format | None = None


class _Configured(msgspec.Struct):
    format: _Format | None = None


class _Body(msgspec.Struct):
    response_format: _Responding | None = None  # OpenAI's
    output_config: _Configured | None = None  # Anthropic's


def asked_for(body: bytes) -> dict[str, Any] | None:
    """The schema of the answer, as clients of OpenAI's and Anthropic's ask; None where nothing is asked for."""
    if b'"response_format"' not in body and b'"output_config"' not in body:
        return None
    try:
        asked = msgspec.json.decode(body, type=_Body)
    except msgspec.DecodeError:
        return None
    found = asked.response_format
    if asked.output_config is not None and asked.output_config.format is not None:
        return asked.output_config.format.schema
    if found is None or found.type not in ("json_schema", "json_object"):
        return None
    return (found.json_schema.schema if found.json_schema is not None else None) or {"type": "object"}


def is_formed(text: str, schema: dict[str, Any]) -> bool:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    left = [MOST]
    return _fits(value, schema, DEEPEST, left)


def _fits(value: Any, schema: Any, depth: int, left: list[int]) -> bool:
    left[0] -= 1
    if depth == 0 or left[0] < 0 or not isinstance(schema, dict):
        return True
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in (kinds if isinstance(kinds, list) else [kinds])):
        return False
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        return False
    if isinstance(value, dict):
        required, fields = schema.get("required"), schema.get("properties")
        if isinstance(required, list) and any(name not in value for name in required):
            return False
        if isinstance(fields, dict):
            return all(_fits(value[name], fields[name], depth - 1, left) for name in fields if name in value)
    if isinstance(value, list) and "items" in schema:
        return all(_fits(item, schema["items"], depth - 1, left) for item in value[:MOST])
    return True


def _is(value: Any, kind: Any) -> bool:
    """Whether it has this type; one that is not known fits everything."""
    there = TYPES.get(kind) if isinstance(kind, str) else None
    if there is None:
        return True
    if isinstance(value, bool):
        return bool(kind == "boolean")
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, there)
