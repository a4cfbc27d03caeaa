"""What has changed between two versions of a prompt? As lines, the way people read changes of text."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff

import msgspec
from msgspec import UNSET

from tidegate.core.prompts import Wording


def difference(before: Wording, after: Wording, was: str, now: str) -> list[str]:
    """A unified diff, without ends of lines; empty where they say the same."""
    return list(unified_diff([*lines(before)], [*lines(after)], was, now, lineterm=""))


def lines(wording: Wording) -> Iterator[str]:
    """All that it says, the texts as they stand."""
    for name, value in wording.parameters.items():
        yield f"{name}: {_json(value)}"
    for one in wording.variables:
        default = "" if one.default is UNSET else f" = {_json(one.default)}"
        about = f"  # {one.description}" if one.description else ""
        yield f"variable {one.name}: {one.type}{'' if one.is_needed else '?'}{default}{about}"
    for tool in wording.tools:
        yield f"tool {_json(tool)}"
    if wording.response_schema is not None:
        yield f"schema {_json(wording.response_schema)}"
    if wording.template is not None:
        yield from wording.template.split("\n")
    for message in wording.messages:
        yield f"--- {message.role}"
        yield from message.content.split("\n")


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
