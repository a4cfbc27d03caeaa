"""What is written while it runs? One line per call and per notice: for people on a terminal, JSON elsewhere.

Never a prompt, a reply or a key; and nothing that a client sent can begin a line of its own.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import time
from typing import Any, Literal, TextIO, get_args

import msgspec

from tidegate.core.call import Call
from tidegate.core.guard import said
from tidegate.core.money import usd_text
from tidegate.core.ports import AttemptRow, Closed

MAX_WAITING = 10_000  # lines; when whoever reads us is slower than that, lines are dropped and counted
MAX_ADDRESSES = 1_000
FAILED = 500  # a status from here on wants somebody
SAMPLE_S = 60  # one line a minute for each address that has no key
GATHER_S = 0.05  # a thread that is woken for each line takes the interpreter from the loop, which costs five lines

LEVEL = "logs.level"  # the setting that goes before the configuration
Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)
DEBUG, INFO, WARNING, ERROR = range(4)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written to standard error.

    format: `human` on a terminal and `json` elsewhere is what `auto` does.
    calls: one line for each call.
    level: `debug` has a line for each attempt, too; `warning` only what may want somebody, and calls that failed;
        `error` only what was lost, or is a mistake of Tidegate's. It can be changed while it runs: tidegate logs level.
    """

    format: Literal["auto", "human", "json"] = "auto"
    calls: bool = True
    level: Level = "info"


# What is no mere information. Anything else that is told is.
WARNINGS = frozenset(
    (
        *("alert_dropped", "audit_not_exported", "batches_wait", "bodies_wait", "breaker_open", "breakers_not_shared"),
        *("budget_overrun", "budget_warning", "cache_entry_corrupt", "cascade_judge_failed", "certificate_refused"),
        "compressor_failed",
        *("counting_alone", "experiment_blocked", "experiment_rolled_back", "guardrail_failed"),
        *("idempotency_not_written", "issuer_unreachable", "key_set_aside", "loop_paraphrased", "loop_stopped"),
        *(
            "loop_suspected",
            "processes_differ",
            "provider_not_started",
            "reload_refused",
            "rows_not_sent",
            "semantic_lookup_failed",
        ),
        *(
            "semantic_not_learned",
            "spending_fast",
            "tiers_drifted",
            "tiers_not_learned",
            "token_refused",
            "traces_dropped",
        ),
        *("trim_failed", "valkey_lost", "vectors_lost"),
    )
)
ERRORS = frozenset(
    (
        *("act_not_recorded", "audit_log_cut", "bodies_dropped", "crash", "flight_crashed", "internal", "row_lost"),
        *("rollout_crashed",),
        *("semantic_memory_lost", "store_down"),
    )
)


class Log:
    """Lines go to a thread of their own: a terminal that blocks must not block a call."""

    def __init__(self, config: Config, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._json = config.format == "json" or (config.format == "auto" and not self._out.isatty())
        self._calls = config.calls
        self._configured = config.level
        self.level: Level = config.level
        self._least = LEVELS.index(config.level)
        self._lines: deque[str | tuple[float, Closed]] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._sampled: OrderedDict[str, float] = OrderedDict()
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def speak(self, level: str | None) -> None:
        """From here on; None: as it is configured."""
        found = next((one for one in LEVELS if one == level), self._configured)
        self.level, self._least = found, LEVELS.index(found)

    def call_began(self, call: Call) -> None:
        """A call is told when it ends."""

    def call_ended(self, call: Call, row: Closed | None) -> None:
        if not self._calls:
            return
        if row is not None:
            if self._least < WARNING or (self._least == WARNING and row.status >= FAILED):
                self._append((time(), row))  # the thread makes a line of it
        elif self._least < ERROR and self._sample(call):
            fields = {"request_id": call.id, "status": call.status, "operation": call.operation}
            fields |= {"address": call.address, "error": call.error.code if call.error else None}
            self._line("call", {key: value for key, value in fields.items() if value is not None})

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        if level_of(name) >= self._least and (self._calls or name != "evaluation"):  # which is of one call
            self._line(name, fields)

    def _sample(self, call: Call) -> bool:
        """Whether this address, which presents no good key, gets a line: one a minute."""
        now = call.arrived_ns / 1e9
        last = self._sampled.get(call.address)
        if last is not None and now - last < SAMPLE_S:
            return False
        self._sampled[call.address] = now
        if len(self._sampled) > MAX_ADDRESSES:
            self._sampled.popitem(last=False)
        return True

    def _line(self, name: str, fields: Mapping[str, Any]) -> None:
        self._append(self._formed(time(), name, fields))

    def _append(self, line: str | tuple[float, Closed]) -> None:
        if len(self._lines) >= MAX_WAITING:
            self.dropped += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def _formed(self, at_s: float, name: str, fields: Mapping[str, Any]) -> str:
        at = datetime.fromtimestamp(at_s, UTC)
        if not self._json:
            told = "  ".join(f"{key}={_shown(value)}" for key, value in fields.items())
            return f"{at:%H:%M:%S}  {name}  {told}"
        line = msgspec.json.encode({"at": at.isoformat(), "event": name, **fields}).decode()
        if not line.isprintable():  # JSON leaves as they are: what turns text around, and controls beyond ASCII
            line = "".join([one if one.isprintable() else _escaped(one) for one in line])
        return line

    def _write(self) -> None:
        while True:
            self._wake.wait()
            self._closing.wait(GATHER_S)
            self._wake.clear()
            waiting = [self._lines.popleft() for _ in range(len(self._lines))]
            lines = [line for one in waiting for line in ((one,) if isinstance(one, str) else self._of_call(*one))]
            try:
                if lines:
                    self._out.write("\n".join(lines) + "\n")
                    self._out.flush()
            except (OSError, ValueError):  # nobody reads us any more
                self.dropped += len(lines)
            if self._closing.is_set() and not self._lines:
                return

    def _of_call(self, at_s: float, row: Closed) -> Iterator[str]:
        if self._least == DEBUG:
            for number, attempt in enumerate(row.attempts):
                yield self._formed(at_s, "attempt", _tried(row, number, attempt))
        yield self._formed(at_s, "call", _told(row))

    def close(self) -> None:
        """Write what is waiting, within a second."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout=1)


def level_of(name: str) -> int:
    return ERROR if name in ERRORS else WARNING if name in WARNINGS else INFO


def _tried(row: Closed, number: int, attempt: AttemptRow) -> dict[str, Any]:
    """What a line says of an attempt."""
    fields = {
        "request_id": row.id,
        "attempt": number + 1,
        "why": attempt.why,
        "target": f"{attempt.provider}/{attempt.model}",
        "outcome": attempt.outcome,
        "status": attempt.status,
        "said": attempt.said,
        "sent_ms": attempt.sent_us // 1000,
        "first_ms": None if attempt.first_us is None else attempt.first_us // 1000,
        "ms": (attempt.ended_us - attempt.sent_us) // 1000,
        "tokens": sum(attempt.usage.values()),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _told(row: Closed) -> dict[str, Any]:
    """What a line says of a call."""
    fields = {
        "request_id": row.id,
        "status": row.status,
        "operation": row.operation,
        "key": row.key_id,
        "outcome": row.outcome,
        "route": row.route,
        "target": row.target,
        "ms": row.duration_us // 1000,
        "overhead_us": row.overhead_us,
        "attempts": len(row.attempts),
        "tokens": sum(row.usage.values()),
        "cost_usd": "unknown" if row.cost_nusd is None else usd_text(row.cost_nusd),
        "cache": row.cache,
        "error": row.error,
        "guards": said(row.guards) or None,
        "trace_id": row.trace_id,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _escaped(one: str) -> str:
    """As JSON writes it: by its number, in two halves where that is a large one."""
    code = ord(one)
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD7C0 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _shown(value: object) -> str:
    """`value` on one line, without anything that a terminal would obey."""
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)
