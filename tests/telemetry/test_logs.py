"""One line for each call and each notice, written by a thread of its own, many at once."""

from __future__ import annotations

import io
import json
from typing import Any, cast

import pytest

from tidegate.core.call import Call
from tidegate.core.errors import Unauthenticated
from tidegate.core.ports import Closed
from tidegate.telemetry.logs import MAX_WAITING, Config, Log


class Out(io.StringIO):
    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


class Stranger:
    id, status, operation, address, arrived_ns = "req_0", 401, "chat", "203.0.113.9", 10**12
    error = Unauthenticated("no key")


def row(name: str, **fields: Any) -> Closed:
    return Closed(name, 7, "k", "openai", "chat", "ok", 200, 5_000, 90, route="fast", **fields)


@pytest.fixture
def out() -> Out:
    return Out()


def written(log: Log, out: Out) -> list[dict[str, Any]]:
    log.close()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_many_calls_are_written_in_few_steps_and_none_is_missing(out: Out) -> None:
    log = Log(Config(), out)
    for at in range(2_000):
        log.call_ended(cast(Call, Stranger()), row(f"req_{at}"))
    lines = written(log, out)
    assert [line["request_id"] for line in lines] == [f"req_{at}" for at in range(2_000)]
    assert out.writes < 200


def test_a_line_says_what_became_of_a_call_and_nothing_that_is_not_known(out: Out) -> None:
    log = Log(Config(), out)
    log.call_ended(cast(Call, Stranger()), row("req_1", usage={"input": 3, "output": 4}, cost_nusd=None))
    (line,) = written(log, out)
    assert line | {"event": "call", "ms": 5, "overhead_us": 90, "tokens": 7, "cost_usd": "unknown"} == line
    assert "target" not in line and "guards" not in line


def test_whoever_has_no_key_has_one_line_a_minute(out: Out) -> None:
    log = Log(Config(), out)
    for _ in range(5):
        log.call_ended(cast(Call, Stranger()), None)
    (line,) = written(log, out)
    assert (line["address"], line["error"]) == ("203.0.113.9", "invalid_api_key")


def test_without_lines_for_calls_notices_are_still_told(out: Out) -> None:
    log = Log(Config(calls=False), out)
    log.call_ended(cast(Call, Stranger()), row("req_1"))
    log.notice("reloaded", {"routes": ["fast"]})
    (line,) = written(log, out)
    assert line["event"] == "reloaded"


def test_what_nobody_reads_is_dropped_and_counted() -> None:
    class Stuck(Out):
        def write(self, text: str) -> int:
            raise OSError("nobody reads")

    log = Log(Config(), Stuck())
    for at in range(MAX_WAITING // 10):
        log.notice("some", {"at": at})
    log.close()
    assert log.dropped == MAX_WAITING // 10


def test_on_a_terminal_a_line_is_for_people(out: Out) -> None:
    log = Log(Config(format="human"), out)
    log.call_ended(cast(Call, Stranger()), row("req_1"))
    log.close()
    assert "  call  request_id=req_1  status=200" in out.getvalue()
