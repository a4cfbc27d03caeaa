"""What does a text with gaps say, once they are filled? Gaps, sections and includes; nothing in it can do anything.

    {{name}}  {{a.b}}  {{.}}         a value, as it is; nothing in it is read as a template again
    {{#x}}…{{/x}}  {{^x}}…{{/x}}     if there is something, for each of a list; if there is nothing
    {{! a remark }}                  is left out
    {{> other@3}}                    another text, in this very version of it
    \\{{                              two braces that are no gap

A value is JSON: a name finds it in objects, and only there. There are no expressions, no attributes, no functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

MAX_TEXT = 256 * 1024  # characters of a template
MAX_TAGS = 2_000
MAX_DEPTH = 16  # sections within sections, and texts within texts
MAX_STEPS = 20_000  # gaps and repetitions of one rendering: about 5 ms
MAX_RENDERED = 1024 * 1024  # characters

_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME}){{0,7}}|\.", re.ASCII)
_INCLUDE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,99})@([1-9][0-9]{0,8})", re.ASCII)
_MISSING = object()


class TemplateError(ValueError):
    """It is no template; the message says where, and what to do."""


class Unfilled(ValueError):
    """It cannot be filled with these values."""


class Gap(NamedTuple):
    path: tuple[str, ...]


class Section(NamedTuple):
    path: tuple[str, ...]
    inverted: bool
    body: tuple[Node, ...]


class Include(NamedTuple):
    prompt: str
    version: int

    @property
    def id(self) -> str:
        return f"{self.prompt}@{self.version}"


Node = str | Gap | Section | Include
Texts = Mapping[str, tuple[Node, ...]]  # that are included, by id


class _Open(NamedTuple):
    """A section that is being read."""

    line: int
    name: str
    inverted: bool
    nodes: list[Node]


def parse(text: str) -> tuple[Node, ...]:
    """Raises TemplateError."""
    if len(text) > MAX_TEXT:
        raise TemplateError(f"it has {len(text)} characters; {MAX_TEXT} are allowed")
    nodes: list[Node] = []
    opened: list[_Open] = []
    at = tags = 0
    line, counted = 1, 0
    while (begin := text.find("{{", at)) >= 0:
        if begin > at and text[begin - 1] == "\\":
            _add(nodes, text[at : begin - 1] + "{{")
            at = begin + 2
            continue
        line += text.count("\n", counted, begin)
        counted = begin
        end = text.find("}}", begin)
        if end < 0 or end - begin > 300:
            raise TemplateError(f"line {line}: '{{{{' is not closed; two braces that are no gap are written \\{{{{")
        tags += 1
        if tags > MAX_TAGS:
            raise TemplateError(f"it has more than {MAX_TAGS} gaps; divide it, with {{{{> other@1}}}}")
        tag = text[begin + 2 : end]
        cut, at = _edges(text, at, begin, end + 2, tag)
        _add(nodes, cut)
        nodes = _read(tag.strip(), line, nodes, opened)
    _add(nodes, text[at:])
    if opened:
        raise TemplateError(f"line {opened[-1].line}: {{{{#{opened[-1].name}}}}} is not closed")
    return tuple(nodes)


def _add(nodes: list[Node], text: str) -> None:
    if not text:
        return
    if nodes and isinstance(nodes[-1], str):
        nodes[-1] += text
    else:
        nodes.append(text)


def _edges(text: str, at: int, begin: int, end: int, tag: str) -> tuple[str, int]:
    """What stands before a tag, and where to go on. A line that has nothing but a section's tag is no line."""
    if tag[:1] in ("#", "^", "/", "!"):
        start = text.rfind("\n", 0, begin) + 1
        after = text.find("\n", end)
        after = len(text) if after < 0 else after + 1
        if start >= at and not text[start:begin].strip(" \t") and not text[end:after].strip():
            return text[at:start], after
    return text[at:begin], end


def _read(tag: str, line: int, nodes: list[Node], opened: list[_Open]) -> list[Node]:
    """One tag; returns where the next goes."""
    mark, name = tag[:1], tag[1:].strip()
    if mark == "!":
        return nodes
    if mark in ("#", "^"):
        if len(opened) >= MAX_DEPTH:
            raise TemplateError(f"line {line}: sections stand more than {MAX_DEPTH} deep in each other")
        _path(name, line)
        opened.append(_Open(line, name, mark == "^", nodes))
        return []
    if mark == "/":
        if not opened or opened[-1].name != name:
            there = f"{{{{/{opened[-1].name}}}}} is expected" if opened else "no section is open"
            raise TemplateError(f"line {line}: {{{{/{name[:60]}}}}} closes nothing; {there}")
        section = opened.pop()
        section.nodes.append(Section(_path(name, line), section.inverted, tuple(nodes)))
        return section.nodes
    if mark == ">":
        found = _INCLUDE.fullmatch(name)
        if found is None:
            raise TemplateError(f"line {line}: {name[:60]!r}: say which version is included: {{{{> greeting@3}}}}")
        nodes.append(Include(found[1], int(found[2])))
        return nodes
    nodes.append(Gap(_path(tag, line)))
    return nodes


def _path(name: str, line: int) -> tuple[str, ...]:
    if not _PATH.fullmatch(name):
        raise TemplateError(
            f"line {line}: {name[:60]!r} is no name: letters, digits, _ and -, with dots between, such as user.name; "
            "nothing is computed here, and two braces that are no gap are written \\{{"
        )
    return (".",) if name == "." else tuple(name.split("."))


# --- what is in it ---------------------------------------------------------------------------------------------------


def includes(nodes: tuple[Node, ...]) -> Iterator[Include]:
    for node in nodes:
        if isinstance(node, Include):
            yield node
        elif isinstance(node, Section):
            yield from includes(node.body)


def names(nodes: tuple[Node, ...]) -> Iterator[tuple[str, bool]]:
    """The variables that are asked for, and whether they may be missing. Within a section a name may be a field of what
    the section is about, so those are not told; the section's own is."""
    for node in nodes:
        if isinstance(node, Gap) and node.path[0] != ".":
            yield node.path[0], False
        elif isinstance(node, Section) and node.path[0] != ".":
            yield node.path[0], True
            if node.inverted:
                yield from ((name, True) for name, _ in names(node.body))


def steps(nodes: tuple[Node, ...], texts: Mapping[str, int]) -> int:
    """How many gaps it has with all that it includes, whose own are in `texts`."""
    total = 0
    for node in nodes:
        if isinstance(node, Include):
            total += 1 + texts[node.id]
        elif isinstance(node, Section):
            total += 1 + steps(node.body, texts)
        else:
            total += 1
    return total


# --- filling it ------------------------------------------------------------------------------------------------------


def render(nodes: tuple[Node, ...], values: Mapping[str, Any], texts: Texts) -> str:
    """Raises Unfilled."""
    pen = _Pen(texts)
    pen.write(nodes, [values])
    return "".join(pen.pieces)


class _Pen:
    __slots__ = ("_size", "_steps", "_texts", "pieces")

    def __init__(self, texts: Texts) -> None:
        self.pieces: list[str] = []
        self._size = 0
        self._steps = 0
        self._texts = texts

    def write(self, nodes: tuple[Node, ...], scopes: list[Any]) -> None:
        """`scopes`: where names are looked for, innermost last."""
        self._steps += len(nodes) + 1
        if self._steps > MAX_STEPS:
            raise Unfilled(f"it takes more than {MAX_STEPS} steps; give it shorter lists")
        for node in nodes:
            if isinstance(node, str):
                self._put(node)
            elif isinstance(node, Gap):
                value = _found(node.path, scopes)
                if value is _MISSING:
                    raise Unfilled(f"{'.'.join(node.path)!r} is not given")
                self._put(value if isinstance(value, str) else written(value))
            elif isinstance(node, Section):
                self._section(node, scopes)
            else:
                self.write(self._texts[node.id], scopes)

    def _section(self, node: Section, scopes: list[Any]) -> None:
        value = _found(node.path, scopes)
        is_there = value is not _MISSING and bool(value)
        if node.inverted:
            if not is_there:
                self.write(node.body, scopes)
        elif is_there:
            for one in value if isinstance(value, list) else (value,):
                scopes.append(one)
                self.write(node.body, scopes)
                scopes.pop()

    def _put(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_RENDERED:
            raise Unfilled(f"it is longer than {MAX_RENDERED} characters; give it shorter values")
        self.pieces.append(text)


def _found(path: tuple[str, ...], scopes: list[Any]) -> Any:
    head = path[0]
    value: Any = _MISSING
    if head == ".":
        return scopes[-1]
    for scope in reversed(scopes):
        if isinstance(scope, dict) and head in scope:
            value = scope[head]
            break
    for name in path[1:]:
        value = value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
    return value


def written(value: Any) -> str:
    """A value as text: nothing for null, lists and objects as JSON."""
    if value is None:
        return ""
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        raise Unfilled("a value is nested too deeply") from None
