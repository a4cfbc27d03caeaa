"""Is an answer what its schema asks for? Heard as it passes by, of calls in an experiment that wants to know.

The look is a cheap one: JSON at all, types, required fields and choices, a few levels deep. It finds a model that has
lost the form, and not each fault.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from tidegate.core.call import Call, Reply
from tidegate.core.chat import Channel
from tidegate.core.overheard import Overheard

MAX_BYTES = 64 * 1024  # of an answer; of a longer one nothing is said
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


class Wanted(Protocol):
    """Who wants to know."""

    def wants(self, call: Call) -> bool: ...

    def formed(self, call: Call, *, well: bool) -> None:
        """Must not wait."""


class Formed:
    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def listen(self, call: Call, reply: Reply) -> Reply:
        """The same reply, heard as it passes by. The very same where nobody wants to know."""
        if call.operation != "chat" or not self._wanted.wants(call):
            return reply
        schema = asked_for(call.outgoing)
        return reply if schema is None else Listening(call, reply, schema, self._wanted)


class _Format(msgspec.Struct):
    schema: dict[str, Any] | None = None


class _Responding(msgspec.Struct):
    type: str = ""
    json_schema: _Format | None = None


class _Body(msgspec.Struct):
    response_format: _Responding | None = None


def asked_for(body: bytes) -> dict[str, Any] | None:
    """The schema of the answer; {} where any JSON will do; None where nothing is asked for."""
    if b'"response_format"' not in body:
        return None
    try:
        found = msgspec.json.decode(body, type=_Body).response_format
    except msgspec.DecodeError:
        return None
    if found is None or found.type not in ("json_schema", "json_object"):
        return None
    return (found.json_schema.schema if found.json_schema is not None else None) or {"type": "object"}


class Listening(Overheard):
    """A reply whose first choice is looked at when it has ended well."""

    def __init__(self, call: Call, reply: Reply, schema: dict[str, Any], wanted: Wanted) -> None:
        super().__init__(call, reply, MAX_BYTES)
        self._schema = schema
        self._wanted = wanted
        self._calls_tools = False

    def beside(self, channel: Channel) -> None:
        if channel.kind != "reasoning":
            self._calls_tools = True  # or it refuses: no answer of that form is due

    def ended(self, text: str | None) -> None:
        if text is not None and not self._calls_tools:
            self._wanted.formed(self._call, well=is_formed(text, self._schema))


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
