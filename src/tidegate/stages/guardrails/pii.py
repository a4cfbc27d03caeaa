"""Whose is it? Personal data that has a form, known by its checksum or by what stands before it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.guard import Finding
from tidegate.stages.guardrails.patterns import Patterns, characters
from tidegate.stages.guardrails.personal import KINDS, Kind
from tidegate.stages.guardrails.units import BEFORE, UnitGuard

TELLING = b"0123456789@"  # nothing that has a form is without one of these
NEAR = 4 * 80  # bytes in which a word can be that says what follows: 48 characters, and its own


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Personal data that has a form. Names and street addresses have none, and are not found.

    kinds: what is looked for, such as email, card, iban, phone, ip, us_ssn; none named: everything.
    without: what is not.
    """

    kinds: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


class Pii(UnitGuard):
    """Two sets of forms, and one of the words before them: most texts have numbers, and few say what they are."""

    shortest = 3

    def __init__(self, config: Config, known: Sequence[str] = ()) -> None:
        names = [kind.name for kind in KINDS]
        for field, given in (("kinds", config.kinds), ("without", config.without)):
            for name in given:
                if name not in names:
                    raise ConfigError(f"{field}: no kind {name!r}; there are: {', '.join(dict.fromkeys(names))}")
        wanted = config.kinds or names
        self._kinds: list[Kind] = [one for one in KINDS if one.name in wanted and one.name not in config.without]
        alone = [kind.pattern if kind.alone is None else kind.alone for kind in self._kinds]
        told = [kind.alone is not None and bool(kind.context) for kind in self._kinds]
        self._alone = Patterns(alone, loose=True, apart=[at for at, pattern in enumerate(alone) if not pattern])
        self._told = Patterns(
            [kind.pattern for kind in self._kinds], loose=True, apart=[at for at, one in enumerate(told) if not one]
        )
        self._words = Patterns([_said(kind.context) for kind in self._kinds], loose=True)
        self._before = Patterns([f"{_said(kind.context)}.{{0,48}}$" for kind in self._kinds])
        said = (self._told.fingerprint, self._alone.fingerprint, self._before.fingerprint)
        self.fingerprint = hashlib.sha256("\0".join(said).encode()).hexdigest()[:16]

    def hints(self, text: bytes) -> Sequence[tuple[int, int]]:
        if len(text.translate(None, TELLING)) == len(text):
            return ()
        found = [place for number in self._alone.which(text) for place in self._alone.finds(number, text)]
        words = self._words.which(text)
        for number in self._told.which(text) if words else ():
            if number in words:
                found += [place for place in self._told.finds(number, text) if self._near(number, text, place[0])]
        return found

    def _near(self, number: int, text: bytes, at: int) -> bool:
        """Whether there may be a word of a kind's in what stands before it, and within what it is grouped with."""
        return number in self._words.which(text[max(at - NEAR, 0) : at])

    def begin(self) -> Pii:
        return self  # it remembers nothing

    def scan(self, unit: str, before: str) -> list[Finding]:
        if _TELLING.search(unit) is None:
            return []
        text = unit.encode("utf-8", "surrogatepass")
        which, told = set(self._alone.which(text)), self._told.which(text)
        if not which and not told:
            return []
        if len(before) == BEFORE:  # of a word that is not seen whole: "phone" may be the end of "microphone"
            before = _PART.sub("", before)
        ahead = before.encode("utf-8", "surrogatepass")
        words = self._words.which(ahead + text)
        which.update(one for one in told if one in words)
        taken: list[Finding] = []
        for number in sorted(which):  # kinds are in order of how sure they are
            kind = self._kinds[number]
            for start, end in self._told.finds(number, text):
                near = number in words and number in self._before.which(ahead + text[:start])
                if not kind.holds(text[start:end].decode("utf-8", "replace"), near):
                    continue
                first, last = characters(text, start, end)
                if all(last <= one.start or one.end <= first for one in taken):
                    taken.append(Finding(kind.name, first, last))
        return sorted(taken, key=lambda one: one.start)


_TELLING = re.compile(f"[{TELLING.decode()}]")
_PART = re.compile(r"\A[0-9A-Za-z_]+")


def _said(words: str) -> str:
    return rf"(?is)\b(?:{words})\b" if words else "$never^"
