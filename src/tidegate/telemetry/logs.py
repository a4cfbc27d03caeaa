"""What is written while it runs? One line per call and per notice: for people on a terminal, JSON elsewhere.

Never a prompt, a reply or a key; and nothing that a client sent can begin a line of its own.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import msgspec

from tidegate.core.call import Call
from tidegate.core.guard import said
from tidegate.core.money import usd_text
from tidegate.core.ports import Closed

MAX_WAITING = 10_000  # lines; when whoever reads us is slower than that, lines are dropped and counted
MAX_ADDRESSES = 1_000
SAMPLE_S = 60  # one line a minute for each address that has no key


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written to standard error.

    format: `human` on a terminal and `json` elsewhere is what `auto` does.
    calls: one line for each call.
    """

    format: Literal["auto", "human", "json"] = "auto"
    calls: bool = True


class Log:
    """Lines go to a thread of their own: a terminal that blocks must not block a call."""

    def __init__(self, config: Config, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._json = config.format == "json" or (config.format == "auto" and not self._out.isatty())
        self._calls = config.calls
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._sampled: OrderedDict[str, float] = OrderedDict()
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def call_began(self, call: Call) -> None:
        """A call is told when it ends."""

    def call_ended(self, call: Call, row: Closed | None) -> None:
        if not self._calls or (row is None and not self._sample(call)):
            return
        fields: dict[str, Any] = {"request_id": call.id, "status": call.status, "operation": call.operation}
        if row is None:
            fields |= {"address": call.address, "error": call.error.code if call.error else None}
        else:
            fields |= {
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
            }
        self._line("call", {key: value for key, value in fields.items() if value is not None})

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
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
        if len(self._lines) >= MAX_WAITING:
            self.dropped += 1
            return
        now = datetime.now(UTC)
        if self._json:
            line = msgspec.json.encode({"at": now.isoformat(), "event": name, **fields}).decode()
            if not line.isprintable():  # JSON leaves as they are: what turns text around, and controls beyond ASCII
                line = "".join([one if one.isprintable() else _escaped(one) for one in line])
        else:
            told = "  ".join(f"{key}={_shown(value)}" for key, value in fields.items())
            line = f"{now:%H:%M:%S}  {name}  {told}"
        self._lines.append(line)
        self._wake.set()

    def _write(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            try:
                if lines:
                    self._out.write("\n".join(lines) + "\n")
                    self._out.flush()
            except (OSError, ValueError):  # nobody reads us any more
                self.dropped += len(lines)
            if self._closing and not self._lines:
                return

    def close(self) -> None:
        """Write what is waiting, within a second."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout=1)


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
