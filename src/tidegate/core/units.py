"""What does a unit get? It depends on nothing but a salt and the unit, so every process says the same, for ever.

One digest says three things that have nothing to do with each other: where the unit stands in the ramp, which of the
arms is its own, and what it is called in rows. While the ramp grows a unit that has an arm keeps it, and one that has
none gets the one that was its own from the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from struct import Struct
from typing import NamedTuple

from tidegate.core.experiments import UnitKind

ALL = 2**64
_PARTS = Struct(">QQ8s").unpack


class Place(NamedTuple):
    """`ramp` and `pick` lie below ALL."""

    ramp: int
    pick: int
    id: str  # 16 hex digits


def place(salt: str, unit: str) -> Place:
    ramp, pick, id = _PARTS(blake2b(f"{salt}:{unit}".encode("utf-8", "surrogatepass"), digest_size=24).digest())
    return Place(ramp, pick, id.hex())


def in_layer(layer: str, unit: str) -> int:
    """Where the unit stands in a layer, below ALL; the same for all experiments of it."""
    digest = blake2b(f"layer:{layer}:{unit}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def upto(share: float) -> int:
    """What stands below it is within `share`."""
    return min(int(share * ALL), ALL)


def bounds(weights: Sequence[int]) -> list[int]:
    """Of each arm, below what its units stand, by `pick`."""
    total = sum(weights)
    return [ALL * so_far // total for so_far in accumulate(weights)]


def of_user(organisation: str, name: str) -> str:
    return f"{organisation}:user:{name}"


def unit(kind: UnitKind, organisation: str, *, user: str | None, session: str | None, team: str | None) -> str | None:
    """What it is called; None: there is no such thing. Whose user is not known is told by the session.

    Names of one organisation mean nothing in another one.
    """
    if kind == "user" and user:
        return of_user(organisation, user)
    if kind in ("user", "session") and session:
        return f"{organisation}:session:{session}"
    return f"{organisation}:team:{team}" if kind == "team" and team else None
