"""The log is for people on a terminal and JSON elsewhere, and says as much as its level."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tidegate.core.ports import AttemptRow, Closed
from tidegate.telemetry import logs
from tidegate.telemetry.logs import Log

FAILED = AttemptRow("main", "m", "failed", 100, 5_000, status=503, said="HTTP 503")
WELL = AttemptRow("spare", "m", "ok", 5_000, 9_000, first_us=7_000, status=200, why="next", usage={"input": 3})
ROW = Closed("req_1", 1, "k", "openai", "chat", "ok", 200, 9_500, 100, route="fast", attempts=(FAILED, WELL))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(out: io.StringIO, level: Any = "info", **config: Any) -> str:
    log = Log(logs.Config(level=level, **config), out)
    log.call_ended(None, ROW)  # type: ignore[arg-type]
    log.call_ended(None, Closed("req_2", 1, "k", "openai", "chat", "failed", 502, 9, 1))  # type: ignore[arg-type]
    for name in ("reloaded", "breaker_open", "row_lost"):
        log.notice(name, {"why": "so"})
    log.close()
    return out.getvalue()


def events(level: Any) -> list[str]:
    return [json.loads(line)["event"] for line in said(io.StringIO(), level).splitlines()]


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", ["attempt", "attempt", "call", "call", "reloaded", "breaker_open", "row_lost"]),
        ("info", ["call", "call", "reloaded", "breaker_open", "row_lost"]),
        ("warning", ["call", "breaker_open", "row_lost"]),
        ("error", ["row_lost"]),
    ],
)
def test_a_level_says_so_much(level: str, told: list[str]) -> None:
    assert events(level) == told


def test_an_attempt_says_why_it_was_made_and_how_it_ended() -> None:
    first, second = [json.loads(line) for line in said(io.StringIO(), "debug").splitlines()[:2]]
    assert first == first | {
        "request_id": "req_1",
        "attempt": 1,
        "target": "main/m",
        "outcome": "failed",
        "status": 503,
    }
    assert second == second | {"attempt": 2, "why": "next", "first_ms": 7, "ms": 4, "tokens": 3}


def test_a_terminal_is_told_for_people_and_anything_else_json() -> None:
    assert "  call  request_id=req_1" in said(Terminal())
    assert said(io.StringIO()).startswith("{")
    assert said(Terminal(), format="json").startswith("{")
    assert "  call  request_id=req_1" in said(io.StringIO(), format="human")


def test_every_line_of_a_call_names_it_and_the_trace_that_it_came_with() -> None:
    out = io.StringIO()
    log = Log(logs.Config(), out)
    log.call_ended(None, Closed("req_1", 1, "k", "openai", "chat", "ok", 200, 9, 1, trace_id="f" * 32))  # type: ignore[arg-type]
    log.close()
    line = json.loads(out.getvalue())
    assert (line["request_id"], line["trace_id"]) == ("req_1", "f" * 32)


def test_a_level_can_be_changed_and_put_back() -> None:
    out = io.StringIO()
    log = Log(logs.Config(level="warning"), out)
    log.notice("reloaded", {})
    log.speak("debug")
    log.notice("reloaded", {})
    log.speak(None)
    log.notice("reloaded", {})
    log.close()
    assert len(out.getvalue().splitlines()) == 1 and log.level == "warning"


def test_nothing_is_both_a_warning_and_an_error() -> None:
    assert not logs.WARNINGS & logs.ERRORS
