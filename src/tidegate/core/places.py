"""Where does a value stand within JSON, however deep, and what is the text with some of them changed?

The bytes around a change stay as they are. It is asked only when something is to be changed: the walk is Python's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

_TOKEN = re.compile(rb'[ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]++)', re.DOTALL)
_ANY = msgspec.json.Decoder()


class Moved(ValueError):
    """A text that is to be changed does not stand where it should."""


def places(text: bytes, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, int]]:
    """(path, start, end) of each value at a path that is `wanted`, such as messages[0].content. `text` is JSON."""
    path, above = "", list[tuple[str, bytes, int, int]]()  # of each value around this one: path, kind, start, index
    key = False  # the next string is one
    for token in _TOKEN.finditer(text):
        start, end = token.span(1)
        mark = text[start : start + 1]
        if mark in b"{[":
            above.append((path, mark, start, 0))
            key = mark == b"{"
            path = f"{path}[0]" if mark == b"[" else path
        elif mark in b"}]":
            path, _, began, _ = above.pop()
            if wanted(path):
                yield path, began, end
            key = False
        elif mark == b",":
            around, kind, began, index = above.pop()
            above.append((around, kind, began, index + 1))
            key = kind == b"{"
            path = around if key else f"{around}[{index + 1}]"
        elif key and mark == b'"':
            name, around = _ANY.decode(text[start:end]), above[-1][0]
            path, key = (f"{around}.{name}" if around else name), False
        elif mark != b":" and wanted(path):
            yield path, start, end


def replaced(
    text: bytes, changes: Mapping[str, tuple[str, str]], *, without: Mapping[str, bytes] | None = None
) -> bytes:
    """`text` with each string at a path, that is now the first, made the second; values at `without` as it says.

    Raises Moved unless every one of `changes` stands there exactly once: two paths may read alike, and a key that
    stands twice has two values.
    """
    others = without or {}
    pieces: list[bytes] = []
    at, done = 0, 0
    for path, start, end in sorted(
        places(text, lambda path: path in changes or path in others), key=lambda one: one[1]
    ):
        if path in changes:
            before, after = changes[path]
            if text[start : start + 1] != b'"' or _ANY.decode(text[start:end]) != before:
                raise Moved(f"{path} is not what was read there")
            new = msgspec.json.encode(after)
            done += 1
        else:
            new = others[path]
        if start < at:
            raise Moved(f"{path} stands within another value that is changed")
        pieces += (text[at:start], new)
        at = end
    if done != len(changes):
        raise Moved(f"{len(changes) - done} of {len(changes)} texts that are to be changed stand elsewhere")
    pieces.append(text[at:])
    return b"".join(pieces)


def strings(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, with its path. Without recursion: it may be deep."""
    todo = [(path, value)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, str):
            if value:
                yield path, value
        elif isinstance(value, list):
            todo += [(f"{path}[{at}]", one) for at, one in enumerate(value)][::-1]
        elif isinstance(value, dict):
            todo += [(f"{path}.{key}" if path else key, one) for key, one in value.items()][::-1]
