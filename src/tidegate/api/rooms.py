"""How much room is left, in the words of each dialect? The IETF's fields, and those that its clients know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from tidegate.core.limits import Room
from tidegate.core.ports import Headers

# A window that was charged just now is as it was before when it has passed once more: so that is its reset.
OPENAI = {"requests": "requests", "tokens": "tokens"}
ANTHROPIC = OPENAI | {"input_tokens": "input-tokens", "output_tokens": "output-tokens"}


def room_headers(rooms: Sequence[Room], dialect: str, at_ms: int) -> Headers:
    """Of each kind the limit that is nearest, in the dialect's words; all of them in the IETF's."""
    policies = [f'"{_name(room)}";q={room.limit.most}{_window(room)}' for room in rooms]
    left = [f'"{_name(room)}";r={room.left}' + (f";t={room.limit.per_s}" if room.limit.per_s else "") for room in rooms]
    headers = [(b"ratelimit-policy", ", ".join(policies).encode()), (b"ratelimit", ", ".join(left).encode())]
    nearest: dict[str, Room] = {}
    for room in rooms:
        known = nearest.get(room.limit.of)
        if room.limit.per_s and (known is None or _share(room) < _share(known)):
            nearest[room.limit.of] = room
    for of, room in nearest.items():
        if dialect == "anthropic":
            headers += _anthropic(ANTHROPIC[of], room, at_ms)
        elif of in OPENAI:
            headers += _openai(OPENAI[of], room)
    return headers


def _name(room: Room) -> str:
    per = f"-{room.limit.per_s}s" if room.limit.per_s else ""
    return f"{room.limit.of.replace('_', '-')}{per}"


def _window(room: Room) -> str:
    return f";w={room.limit.per_s}" if room.limit.per_s else ""


def _share(room: Room) -> float:
    return room.left / max(room.limit.most, 1)


def _openai(what: str, room: Room) -> Headers:
    return [
        (f"x-ratelimit-limit-{what}".encode(), str(room.limit.most).encode()),
        (f"x-ratelimit-remaining-{what}".encode(), str(room.left).encode()),
        (f"x-ratelimit-reset-{what}".encode(), f"{room.limit.per_s}s".encode()),
    ]


def _anthropic(what: str, room: Room, at_ms: int) -> Headers:
    reset = datetime.fromtimestamp(at_ms / 1000 + room.limit.per_s, UTC)
    return [
        (f"anthropic-ratelimit-{what}-limit".encode(), str(room.limit.most).encode()),
        (f"anthropic-ratelimit-{what}-remaining".encode(), str(room.left).encode()),
        (f"anthropic-ratelimit-{what}-reset".encode(), f"{reset:%Y-%m-%dT%H:%M:%SZ}".encode()),
    ]
