"""Where can a long conversation be cut? Before something that a user says, so that no tool's answer loses its question.

What is cut off is replaced by a summary. A cut that was made before is kept as long as what follows it is short enough:
so the summary, and all that a provider has kept behind it, stays the same for many turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from tidegate.core.body import splice
from tidegate.core.call import Asked

LEADS = ("system", "developer")
SAID = "Before this, in short: "
HEARD = "I remember."

_MESSAGES = msgspec.json.Decoder(list[msgspec.Raw])


class Turns(NamedTuple):
    """Messages as they are written. `lead`: how many come before the conversation; `begins`: where a user speaks."""

    raws: list[bytes]
    lead: int
    begins: list[int]


class Cut(NamedTuple):
    """`messages[:at]` are told as a summary; of them, `messages[:since]` by one that is known already."""

    at: int
    since: int


def turns_of(asked: Asked) -> Turns | None:
    """None: it is none that could be cut."""
    if asked.codec.operation != "chat" or "messages" not in asked.spans or b'"cache_control"' in asked.body:
        return None
    start, end = asked.spans["messages"]
    raws = [bytes(raw) for raw in _MESSAGES.decode(asked.body[start:end])]
    messages = asked.typed.messages
    lead = next((at for at, one in enumerate(messages) if one.role not in LEADS), len(messages))
    return Turns(raws, lead, [at for at in range(lead, len(messages)) if _user_speaks(messages[at])])


def _user_speaks(message: Any) -> bool:
    """And no tool answers: in Anthropic's dialect it does so in a user's message."""
    if message.role != "user":
        return False
    return isinstance(message.content, str) or any(block.type != "tool_result" for block in message.content or ())


def cut_of(turns: Turns, above: int, keep: int, known: Sequence[int]) -> Cut | None:
    """Where to cut, of a conversation longer than `above` bytes; the last `keep` turns stay.

    `known`: cuts that there is a summary for.
    """
    sizes = [len(raw) for raw in turns.raws]
    if sum(sizes[turns.lead :]) <= above:
        return None
    before = max(known, default=turns.lead)
    if before > turns.lead and sum(sizes[before:]) <= above:
        return Cut(before, before)
    if len(turns.begins) <= keep or turns.begins[-keep] <= before:
        return Cut(before, before) if before > turns.lead else None
    return Cut(turns.begins[-keep], before)


def names(turns: Turns, salt: bytes) -> dict[int, bytes]:
    """Of each place where it can be cut: what all before it is called."""
    digest = blake2b(salt, digest_size=16)
    found: dict[int, bytes] = {}
    for at, raw in enumerate(turns.raws):
        if at in turns.begins and at > turns.lead:
            found[at] = digest.digest()
        if at >= turns.lead:
            digest.update(b"%d:" % len(raw))
            digest.update(raw)
    return found


def told(asked: Asked, cut: Cut, summary: str | None) -> str:
    """What is to be summarised, as JSON: what was known, then who says what."""
    roles = [message.role for message in asked.typed.messages]
    lines: list[Mapping[str, str]] = [{"before": summary}] if summary else []
    for path, text in asked.codec.texts(asked):
        number = path.removeprefix("messages[").partition("]")[0] if path.startswith("messages[") else ""
        if number.isdigit() and cut.since <= int(number) < cut.at and roles[int(number)] not in LEADS:
            lines.append({roles[int(number)]: text})
    return msgspec.json.encode(lines).decode()


def cut_off(asked: Asked, turns: Turns, cut: Cut, summary: str) -> Asked:
    """The same request with a summary in the place of what was cut off. All else stays, to the byte."""
    both = ({"role": "user", "content": f"{SAID}{summary}"}, {"role": "assistant", "content": HEARD})
    kept = [*turns.raws[: turns.lead], *map(msgspec.json.encode, both), *turns.raws[cut.at :]]
    out = asked.codec.parse_request(splice(asked.body, asked.spans, {"messages": b"[%b]" % b",".join(kept)}))
    out.ceiling = asked.ceiling
    return out
