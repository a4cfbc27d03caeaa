"""The paths of Anthropic's API: what its clients ask for, unchanged."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

import msgspec

from tidegate.api.calls import handle
from tidegate.api.incoming import Incoming
from tidegate.gateway import Gateway


def is_asking(incoming: Incoming) -> bool:
    """Whether a path that both families have is asked for by a client of this one."""
    return incoming.header(b"anthropic-version") is not None


def messages(gateway: Gateway, incoming: Incoming) -> Awaitable[None]:
    return handle(gateway, incoming, "anthropic", "chat")


count = partial(handle, dialect="anthropic", operation="count")


async def models(names: list[str], incoming: Incoming) -> None:
    """All of them at once, whatever page was asked for."""
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
    body = {"data": [_model(name) for name in names], "has_more": False, **ends}
    await incoming.answer(200, msgspec.json.encode(body))


async def model(name: str, incoming: Incoming) -> None:
    await incoming.answer(200, msgspec.json.encode(_model(name)))


def _model(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
