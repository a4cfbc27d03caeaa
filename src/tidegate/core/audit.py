"""What stands in the audit log, and how does each entry hold on to the one before?

An entry is canonical JSON: keys in order, no blanks, whole numbers or the shortest decimal. Its hash is that of a leaf
of RFC 9162, so chain and tree are over the same bytes; `prev` is the hash of the entry before, of the same writer.
Names of people are aliases and ciphertext: who destroys a key leaves the chain whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from tidegate.core.merkle import leaf_hash
from tidegate.core.ports import Acted, Closed

FIRST = bytes(32)  # what stands before the first

_CANONICAL = msgspec.json.Encoder(order="deterministic").encode
_OBJECT = msgspec.json.Decoder(dict[str, Any])


class Head(NamedTuple):
    """Where a chain has come to: so many entries, and the hash of the last."""

    size: int = 0
    hash: bytes = FIRST


class Link(NamedTuple):
    """An entry in its place. `entry` is empty where it was deleted; then its hash alone is left."""

    writer: str
    seq: int  # from 0
    hash: bytes
    entry: bytes
    id: str
    at_ms: int
    subject: str  # the alias of the end user; "" where there is none


def canonical(value: Any) -> bytes:
    return _CANONICAL(value)


def chained(writer: str, head: Head, said: Iterable[Closed | Acted]) -> list[Link]:
    """The entries for `said`, behind `head`. Rows are masked: see `storage.personal`."""
    size, prev = head
    links: list[Link] = []
    for one in said:
        fields = _of_call(one) if isinstance(one, Closed) else _of_act(one)
        entry = canonical({**fields, "v": 1, "writer": writer, "seq": size, "prev": prev.hex()})
        prev = leaf_hash(entry)
        links.append(Link(writer, size, prev, entry, one.id, one.at_ms, fields.get("user") or ""))
        size += 1
    return links


def _of_call(row: Closed) -> dict[str, Any]:
    """What was done, by whom, and what guards made of it; no word of what was said."""
    fields: dict[str, Any] = {
        "kind": "call",
        "id": row.id,
        "at_ms": row.at_ms,
        "key": row.key_id,
        "operation": row.operation,
        "dialect": row.dialect,
        "outcome": row.outcome,
        "status": row.status,
    }
    for name in ("organisation_id", "team_id", "user_id", "route", "target", "error", "cost_nusd", "usage", "cache"):
        value = getattr(row, name)
        if value is not None and value != {}:
            fields[name] = value
    if row.guards:
        fields["guards"] = msgspec.to_builtins(row.guards)
    if row.personal is not None:
        fields["personal"] = row.personal
        if row.user:
            fields["user"] = row.user
    return fields


def _of_act(act: Acted) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "kind": "act",
        "id": act.id,
        "at_ms": act.at_ms,
        "did": act.did,
        "of": act.of,
        "by": act.by,
    }
    for name in ("name", "before", "after", "sealed"):
        value = getattr(act, name)
        if value is not None and value != "":
            fields[name] = value
    return fields


class Broken(ValueError):
    """The log is not what was written. Says where."""


def read(text: bytes, where: str) -> dict[str, Any]:
    """An entry's fields. Raises Broken."""
    try:
        fields = _OBJECT.decode(text)
    except (msgspec.DecodeError, ValueError) as wrong:
        raise Broken(f"{where}: is no entry: {wrong}") from None
    if canonical(fields) != text:
        raise Broken(f"{where}: is not as it was written: its JSON is not canonical")
    return fields


def follow(head: Head, writer: str, text: bytes, where: str) -> Head:
    """The head behind this entry. Raises Broken where it does not follow `head`."""
    fields = read(text, where)
    if fields.get("writer") != writer:
        raise Broken(f"{where}: says that it is of writer {fields.get('writer')!r}, and stands among those of {writer}")
    if fields.get("seq") != head.size:
        raise Broken(f"{where}: says that it is entry {fields.get('seq')!r}, where {head.size} is expected")
    if fields.get("prev") != head.hash.hex():
        raise Broken(f"{where}: entry {head.size} does not follow the one before it: one of them was changed")
    return Head(head.size + 1, leaf_hash(text))
