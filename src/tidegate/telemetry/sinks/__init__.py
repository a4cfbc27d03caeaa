"""Who else is given the rows of calls? Other stores, beside the ledger and never in its place."""

from __future__ import annotations

import msgspec

from tidegate.telemetry.sinks import clickhouse


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Other stores that are given a row of each call, beside the ledger.

    clickhouse: a table of ClickHouse; deploy/clickhouse/calls.sql makes it.
    """

    clickhouse: clickhouse.Config | None = None


def trouble(config: Config) -> tuple[str, str] | None:
    """What cannot be, and where."""
    wrong = clickhouse.trouble(config.clickhouse) if config.clickhouse is not None else None
    return None if wrong is None else (f"clickhouse.{wrong[0]}", wrong[1])
