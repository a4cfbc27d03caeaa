"""What becomes of the calls of both arms?"""

from __future__ import annotations

from typing import Any, cast

import pytest

from tidegate.core.call import Call
from tidegate.core.errors import (
    BadRequest,
    Blocked,
    Forbidden,
    LimitReached,
    ModelNotFound,
    StoreDown,
    Unauthenticated,
    UpstreamFailed,
)
from tidegate.core.ports import Closed
from tidegate.telemetry.canary import outcome_of


class Ended:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


def row(outcome: str) -> Closed:
    fields: dict[str, Any] = {"id": "r", "at_ms": 0, "key_id": "k", "dialect": "openai", "operation": "chat"}
    return Closed(**fields, outcome=outcome, status=200, duration_us=1, overhead_us=1)


@pytest.mark.parametrize(
    ("error", "row", "outcome"),
    [
        (None, row("ok"), "ok"),
        (None, row("client_left"), None),
        (UpstreamFailed("x"), row("failed"), "failed"),
        (UpstreamFailed("x"), row("cut_off"), "failed"),
        (StoreDown("x"), None, "failed"),
        (ModelNotFound("x"), row("refused"), "refused"),
        (Forbidden("x"), row("refused"), "refused"),
        (Unauthenticated("x"), None, "refused"),
        (LimitReached("x"), row("refused"), "refused"),
        (Blocked("x"), row("refused"), "refused"),
        (BadRequest("x"), row("refused"), None),  # a client got it wrong, whatever is configured
    ],
)
def test_what_a_configuration_can_do_about_it_counts(error: Exception | None, row: Closed | None, outcome: str | None):
    assert outcome_of(cast(Call, Ended(error)), row) == outcome
