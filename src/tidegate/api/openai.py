"""The paths of OpenAI's API: what its clients ask for, unchanged."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

import msgspec

from tidegate.api import anthropic
from tidegate.api.calls import handle
from tidegate.api.incoming import Incoming
from tidegate.core.call import Principal
from tidegate.core.errors import Forbidden
from tidegate.gateway import Gateway
from tidegate.stages.auth import may_use

MODELS = "/v1/models"
ACCOUNTS = ("organization", "organizations")  # with our key, and not with the client's


def chat(gateway: Gateway, incoming: Incoming) -> Awaitable[None]:
    return handle(gateway, incoming, "openai", "chat")


complete = partial(handle, dialect="openai", operation="complete")
embed = partial(handle, dialect="openai", operation="embed")


async def models(gateway: Gateway, incoming: Incoming) -> None:
    """Everything that this key may ask for, in the words of whoever asks."""
    names = gateway.routes.open_to(await _enter(gateway, incoming))
    if anthropic.is_asking(incoming):
        await anthropic.models(names, incoming)
        return
    await incoming.answer(200, msgspec.json.encode({"object": "list", "data": [_model(name) for name in names]}))


async def model(gateway: Gateway, incoming: Incoming) -> None:
    principal = await _enter(gateway, incoming)
    name = incoming.path.removeprefix(MODELS + "/")
    if not gateway.routes.is_open(gateway.routes.find(name), name, principal):
        raise Forbidden(f"model {name[:200]!r} is not yours to ask for")
    if anthropic.is_asking(incoming):
        await anthropic.model(name, incoming)
        return
    await incoming.answer(200, msgspec.json.encode(_model(name)))


async def _enter(gateway: Gateway, incoming: Incoming) -> Principal:
    if anthropic.is_asking(incoming):
        incoming.codec = gateway.codec("anthropic", "chat")
    principal = await gateway.recognise(incoming.credential, incoming.address)
    may_use(principal, "models")
    return principal


def may_pass(path: str, raw_path: str) -> bool:
    """Whether a path that we do not know is for a provider to answer: within /v1, and not its account's affairs."""
    parts = path.removeprefix("/v1/").removesuffix("/").split("/")
    # Who reads `//` or `/./` as nothing would read another path than we do.
    # And behind a base URL without a path, what does not begin with a slash would become part of the host's name.
    plain = path.startswith("/v1/") and raw_path.startswith("/v1/") and not {"", ".", ".."} & {*parts}
    return plain and parts[0] not in ACCOUNTS


async def raw(gateway: Gateway, incoming: Incoming) -> None:
    """Any other path: passed on as it is, to a provider of the client's dialect."""
    dialect = "anthropic" if anthropic.is_asking(incoming) else "openai"
    incoming.codec = gateway.codec(dialect, "raw")
    incoming.any_kind = True
    await handle(gateway, incoming, dialect, "raw")


def _model(name: str) -> dict[str, object]:
    # 0: a route is not created at a time; clients want a number here.
    return {"id": name, "object": "model", "created": 0, "owned_by": "tidegate"}
