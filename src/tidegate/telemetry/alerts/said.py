"""What is told? An alert, whichever way it goes: what happened, to whom, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

Alert = Literal[
    "budget_warning",
    "budget_overrun",
    "spending_fast",
    "loop_suspected",
    "loop_stopped",
    "loop_paraphrased",
    "breaker_open",
    "counting_alone",
    "counting_together",
    "store_down",
    "store_back",
    "valkey_lost",
    "valkey_back",
    "processes_differ",
    "processes_agree",
    "provider_not_started",
    "issuer_unreachable",
    "certificate_refused",
    "reload_refused",
    "canary_rolled_back",
    "canary_missing",
    "canary_not_written",
    "row_lost",
    "audit_log_cut",
    "audit_not_exported",
    "act_not_recorded",
    "bodies_dropped",
    "judge_score_fell",
    "experiment_started",
    "experiment_advanced",
    "experiment_promoted",
    "experiment_rolled_back",
    "experiment_inconclusive",
    "experiment_blocked",
    "experiment_stopped",
    "tiers_drifted",
    "traces_dropped",
    "crash",
]
# What ends what: whoever was told of the one is told that it is over.
ENDS = {
    "breaker_closed": "breaker_open",
    "counting_together": "counting_alone",
    "store_back": "store_down",
    "valkey_back": "valkey_lost",
    "processes_agree": "processes_differ",
}
# Fields that say to whom it happened; alerts that differ in others only are the same.
WHOM = (
    *("whose", "key", "team", "user", "target", "provider", "route", "database", "server", "issuer", "receiver"),
    *("experiment", "stage"),
)


class Told(msgspec.Struct, frozen=True):
    id: str
    event: str
    at_ms: int
    text: str
    fields: Mapping[str, Any]
    state: Literal["fired", "resolved"] = "fired"
    times: int = 1  # it happened, since it was told last


class Way(Protocol):
    """How somebody is told."""

    name: str  # for people; never an address that is a secret

    async def tell(self, told: Told) -> tuple[str | None, bool]:
        """Why it was not taken, None when it was; and whether that may be otherwise later."""


def whom(name: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes an alert the same as another."""
    return name, *(f"{field}={fields[field]}" for field in WHOM if fields.get(field) is not None)


def sentence(name: str, fields: Mapping[str, Any], state: str, times: int) -> str:
    said = ", ".join(f"{field}: {value}" for field, value in fields.items() if value is not None)
    over = "over: " if state == "resolved" else ""
    often = f" ({times} times)" if times > 1 else ""
    return f"Tidegate: {over}{name}{often}: {said}".removesuffix(": ")
