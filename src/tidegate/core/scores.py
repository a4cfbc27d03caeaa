"""What is asked in an evaluation, and what is made of the answer?"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Outcome = Literal["scored", "malformed", "refused", "failed"]


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something said before.

    content: the words.
    role: who says them.
    """

    content: str
    role: Literal["system", "user", "assistant"] = "user"


class Case(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """One thing to ask, and what is known of a good answer.

    id: what reports call it; each once.
    input: what the user says last.
    turns: what was said before it; {{name}} in them is a variable.
    variables: what {{name}} stands for in the suite's and the case's texts; {{input}} is one too.
    expected_elements: words that a good answer has.
    reference: a good answer.
    context: what an answer must be faithful to.
    tags: words to compare by.
    scorers: who looks at its answer, beside those of the suite, or in place of one of the same name.
    """

    id: str
    input: str = ""
    turns: tuple[Turn, ...] = ()
    variables: dict[str, Any] = {}
    expected_elements: tuple[str, ...] = ()
    reference: str = ""
    context: str = ""
    tags: tuple[str, ...] = ()
    scorers: tuple[dict[str, Any], ...] = ()


class Said(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What came of asking once."""

    text: str = ""
    error: str = ""  # code of why there is no answer
    why: str = ""  # the same in words
    refused: bool = False  # the model said, outside of its text, that it will not
    request_id: str = ""
    latency_ms: float = 0.0
    cost_nusd: int | None = 0  # None: nobody knows its price
    guards: tuple[str, ...] = ()  # what they ruled: pii:mask


class Score(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one scorer makes of one answer. Without a value unless the outcome is `scored`.

    malformed: a judge said something that is no verdict; refused: it would not judge; failed: the scorer itself could
    not run. None of them is ever a score.
    """

    scorer: str  # as the suite names it, for a rubric with the criterion: judge.accuracy
    outcome: Outcome = "scored"
    value: float | None = None  # higher is better; what checks and passes is 0 or 1, a rubric's criterion 1 to 10
    passed: bool | None = None  # None: it has no threshold
    advisory: bool = False  # by a judge that may not gate: it counts for nobody's exit code
    why: str = ""
    judge: str = ""  # model/hash of prompt and rubric, where a model judged
    scale: tuple[float, float] = (0.0, 1.0)  # the least and the most that a value may be
    orders: tuple[str, ...] = ()  # of two answers, which was better when each stood first: 1 (the answer), 2, tie
