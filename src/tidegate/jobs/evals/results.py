"""What did a run find? Every answer with every score, in one file of JSON lines that grows as answers come.

The first line is a `Run`, each later one an `Answer`. A line that a crash cut off is not there, and its answer is
missing: whoever reads a run is told which of its cases × repeats there are none of.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidegate.core.scores import Outcome as Outcome
from tidegate.core.scores import Score as Score


class Judgment(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a model said to a scorer, word by word, so that a replay reads it again."""

    once: str  # which question of which scorer
    asked: str  # a digest of all that was asked
    text: str = ""
    error: str = ""
    why: str = ""
    refused: bool = False


class Answer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One case, asked once."""

    case: str
    repeat: int  # from 0
    text: str = ""
    error: str = ""  # code of why there is no answer
    request_id: str = ""
    latency_ms: float = 0.0
    cost_nusd: int = 0  # of the answer alone, as its row says
    judging_nusd: int = 0  # of all judgments of it
    unpriced: bool = False  # some of that has a price that nobody knows
    guards: tuple[str, ...] = ()  # what they ruled: pii:mask
    tags: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    asked: str = ""  # a digest of what was asked: an answer to something else is not replayed
    judgments: tuple[Judgment, ...] = ()

    @property
    def passed(self) -> bool | None:
        """None: nobody who may say so has said. An answer that there is none of has failed, but where a scorer has
        looked at just that."""
        if self.error and not self.scores:
            return False
        said = [score.passed for score in self.scores if score.passed is not None and not score.advisory]
        return all(said) if said else None


class Run(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What was asked of whom."""

    id: str
    suite: str  # its name
    suite_hash: str  # of all that makes an answer or a score: cases, scorers, rubrics
    subject: str  # route:fast, prompt:greet@production:fast, function:app.bot:answer, stored:FILE
    cases: tuple[str, ...]  # ids, in order
    repeats: int = 1
    started: str = ""  # ISO 8601, UTC


class Results(msgspec.Struct, frozen=True):
    """A run as far as it came."""

    run: Run
    answers: tuple[Answer, ...]

    @property
    def missing(self) -> list[tuple[str, int]]:
        there = {(answer.case, answer.repeat) for answer in self.answers}
        wanted = ((case, repeat) for case in self.run.cases for repeat in range(self.run.repeats))
        return [each for each in wanted if each not in there]


def read(path: Path) -> Results:
    """Raises ValueError for a file that is no run, naming the line."""
    lines = _lines(path)
    try:
        run = msgspec.json.decode(next(lines, b""), type=Run)
    except msgspec.DecodeError as wrong:
        raise ValueError(f"{path}: line 1 is no run of an evaluation ({wrong})") from None
    answers: dict[tuple[str, int], Answer] = {}
    for number, line in enumerate(lines, 2):
        try:
            answer = msgspec.json.decode(line, type=Answer)
        except msgspec.DecodeError as wrong:
            raise ValueError(f"{path}: line {number} is no answer ({wrong})") from None
        answers.setdefault((answer.case, answer.repeat), answer)  # who resumes may write one twice: the first was paid
    return Results(run, tuple(answers.values()))


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines only: what a crash cut off was never said."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line
