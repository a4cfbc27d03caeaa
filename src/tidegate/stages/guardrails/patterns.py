"""Which of many patterns are in a text? RE2's sets: linear in the text, whatever the patterns are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import re2

from tidegate.core.errors import ConfigError

MEMORY = 256 * 1024 * 1024  # bytes a set may grow to; the default of 8 MB fails at a hundred bounded repeats


def _options() -> Any:
    options = re2.Options()
    options.max_mem = MEMORY
    options.log_errors = False
    return options


class Patterns:
    """Patterns of RE2, by number. They are asked for bytes: text may hold halves of surrogate pairs."""

    def __init__(self, patterns: Sequence[str]) -> None:
        options = _options()
        self._set = re2.Set.SearchSet(options)
        self._one: list[Any] = []
        for pattern in patterns:
            try:
                self._one.append(re2.compile(pattern.encode(), options))
                self._set.Add(pattern.encode())
            except re2.error as wrong:
                said = wrong.args[0].decode() if isinstance(wrong.args[0], bytes) else wrong.args[0]
                raise ConfigError(f"the pattern {pattern!r} is none that RE2 takes: {said}") from None
        if patterns:
            self._set.Compile()
        self.fingerprint = hashlib.sha256("\0".join(patterns).encode()).hexdigest()[:16]

    def which(self, text: bytes) -> Sequence[int]:
        """The numbers of those that are in `text`."""
        return self._set.Match(text) or () if self._one else ()

    def finds(self, number: int, text: bytes) -> Iterator[tuple[int, int]]:
        """Where pattern `number` is in `text`: its first group, if it has one, by byte."""
        pattern = self._one[number]
        group = 1 if pattern.groups else 0
        for found in pattern.finditer(text):
            yield found.span(group)


def characters(text: bytes, start: int, end: int) -> tuple[int, int]:
    """A span of bytes as one of characters."""
    if text.isascii():
        return start, end
    first = len(text[:start].decode("utf-8", "surrogatepass"))
    return first, first + len(text[start:end].decode("utf-8", "surrogatepass"))
