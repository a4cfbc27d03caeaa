"""Was the answer any good? What people, agents and judges say of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tidegate.core.usage import DIMENSIONS

if TYPE_CHECKING:
    from tidegate.core.ports.books import Closed

GOOD = 0.5  # a score that is higher is a good one, one that is lower a bad one

# By what opinions are told apart, and what is summed. Each counts in the hour in which its call began.
OPINION_DIMENSIONS = (*DIMENSIONS, "source")
OPINION_SUMS = ("opinions", "scored", "score_milli", "good", "bad", "tasks", "completed")


class Opinion(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one call. Who says something under the same id again says it anew."""

    id: str
    request_id: str
    at_ms: int
    source: str  # user | agent | judge
    score: float | None = None  # 0 to 1; a thumb is one of the two
    label: str | None = None
    task_completed: bool | None = None
    comment: str | None = None
    correction: str | None = None  # what should have been said


def dimensions(row: Closed, opinion: Opinion) -> tuple[str | None, ...]:
    """By OPINION_DIMENSIONS."""
    return (
        *(row.organisation_id, row.team_id, row.user_id, row.key_id, row.user, row.route, row.target),
        *(row.operation, row.outcome, row.kind, row.prompt, row.cache, opinion.source),
    )


def sums(opinion: Opinion) -> tuple[int, ...]:
    """By OPINION_SUMS."""
    score = opinion.score
    good = (0, 0) if score is None else (int(score > GOOD), int(score < GOOD))
    task = opinion.task_completed
    scored = (0, 0) if score is None else (1, round(score * 1000))
    return (1, *scored, *good, int(task is not None), int(task is True))
