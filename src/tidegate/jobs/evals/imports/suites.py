"""What comes of an import? A suite, and what was left out of it; and a suite as a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import yaml

from tidegate.core.errors import ConfigError
from tidegate.core.scores import Case, Turn
from tidegate.jobs.evals.suite import Suite

GENERAL = {1: "not at all", 4: "in part, with serious faults", 7: "well, with small faults", 10: "fully"}
JUDGE = "judge"  # a route of that name judges, where nothing else is said


class Imported(NamedTuple):
    suite: Suite
    left_out: Sequence[str]  # what it was, and why it is not there


def json_lines(text: str, file: str) -> list[Any]:
    """Of JSON, a list or lines. Raises ConfigError, naming the line."""
    if text.lstrip().startswith("["):
        try:
            found = msgspec.json.decode(text)
        except msgspec.DecodeError as wrong:
            raise ConfigError(f"{file}: is no JSON: {wrong}") from None
        return list(found)
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(msgspec.json.decode(line))
            except msgspec.DecodeError as wrong:
                raise ConfigError(f"{file}:{number}: is no JSON: {wrong}") from None
    return found


def said_in(messages: Any) -> tuple[tuple[Turn, ...], str] | None:
    """A conversation of OpenAI's or Anthropic's form, texts only: the turns before, and what the user says last.

    None: it is none.
    """
    if not isinstance(messages, list) or not messages:
        return None
    turns = []
    for one in messages:
        said: dict[str, Any] = one if isinstance(one, dict) else {}
        text, role = text_of(said.get("content")), said.get("role")
        role = "system" if role == "developer" else role
        if text is None or role not in ("system", "user", "assistant"):
            return None
        turns.append(msgspec.convert({"content": text, "role": role}, Turn))
    if turns[-1].role == "user":
        return tuple(turns[:-1]), turns[-1].content
    return None


def literal(turns: Sequence[Turn]) -> dict[str, Any]:
    """Turns of a case as they were said: a turn is a template here, so what begins a hole comes from a variable."""
    if not any("{{" in turn.content for turn in turns):
        return {"turns": tuple(turns)}
    opened = [msgspec.structs.replace(turn, content=turn.content.replace("{{", "{{open}}")) for turn in turns]
    return {"turns": tuple(opened), "variables": {"open": "{{"}}


def text_of(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    kinds = ("text", "input_text")
    parts = [as_text(one.get("text")) for one in content if isinstance(one, dict) and one.get("type") in kinds]
    return "\n".join(parts) if parts and len(parts) == len(content) else None


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()


def ids(wanted: Iterable[str]) -> list[str]:
    """Each once: what stands there several times gets a number."""
    found: list[str] = []
    taken: set[str] = set()
    for number, one in enumerate(wanted, 1):
        word = re.sub(r"[^\w.:/+-]+", "-", one.strip().lower()).strip("-")[:80] or f"case-{number}"
        name, n = word, 1
        while name in taken:
            n += 1
            name = f"{word}-{n}"
        taken.add(name)
        found.append(name)
    return found


def with_ids(cases: Sequence[Case]) -> tuple[Case, ...]:
    names = ids(case.id for case in cases)
    return tuple(msgspec.structs.replace(case, id=id) for case, id in zip(cases, names, strict=True))


def written(suite: Suite) -> str:
    """As a file that reads as the same suite."""
    tree = msgspec.to_builtins(suite, str_keys=True)
    order = [name for name in Suite.__struct_fields__ if name in tree]
    return yaml.dump(
        {name: tree[name] for name in order}, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120
    )


class Dumper(yaml.SafeDumper):
    """Without anchors: what is the same twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
