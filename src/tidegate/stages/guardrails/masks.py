"""What takes the place of what was found? Its kind, a keyed hash of it, or a placeholder that can be undone.

Placeholders look like [[EMAIL_1]]: numbered by first appearance, equal values alike, so that the same question of two
people is the same text. What a caller typed and only looks like one is escaped first, and comes back as it was.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence

from tidegate.core.guard import Action, Finding

LIKE = re.compile(r"\[\[=*[A-Z][A-Z0-9_]{0,40}_\d{1,6}\]\]")
LONGEST = 64  # characters of a placeholder; of one that was escaped more often than that nothing is made
# What may still become one.
BEGUN = re.compile(r"\[(?:\[(?:=*(?:[A-Z][A-Z0-9_]*\]?)?)?)?\Z")


class Masks:
    """The key of hashes: of this process, so that a hash says which values are equal today and nothing else."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def hashed(self, rule: str, value: str) -> str:
        digest = hmac.digest(self._key, f"{rule}\0{value}".encode("utf-8", "surrogatepass"), "sha256")
        return f"[{label(rule)}:{digest.hex()[:10]}]"


class Placeholders:
    """Of one call."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}  # by placeholder
        self._given: dict[tuple[str, str], str] = {}
        self._count: dict[str, int] = {}

    def escaped(self, text: str) -> str:
        return LIKE.sub(self._escape, text) if "[[" in text else text

    def _escape(self, typed: re.Match[str]) -> str:
        text = f"[[={typed[0][2:]}"
        self.values[text] = typed[0]
        return text

    def of(self, rule: str, value: str) -> str:
        kind = label(rule)
        placeholder = self._given.get((kind, value))
        if placeholder is None:
            number = self._count[kind] = self._count.get(kind, 0) + 1
            placeholder = self._given[kind, value] = f"[[{kind}_{number}]]"
            self.values[placeholder] = value
        return placeholder


def label(rule: str) -> str:
    """us_ssn as US_SSN."""
    return re.sub(r"[^A-Z0-9]+", "_", rule.upper()).strip("_")[:40] or "X"


def masked(
    text: str, findings: Sequence[Finding], action: Action, masks: Masks, hidden: Placeholders | None = None
) -> str:
    """`text` with each finding replaced."""
    pieces: list[str] = []
    at = 0
    for finding in findings:
        value = text[finding.start : finding.end]
        if action == "placeholder" and hidden is not None and finding.instead is None:
            instead = hidden.of(finding.rule, value)
        elif action == "hash" and finding.instead is None:
            instead = masks.hashed(finding.rule, value)
        else:
            instead = f"[{label(finding.rule)}]" if finding.instead is None else finding.instead
        pieces += (text[at : finding.start], instead)
        at = finding.end
    pieces.append(text[at:])
    return "".join(pieces)


class Restoring:
    """Text that streams by, with values in place of placeholders; it waits for one that may still be whole."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        begun = BEGUN.search(text, max(len(text) - LONGEST, 0))
        at = begun.start() if begun else len(text)
        self._held = text[at:]
        return self._restored(text[:at])

    def end(self) -> str:
        held, self._held = self._held, ""
        return self._restored(held)

    def _restored(self, text: str) -> str:
        return LIKE.sub(lambda found: self._values.get(found[0], found[0]), text) if "[[" in text else text
