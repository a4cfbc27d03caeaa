"""Where may a text be cut, so that no finding lies across the cut? Units: words, and numbers written in groups.

Whatever is found lies within one unit and depends on nothing but it and the characters before it. Where a unit ends is
known from the first character of the next. So a text that streams by can be let go unit by unit, and what is found is
the same however it was cut into pieces: it is the same function of the same units.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from tidegate.core.call import Call
from tidegate.core.guard import Finding, Part, Passed
from tidegate.stages.guardrails.patterns import in_characters

BEFORE = 64  # characters before a unit that its meaning may depend on
LONGEST = 65_536  # characters of a unit: of a longer one nobody says what it is
LONGEST_GROUPS = 1_024  # a number is not as long as that, however it is grouped
OFF_THE_LOOP = 20_000  # characters that are looked at in a thread

# What stands in no finding: blanks, quotes, brackets, and the scripts that are written without blanks.
_BREAKS = r"\s\"'`<>{}\[\],;|\\\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef"
_WORD = re.compile(f"[^{_BREAKS}]+")
_BREAK = re.compile(f"[{_BREAKS}]")
_MONTH = re.compile(r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?")
_GLUES = (" ", ", ")


class Seen(Protocol):
    """What a guard remembers of one text. `shortest`: characters of a unit that there can be anything in."""

    shortest: int

    def scan(self, unit: str, before: str) -> list[Finding]:
        """What is in `unit`, in order, not overlapping; `before`: what stands before it."""


class Unit(NamedTuple):
    start: int
    end: int


class Overlong(ValueError):
    """A unit is longer than anybody looks at."""


def _may_go_on(word: str) -> bool:
    last = word[-1]
    return (
        "0" <= last <= "9" or last == ")" or (len(word) <= 9 and (word.isupper() or _MONTH.fullmatch(word) is not None))
    )


def _goes_on(word: str, gap: str, first: str) -> bool:
    """Whether what begins with `first`, after `gap`, belongs to the same number, date or account as `word`."""
    digit = "0" <= first <= "9"
    if gap == ", ":
        return digit and "0" <= word[-1] <= "9"
    if gap != " " or not _may_go_on(word):
        return False
    if "0" <= word[-1] <= "9" or word[-1] == ")":
        return digit or first in "(+-/." or "A" <= first <= "Z"
    return digit


def _joined(text: str, at: int) -> Iterator[tuple[int, int, int]]:
    """Of each unit from `at` on, where one begins: where it begins, where its last word does, and where it ends."""
    start = word_start = end = -1
    for word in _WORD.finditer(text, at):
        first = word.start()
        if start < 0:
            start = first
        elif end - start > LONGEST_GROUPS or not _goes_on(text[word_start:end], text[end:first], text[first]):
            yield start, word_start, end
            start = first
        word_start, end = first, word.end()
    if start >= 0:
        yield start, word_start, end


def units(text: str, *, ended: bool) -> tuple[list[Unit], int]:
    """Those that are complete, and where the first that is not begins. Raises Overlong."""
    found: list[Unit] = []
    start = word_start = end = -1
    for start, word_start, end in _joined(text, 0):  # noqa: B007 the last one's
        found.append(Unit(start, end))
    if start < 0:
        return found, len(text)
    if end - start > LONGEST:
        raise Overlong(f"{end - start} characters without a blank; at most {LONGEST} can be looked at")
    gap = text[end:]
    if ended or (gap and not (any(one.startswith(gap) for one in _GLUES) and _may_go_on(text[word_start:end]))):
        return found, len(text)
    found.pop()
    return found, start


def around(text: str, places: Iterable[tuple[int, int]]) -> Iterator[Unit]:
    """Those units of a whole text that have something of `places` in them, which come in order.

    Most of a text is of no interest, and is not cut up for it.
    """
    done = 0  # where a unit ended, or the text begins
    for first, last in places:
        if last <= done:
            continue
        for start, _, end in _joined(text, _begins(text, max(first, done), done)):
            if start >= last:
                break
            done = end
            if end > first:
                yield Unit(start, end)
            if end >= last:
                break


def _begins(text: str, at: int, least: int) -> int:
    """Where the unit begins that has the character at `at`, or the next one; not before `least`, where one ended."""
    start = _word_before(text, at + 1, least)
    if start < 0 or _BREAK.match(text, at):
        following = _WORD.search(text, at)
        if following is None:
            return len(text)
        start = following.start()
    while True:
        gap = ", " if text[start - 2 : start] == ", " else " "
        end = start - len(gap)
        if end <= least or text[end:start] != gap or _BREAK.match(text[end - 1]):
            return start
        before = _word_before(text, end, least)
        if not _goes_on(text[before:end], gap, text[start]):
            return start
        start = before


def _word_before(text: str, end: int, least: int) -> int:
    """Where the last word of what stands before `end` begins; -1 where there is none since the last blank."""
    start = -1
    for word in _WORD.finditer(text, max(text.rfind(" ", least, end) + 1, least), end):
        start = word.start()
    return start


def is_one_word(text: str) -> bool:
    """Whether it always lies within one unit."""
    return _WORD.fullmatch(text) is not None


class UnitWatch:
    """A text that streams by, unit by unit."""

    __slots__ = ("_before", "_held", "_in_word", "_pieces", "_seen", "_size")

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._before = ""
        self._held = ""
        self._pieces: list[str] = []  # more of a word that has not ended
        self._size = 0
        self._in_word = False

    def feed(self, text: str) -> Passed:
        if self._in_word and _BREAK.search(text) is None:
            self._pieces.append(text)
            self._size += len(text)
            if self._size > LONGEST:
                raise Overlong(f"{self._size} characters without a blank; at most {LONGEST} can be looked at")
            return Passed("")
        return self._pass(text, ended=False)

    def end(self) -> Passed:
        return self._pass("", ended=True)

    def _pass(self, text: str, *, ended: bool) -> Passed:
        text = "".join((self._held, *self._pieces, text))
        self._pieces = []
        complete, cut = units(text, ended=ended)
        findings = tuple(found(self._seen, text, complete, self._before))
        self._held = text[cut:]
        self._size = len(self._held)
        self._in_word = bool(self._held) and _BREAK.match(self._held[-1]) is None
        self._before = (self._before + text[:cut])[-BEFORE:]
        return Passed(text[:cut], findings)


def found(seen: Seen, text: str, complete: Iterable[Unit], before: str = "") -> Iterator[Finding]:
    shortest = seen.shortest
    for start, end in complete:
        if end - start < shortest:
            continue
        near = text[max(start - BEFORE, 0) : start]
        if len(near) < BEFORE and before:
            near = (before + near)[-BEFORE:]
        for one in seen.scan(text[start:end], near):
            yield one._replace(start=one.start + start, end=one.end + start)


class UnitGuard(ABC):
    """A guard whose findings lie within units."""

    fingerprint: str

    @abstractmethod
    def hints(self, text: bytes) -> Sequence[tuple[int, int]]:
        """Cheaply, where in `text` there can be anything at all: a unit that has nothing of it has no finding."""

    @abstractmethod
    def begin(self) -> Seen: ...

    def look(self, text: str) -> list[Finding]:
        """All of a text at once."""
        data = text.encode("utf-8", "surrogatepass")
        places = self.hints(data)
        return list(found(self.begin(), text, around(text, in_characters(data, sorted(places))))) if places else []

    async def check(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        if sum(len(part.text) for part in parts) > OFF_THE_LOOP:
            return await asyncio.get_running_loop().run_in_executor(None, self._all, parts)
        return self._all(parts)

    def _all(self, parts: Sequence[Part]) -> list[list[Finding]]:
        return [self.look(part.text) for part in parts]

    def watch(self) -> UnitWatch:
        return UnitWatch(self.begin())
