"""What is worth another try, and when."""

from __future__ import annotations

import pytest

from tidegate.core.errors import (
    BadRequest,
    Blocked,
    BudgetSpent,
    LimitReached,
    ModelNotFound,
    ShuttingDown,
    StoreDown,
    TidegateError,
    UpstreamFailed,
    UpstreamLimited,
)
from tidegate.jobs.batches.tries import Again, again


@pytest.mark.parametrize(
    ("error", "tries", "beside", "found"),
    [
        (BadRequest("x"), 1, 0, None),
        (ModelNotFound("x"), 1, 5, None),
        (Blocked("x"), 1, 0, None),
        (UpstreamFailed("x"), 1, 0, Again(1.0)),
        (UpstreamFailed("x"), 3, 0, Again(4.0)),
        (UpstreamFailed("x"), 5, 0, None),
        (UpstreamLimited("x", retry_after_s=20), 1, 0, Again(20.0, all=True)),
        (UpstreamLimited("x", retry_after_s=9_000), 1, 0, Again(300.0, all=True)),
        (LimitReached("x", retry_after_s=30), 99, 0, Again(30.0, all=True, counted=False)),
        (LimitReached("none are allowed"), 1, 0, None),
        (BudgetSpent("x"), 1, 3, Again(1.0, all=True, counted=False)),
        (BudgetSpent("x"), 1, 0, None),
        (ShuttingDown("x"), 99, 0, Again(0.0, all=True, counted=False)),
        (StoreDown("x"), 99, 0, Again(5.0, all=True, counted=False)),
    ],
)
def test_what_is_worth_another_try(error: TidegateError, tries: int, beside: int, found: Again | None) -> None:
    assert again(error, tries, 5, beside) == found
