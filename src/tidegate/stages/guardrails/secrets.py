"""What opens a door? Keys and tokens of vendors by their form, others by the words before them, ours by heart."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence

import ahocorasick_rs
import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.guard import Finding
from tidegate.core.values import Secret
from tidegate.stages.guardrails.patterns import Patterns, characters
from tidegate.stages.guardrails.tokens import FORMS, Form
from tidegate.stages.guardrails.units import BEFORE, UnitGuard, is_one_word

SHORTEST_KNOWN = 8  # characters: a shorter one would be found in ordinary words


LONGEST_LOT = 121  # characters; what is longer and has no form is data
SHORTEST_LOT = 10  # what has no form of its own is known by its digits
# Nearly every text would have one of these, so no set looks for them. Two take a word before them, one need not.
NAMED = [number for number, form in enumerate(FORMS) if form.named]
DRAWN = [number for number, form in enumerate(FORMS) if form.alone]
DIGITS = b"0123456789"
_DIGIT = re.compile(rb"[0-9]")
_LETTER = re.compile(rb"[A-Za-z\x80-\xff]")


# Where there can be one: a word that says what follows; what might be drawn by lot; what has a digit and no blank.
_WORDS = Patterns(
    [r"(?i)key|token|secret|passw|pwd|passphrase|credential|auth|bearer|basic|api|access|client|private|session|-u"]
)
_LOTS = Patterns([r"[A-Za-z0-9][A-Za-z0-9_\-]{15,}"])
_X = r"[^\x00-\x20\"'`<>{}\[\],;|\\]*"
_NUMBERED = Patterns([f"{_X}[0-9]{_X}"])


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys, tokens and passwords, in code and in prose.

    canaries: texts that must leave by no way, such as a word that stands in a system prompt and nowhere else.
    house: the keys of the providers, which must leave by no way either.
    """

    canaries: tuple[Secret, ...] = ()
    house: bool = True


class Secrets(UnitGuard):
    """`known`: secrets that the house itself has."""

    def __init__(self, config: Config, known: Sequence[str] = ()) -> None:
        exact = [one.value for one in config.canaries]
        for at, one in enumerate(exact):
            if len(one) < SHORTEST_KNOWN or not is_one_word(one):
                raise ConfigError(
                    f"canaries[{at}]: at least {SHORTEST_KNOWN} letters and digits, without blanks or quotes"
                )
        if config.house:
            exact += [one for one in known if len(one) >= SHORTEST_KNOWN and is_one_word(one)]
        self.known = sorted(set(exact))
        self._exact = ahocorasick_rs.BytesAhoCorasick([one.encode() for one in self.known]) if exact else None
        self._patterns = Patterns([form.pattern for form in FORMS], loose=True, apart=(*NAMED, *DRAWN))
        digest = hashlib.sha256("\0".join((self._patterns.fingerprint, *self.known)).encode("utf-8", "surrogatepass"))
        self.fingerprint = digest.hexdigest()[:16]

    def hints(self, text: bytes) -> Sequence[tuple[int, int]]:
        if b"KEY-----" in text:
            return [(0, len(text))]  # where a private key begins and ends is told unit by unit
        found = [place for number in self._patterns.which(text) for place in self._patterns.finds(number, text)]
        if self._exact is not None:
            found += [(start, end) for _, start, end in self._exact.find_matches_as_indexes(text, overlapping=True)]
        if len(text.translate(None, DIGITS)) == len(text):
            return found
        if _LOTS.which(text):
            found += [place for place in _LOTS.finds(0, text) if _all_lots(text[slice(*place)].decode())]
        if _WORDS.which(text):
            found += [place for place in _NUMBERED.finds(0, text) if _may_be_named(text, *place)]
        return found

    def begin(self) -> Seen:
        return Seen(self._patterns, self._exact)


class Seen:
    """One text: it remembers whether it is within a private key."""

    shortest = SHORTEST_KNOWN

    def __init__(self, patterns: Patterns, exact: ahocorasick_rs.BytesAhoCorasick | None) -> None:
        self._patterns = patterns
        self._exact = exact
        self._in_key = False

    def scan(self, unit: str, before: str) -> list[Finding]:
        if self._in_key:
            return self._within_key(unit)
        if unit.endswith("KEY-----") and _KEY_BEGINS.search(f"{before}{unit}"):
            self._in_key = True
            return []
        text = unit.encode("utf-8", "surrogatepass")
        taken: list[Finding] = []
        if self._exact is not None:
            for _, start, end in self._exact.find_matches_as_indexes(text, overlapping=False):
                taken.append(Finding("known", *characters(text, start, end)))
        which = self._patterns.which(text)
        if len(unit) >= SHORTEST_LOT and _DIGIT.search(text):
            which = [*which, *DRAWN]
            if _WORDS.which(f"{before}{unit}".encode("utf-8", "surrogatepass")):
                which += NAMED
        for number in sorted(which):
            form = FORMS[number]
            for start, end in self._patterns.finds(number, text):
                if _holds(form, text[start:end].decode("utf-8", "replace"), unit, before, text[:start]):
                    first, last = characters(text, start, end)
                    if all(last <= one.start or one.end <= first for one in taken):
                        taken.append(Finding(form.name, first, last))
        return sorted(taken, key=lambda one: one.start)

    def _within_key(self, unit: str) -> list[Finding]:
        if "-----END" in unit:
            self._in_key = False
            return []
        return [Finding("private_key", 0, len(unit))] if len(unit) >= 16 else []


_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----\Z")
_NAMED = re.compile(
    r"(?i)(?:key|token|secret|passw(?:or)?d|pwd|passphrase|credential|auth|bearer|api|access|client|private|session)"
    r"[\w.\- ]{0,24}[\"'`\])]{0,2}\s{0,3}(?::{1,3}=|\?=|[.|&+]?=>?|:|,|\bis\b|\bare\b|\bwas\b|->|>)?"
    r"\s{0,4}[\"'`(\[<]{0,2}\Z"
)
_STRAIGHT = re.compile(r"(?i)(?:bearer|basic|token)\s+\Z|(?:--user|-u)[ =]?[\"']?\Z")
_STAND_IN = re.compile(
    r"(?i)x{4,}|\*{3,}|\.{3,}|0{8,}|abcdef|example|placeholder|changeme|your[_\-]?|sample|dummy|redacted|\$\{|\{\{|<[a-z]|^%"
)
_PUBLIC = re.compile(
    r"(?i)public[_\- ]?(?:key|token)|csrf|(?:key|credentials?|secrets?)_?id|key_?vault|keyboard|monkey|author"
    r"|accessor|accessib"
)


def _all_lots(value: str) -> bool:
    """Letters and digits mixed all through; not a hash, an id with dashes, a name with a number, or a date."""
    if len(value) > LONGEST_LOT or _HASH.fullmatch(value):
        return False
    runs = _RUNS.findall(value)  # changes between letters and digits
    digits = sum(one.isdigit() for one in value)
    return digits >= 4 and len(value) - digits >= 6 and len(runs) >= max(6, len(value) // 5) and _random(value)


def _may_be_named(text: bytes, start: int, end: int) -> bool:
    """Whether there is a word before this run of characters, or one within that says what the rest is."""
    run = text[start:end]
    if len(run) < (SHORTEST_LOT if _LETTER.search(run) else 14):
        return False
    if b"=" in run or b":" in run or _WORDS.which(run):
        return True
    near = text[max(start - 8 * BEFORE, 0) : start].decode("utf-8", "replace")[-2 * BEFORE :]
    return bool(_STRAIGHT.search(near) or _NAMED.search(near))


_HASH = re.compile(r"[0-9a-f\-]+|[0-9A-F\-]+")
_RUNS = re.compile(r"[A-Za-z]+|[0-9]+")
_LETTERS = re.compile(r"[a-z]{6,}|[A-Z][a-z]{3,}")
_SPOKEN = re.compile(r"[aeiou]")
_UNSPOKEN = re.compile(r"(?i)[bcdfghjklmnpqrstvwxz]{4}")


def _holds(form: Form, value: str, unit: str, before: str, ahead: bytes) -> bool:
    if form.entropy and entropy(value) < form.entropy:
        return False
    if form.stand_ins and (_STAND_IN.search(value) or len(set(value)) < 5):
        return False
    if form.alone:
        return _all_lots(value)
    if not form.named:
        return True
    near = (before + ahead[-BEFORE:].decode("utf-8", "replace"))[-2 * BEFORE :]
    if _PUBLIC.search(near[-48:]):
        return False
    return bool(_STRAIGHT.search(near) or _NAMED.search(near)) and _random(value)


def _random(value: str) -> bool:
    """Whether it looks drawn by lot: digits among its letters, and no words."""
    digits = sum(one.isdigit() for one in value)
    letters = sum(one.isalpha() for one in value)
    if not digits or (letters == 0 and digits < 14):
        return False
    words = [one for one in _LETTERS.findall(value) if _SPOKEN.search(one) and not _UNSPOKEN.search(one)]
    return sum(map(len, words)) < 0.6 * len(value)


def entropy(text: str) -> float:
    """Bits per character, as often as each is there."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values()) if size else 0.0
