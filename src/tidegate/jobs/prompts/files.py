"""How does a prompt stand in a file? Its settings in front, as YAML, then what it says.

    ---
    parameters: {temperature: 0.2}
    ---
    --- system
    You help {{name}}.
    --- user
    Hello

Without a line `--- ROLE` all of it is one text. What has such a line in it stands in front, as YAML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import yaml

from tidegate.core.errors import ConfigError
from tidegate.core.nearest import nearest
from tidegate.core.prompts import Wording
from tidegate.document import read

SUFFIX = ".md"
_FRONT = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*\n", re.DOTALL | re.MULTILINE)
_TURN = re.compile(r"^--- (system|developer|user|assistant)[ \t]*$", re.MULTILINE)
_WORDS = ("messages", "template")
_FIELDS = ("variables", "parameters", "tools", "response_schema")
_BESIDES = ("id", "note", "author")


class Found(NamedTuple):
    """A version that is to be, from wherever it comes."""

    id: str
    fields: Mapping[str, Any]  # a Wording, as JSON has it
    note: str = ""
    author: str = ""
    labels: tuple[str, ...] = ()
    where: str = ""

    @property
    def asked(self) -> dict[str, Any]:
        """As the API takes it."""
        return {"id": self.id, **self.fields, "note": self.note, "author": self.author, "labels": list(self.labels)}


def written(wording: Wording) -> str:
    """As a file. `found` reads the same again."""
    fields: dict[str, Any] = msgspec.to_builtins(wording)
    spoken = [one.content for one in wording.messages]
    said = wording.template if wording.template is not None else "\n".join(spoken)
    front = {name: fields[name] for name in _FIELDS if fields.get(name)}
    if _TURN.search(said) or (wording.template is not None and said.startswith("---")) or "\r" in said:
        front |= {name: fields[name] for name in _WORDS if name in fields}
        body = ""
    elif wording.template is not None:
        body = f"{wording.template}\n"
    else:
        body = "".join(f"--- {one.role}\n{one.content}\n" for one in wording.messages)
    settings = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=110) if front else ""
    return f"---\n{settings}---\n{body}"


def found(text: str, file: str, name: str) -> Found:
    """`name`: where the file says none. Raises ConfigError, naming the line."""
    front = _FRONT.match(text)
    settings: Any = {}
    if front is not None:
        document = read("\n" + front[1], file)
        settings = document.tree if document.tree is not None else {}
        if not isinstance(settings, dict):
            raise document.wrong("", "must begin with keys and values between two lines of ---")
        for key in settings:
            if key not in (*_WORDS, *_FIELDS, *_BESIDES):
                raise document.wrong(key, f"no such key; {nearest(key, (*_WORDS, *_FIELDS, *_BESIDES))}")
    body = text[front.end() :] if front is not None else text
    fields = {key: value for key, value in settings.items() if key not in _BESIDES}
    if not any(key in fields for key in _WORDS):
        fields |= _said(body, file)
    elif body.strip():
        raise ConfigError(f"{file}: what it says stands in front, as messages or template, and behind; say it once")
    note, author = str(settings.get("note") or ""), str(settings.get("author") or "")
    return Found(str(settings.get("id", name)), fields, note, author, where=file)


def _said(body: str, file: str) -> dict[str, Any]:
    turns = list(_TURN.finditer(body))
    if not turns:
        return {"template": body.removesuffix("\n")}
    if body[: turns[0].start()].strip():
        raise ConfigError(f"{file}: what stands before the first --- {turns[0][1]} is nobody's; give it a role")
    ends = [*(turn.start() for turn in turns[1:]), len(body)]
    return {
        "messages": [
            {"role": turn[1], "content": body[turn.end() + 1 : end].removesuffix("\n")}
            for turn, end in zip(turns, ends, strict=True)
        ]
    }


def wording_of(shown: Mapping[str, Any]) -> Wording:
    """Of a version as the API shows it."""
    said = {name: shown[name] for name in (*_WORDS, *_FIELDS) if shown.get(name) not in (None, [], {})}
    return msgspec.convert(said, Wording)


def in_order(some: list[Found]) -> list[Found]:
    """What is included comes before what includes it; otherwise as they are."""
    names = {one.id for one in some}
    done: set[str] = set()
    ordered: list[Found] = []
    left = list(some)
    while left:
        ready = [one for one in left if not (_included(one) & names) - done - {one.id}] or left
        ordered += ready
        done |= {one.id for one in ready if not any(other.id == one.id for other in left if other not in ready)}
        left = [one for one in left if one not in ready]
    return ordered


def _included(one: Found) -> set[str]:
    texts = [one.fields.get("template") or "", *(said.get("content", "") for said in one.fields.get("messages") or ())]
    return {name for text in texts for name in re.findall(r"\{\{\s*>\s*([\w.-]+)@", str(text))}
