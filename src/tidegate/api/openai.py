"""The paths of OpenAI's API: what its clients ask for, unchanged."""

from __future__ import annotations

import msgspec

from tidegate.api.calls import handle
from tidegate.api.incoming import Incoming
from tidegate.gateway import Gateway

MODELS = "/v1/models"


async def chat(gateway: Gateway, incoming: Incoming) -> None:
    await handle(gateway, incoming, "openai", "chat")


async def complete(gateway: Gateway, incoming: Incoming) -> None:
    await handle(gateway, incoming, "openai", "complete")


async def models(gateway: Gateway, incoming: Incoming) -> None:
    """Everything that this key may ask for."""
    await gateway.auth.authenticate(incoming.credential)
    body = {"object": "list", "data": [_model(name) for name in gateway.routes.names]}
    await incoming.answer(200, msgspec.json.encode(body))


async def model(gateway: Gateway, incoming: Incoming) -> None:
    await gateway.auth.authenticate(incoming.credential)
    name = incoming.path.removeprefix(MODELS + "/")
    gateway.routes.find(name)
    await incoming.answer(200, msgspec.json.encode(_model(name)))


def _model(name: str) -> dict[str, object]:
    # 0: a route is not created at a time; clients want a number here.
    return {"id": name, "object": "model", "created": 0, "owned_by": "tidegate"}
