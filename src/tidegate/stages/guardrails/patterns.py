"""Which of many patterns are in a text? RE2's sets: linear in the text, whatever the patterns are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import re2

from tidegate.core.errors import ConfigError

MEMORY = 256 * 1024 * 1024  # bytes a set may grow to; the default of 8 MB fails at a hundred bounded repeats


def _options() -> Any:
    options = re2.Options()
    options.max_mem = MEMORY
    options.log_errors = False
    return options


def loosely(pattern: str) -> str:
    """Wherever `pattern` matches, this does too, without counting how often at most.

    A set runs through all of its patterns at once, and what is counted makes states of it that no text shares with
    another: on base64 each character cost 0.2 ms.
    """
    return _AT_MOST.sub(r"{\1,}", pattern)


_AT_MOST = re.compile(r"(?<!\\p)\{(\d+),\d+\}")


class Patterns:
    """Patterns of RE2, by number. They are asked for bytes: text may hold halves of surrogate pairs.

    `loose`: `which` may name some that are not there; whoever asks looks with `finds`. `apart`: those that it never
    names.
    """

    def __init__(self, patterns: Sequence[str], *, loose: bool = False, apart: Collection[int] = ()) -> None:
        options = _options()
        self._set = re2.Set.SearchSet(options)
        self._one: list[tuple[Any, int]] = []
        self._numbers: list[int] = []  # of those in the set
        for number, pattern in enumerate(patterns):
            try:
                self._one.append(_grouped(re2.compile(pattern.encode(), options)))
                if number not in apart:
                    self._set.Add((loosely(pattern) if loose else pattern).encode())
                    self._numbers.append(number)
            except re2.error as wrong:
                raise _none(pattern, wrong) from None
        if self._numbers:
            self._set.Compile()
        self.fingerprint = _digest(patterns)

    def which(self, text: bytes) -> Sequence[int]:
        """The numbers of those that are in `text`."""
        found = self._set.Match(text) if self._numbers else None
        if not found:
            return ()
        return found if len(self._numbers) == len(self._one) else [self._numbers[one] for one in found]

    def finds(self, number: int, text: bytes) -> Iterator[tuple[int, int]]:
        """Where pattern `number` is in `text`: its first group, if it has one, by byte."""
        pattern, group = self._one[number]
        return _spans(pattern, group, text)


class Sentences:
    """Patterns of many words, on text in small letters. `which` may name some that are not there.

    It looks for what each must have letter by letter. A set of the patterns themselves makes states for whatever was
    said so far beside whatever is said now, and a text that nobody has seen costs ten times what it does again.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        options = _options()
        self._filter = re2.Filter()
        for pattern in patterns:
            try:
                self._filter.Add(pattern.encode(), options)
            except re2.error as wrong:
                raise _none(pattern, wrong) from None
        self._filter.Compile()
        self._one = [_grouped(self._filter.re(number)) for number in range(len(patterns))]
        self.fingerprint = _digest(patterns)

    def which(self, text: bytes) -> Sequence[int]:
        """The numbers of those that may be in `text`."""
        return self._filter.Match(text, potential=True) or ()

    def finds(self, number: int, text: bytes) -> Iterator[tuple[int, int]]:
        pattern, group = self._one[number]
        return _spans(pattern, group, text)


def _grouped(pattern: Any) -> tuple[Any, int]:
    """A pattern, and which of its groups is what it finds."""
    return pattern, 1 if pattern.groups else 0


def _spans(pattern: Any, group: int, text: bytes) -> Iterator[tuple[int, int]]:
    for found in pattern.finditer(text):
        yield found.span(group)


def _none(pattern: str, wrong: re2.error) -> ConfigError:
    said = wrong.args[0].decode() if isinstance(wrong.args[0], bytes) else wrong.args[0]
    return ConfigError(f"the pattern {pattern!r} is none that RE2 takes: {said}")


def _digest(patterns: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(patterns).encode()).hexdigest()[:16]


def characters(text: bytes, start: int, end: int) -> tuple[int, int]:
    """A span of bytes as one of characters."""
    if text.isascii():
        return start, end
    first = len(text[:start].decode("utf-8", "surrogatepass"))
    return first, first + len(text[start:end].decode("utf-8", "surrogatepass"))


def in_characters(text: bytes, places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same for many, in order of their beginnings, at the price of one."""
    if text.isascii():
        yield from places
        return
    at = said = 0
    for start, end in places:
        said += len(text[at:start].decode("utf-8", "surrogatepass"))
        at = start
        yield said, said + len(text[start:end].decode("utf-8", "surrogatepass"))
