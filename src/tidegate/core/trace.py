"""Whose step is it? What came with a call by W3C's Trace Context, and the names of our own steps in the trace.

The trace of a call that came without one is named by the call's id, and our steps by it and their number: so a trace
can be made of a row, and a row be found by its trace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

PARENT = b"traceparent"
SERVER, GATEWAY = "server", "gateway"  # our steps before the attempts, which are numbered
# A later version may say more behind it.
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_TRACE = re.compile(r"[0-9a-f]{32}")
_DIGITS = re.compile(r"[0-9a-f]{1,32}")
_PREFIX = "req_"
NOBODY = "0" * 16
CONTENT = b"x-tidegate-trace-content"  # `off`: what this client says is in no trace


class Parent(NamedTuple):
    trace_id: str  # 32 hex digits
    step_id: str  # 16 hex digits


def received(header: bytes | None) -> Parent | None:
    """What `traceparent` says; None where it says nothing, or nothing that is one."""
    found = _PARENT.fullmatch(header) if header is not None else None
    if found is None or ((header or b"").startswith(b"00") and len(header or b"") != 55):
        return None
    trace_id, step_id = found[1].decode(), found[2].decode()
    return Parent(trace_id, step_id) if int(trace_id, 16) and step_id != NOBODY else None


def may_be_told(named: Mapping[bytes, bytes]) -> bool:
    """Whether the client leaves it to its route what of a call stands in traces; it may only say no."""
    return CONTENT not in named or named[CONTENT].strip().lower() not in (b"off", b"no", b"false", b"0")


def trace_of(call_id: str) -> str:
    """Of a call that came without one: the digits of its id, whoever made it."""
    digits = call_id.rpartition("_")[2]
    return digits.rjust(32, "0") if _DIGITS.fullmatch(digits) else blake2b(call_id.encode(), digest_size=16).hexdigest()


def call_of(trace_id: str) -> str | None:
    """The other way round, of a client's call; None for what is no trace's id."""
    return _PREFIX + trace_id[1:] if _TRACE.fullmatch(trace_id) else None


def step_of(call_id: str, which: str | int) -> str:
    return blake2b(f"{call_id} {which}".encode(), digest_size=8).hexdigest()


def onward(call_id: str, parent: Parent | None, attempt: int) -> bytes:
    """`traceparent` of an attempt."""
    trace_id = trace_of(call_id) if parent is None else parent.trace_id
    return f"00-{trace_id}-{step_of(call_id, attempt)}-01".encode()
