"""Who serves, on which machines, and do they agree? What each process says of itself, and what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

EVERY_S = 10.0  # how often a process says that it is there
GONE_MS = 35_000  # who has said nothing for so long is not


class Process(msgspec.Struct, frozen=True):
    """One process, as it said itself. Times are milliseconds since 1970.

    id: of its spool, and of its chain of the audit log: the same after a restart.
    worker: 2/4 is the second of the four of its machine.
    configuration: a fingerprint of the file that it has taken up.
    keks: fingerprints of the key-encrypting keys that it knows; the last one seals.
    counts_in: the server in which it counts with others; nothing, where it counts alone.
    """

    id: str
    host: str
    pid: int
    worker: str
    version: str
    configuration: str
    keks: tuple[str, ...]
    counts_in: str
    since_ms: int
    seen_ms: int


class Topology(Protocol):
    """Raises StoreDown."""

    async def seen(self) -> list[Process]:
        """Who is there, oldest first."""


class Difference(NamedTuple):
    what: str
    said: str  # who says what, and what to do


class _Must(msgspec.Struct, frozen=True):
    what: str
    of: Callable[[Process], str]
    do: str


_VALKEY = _Must(
    "storage.valkey",
    lambda one: one.counts_in or "none",
    "name one server for all of them, or each allows the whole of every limit",
)
ALIKE: Sequence[_Must] = (
    _Must("version", lambda one: one.version, "finish the release, or go back"),
    _Must("configuration", lambda one: one.configuration, "put the same file on all machines"),
    _Must(
        "vault.keys",
        lambda one: " ".join(sorted(one.keks)) or "none",
        "name the same keys on all machines, or what one has sealed another cannot read",
    ),
    _VALKEY,
)


def disagreements(there: Iterable[Process]) -> list[Difference]:
    """What is not alike in all processes; and whether they count together, which nobody does who names no server."""
    found, processes = [], list(there)
    for must in ALIKE:
        said: dict[str, list[str]] = {}
        for one in processes:
            said.setdefault(must.of(one), []).append(f"{one.host} {one.worker}")
        if len(said) > 1:
            who = "; ".join(f"{value}: {', '.join(names)}" for value, names in said.items())
            found.append(Difference(must.what, f"{must.what} is not the same everywhere ({who}): {must.do}"))
    if len(processes) > 1 and not any(one.counts_in for one in processes):
        found.append(Difference(_VALKEY.what, f"{_VALKEY.what} is named by none of {len(processes)}: {_VALKEY.do}"))
    return found
