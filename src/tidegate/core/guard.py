"""What does a guard look at, what does it find, and what is a verdict?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

Direction = Literal["input", "output"]
Ruling = Literal["pass", "flag", "mask", "block"]
# What is done about a finding. The last three replace it: by its kind, by a keyed hash, or by a placeholder that the
# caller gets its own value back for.
Action = Literal["flag", "block", "mask", "hash", "placeholder"]

RULING: dict[Action, Ruling] = {"flag": "flag", "block": "block", "mask": "mask", "hash": "mask", "placeholder": "mask"}


class Part(NamedTuple):
    """One text of a request: where it stands in the body, and who says it."""

    path: str  # messages[2].content
    role: str  # system | developer | user | assistant | tool (a result, or a definition) | document
    text: str


class Finding(NamedTuple):
    """Something in one text, by character. `instead`: what takes its place when it is masked; None: its kind."""

    rule: str
    start: int
    end: int
    score: float = 1.0
    instead: str | None = None


class Passed(NamedTuple):
    """Text that streams by and can no longer become part of a finding, and the findings in it."""

    text: str
    findings: tuple[Finding, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """What one guard made of one direction of a call. There is one only when the guard has looked at all of it."""

    guard: str
    direction: Direction
    verdict: Ruling
    rules: tuple[str, ...] = ()  # what was found, each once
    channels: tuple[str, ...] = ()  # where: roles of a request, kinds of text of a reply
    count: int = 0  # of findings
    score: float | None = None  # the highest, of a guard that has scores


class Guarding(msgspec.Struct, frozen=True):
    """What guards did with a call.

    `by`: which, set how: an answer is not shared across it. `withheld`: the caller's own values, by the placeholders
    that went out for them.
    """

    by: str = ""
    verdicts: tuple[Verdict, ...] = ()
    withheld: Mapping[str, str] = {}

    def adding(self, *verdicts: Verdict) -> Guarding:
        return msgspec.structs.replace(self, verdicts=(*self.verdicts, *verdicts)) if verdicts else self

    @property
    def answered(self) -> tuple[Verdict, ...]:
        """Of the answer: whoever else is given the same one is told the same."""
        return tuple(one for one in self.verdicts if one.direction == "output")


UNGUARDED = Guarding()


def verdict_of(
    guard: str, direction: Direction, action: Action, found: list[tuple[str, Finding]], *, scored: bool = False
) -> Verdict:
    """`found`: each finding, and the channel it was in."""
    if not found:
        return Verdict(guard, direction, "pass")
    return Verdict(
        guard,
        direction,
        RULING[action],
        tuple(dict.fromkeys(finding.rule for _, finding in found)),
        tuple(dict.fromkeys(channel for channel, _ in found)),
        len(found),
        round(max(finding.score for _, finding in found), 4) if scored else None,
    )


def said(verdicts: Sequence[Verdict]) -> str:
    """Verdicts on one line: pii=mask, secrets=pass; of a reply: pii.output=mask."""
    return ", ".join(f"{one.guard}{'.output' if one.direction == 'output' else ''}={one.verdict}" for one in verdicts)
