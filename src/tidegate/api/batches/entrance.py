"""Who asks for files and batches, for which of them, and for how many?"""

from __future__ import annotations

import re
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from tidegate.api.incoming import Incoming
from tidegate.core.batches import Dialect
from tidegate.core.body import checked
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, NotFound
from tidegate.core.ports.batches import Starter
from tidegate.core.world import World
from tidegate.gateway import Gateway
from tidegate.stages.auth import may_use

T = TypeVar("T")


async def enter(gateway: Gateway, incoming: Incoming, dialect: Dialect = "openai") -> Principal:
    """Raises Unauthenticated, Forbidden, LimitReached for who guesses keys."""
    incoming.codec = gateway.codec(dialect, "chat")
    principal = await gateway.recognise(incoming.credential, incoming.address)
    may_use(principal, "batches")
    return principal


def starter(principal: Principal, incoming: Incoming) -> Starter:
    plain = msgspec.structs.replace(principal, networks=())  # where they come from has been looked at
    return Starter(
        principal.key_id, principal.name, principal.organisation_id, incoming.address, msgspec.json.encode(plain)
    )


def id_of(incoming: Incoming, after: str) -> str:
    """What stands behind `after` in the path."""
    return incoming.path.removeprefix(after).partition("/")[0]


def no_such(what: str, id: str) -> NotFound:
    return NotFound(
        f"there is no {what} {id[:100]!r} of your key; one that a provider keeps is asked for with the header "
        "x-tidegate-route, naming a route of that provider"
    )


def new_id(world: World, kind: str) -> str:
    return f"{kind}{world.clock.wall_ns() // 1_000_000:011x}{world.chance.hex()}"


def now_ms(world: World) -> int:
    return world.clock.wall_ns() // 1_000_000


class Page:
    """Which part of a list is asked for."""

    def __init__(self, incoming: Incoming, known: tuple[str, ...], usual: int, most: int, after: str = "after") -> None:
        """Raises BadRequest."""
        said = parse_qs(incoming.head.query.decode("latin-1"), keep_blank_values=True)
        for name in said:
            if name not in ("limit", after, *known):
                raise BadRequest(f"{name[:40]}: there are limit, {', '.join((after, *known))}", param=name[:40])
        self.said = {name: values[0] for name, values in said.items()}
        self.after = self.said.get(after) or None
        if self.after is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", self.after):
            raise BadRequest(f"{after}: an id of the list is expected", param=after)
        limit = self.said.get("limit", str(usual))
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= most):
            raise BadRequest(f"limit: a number from 1 to {most} is expected, not {limit[:20]!r}", param="limit")
        self.limit = int(limit)


async def body_as(incoming: Incoming, decoder: msgspec.json.Decoder[T]) -> T:
    """Raises BadRequest, naming the field."""
    body = checked(await incoming.body())
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise BadRequest(f"the body cannot be read: {str(wrong)[:300]}") from None


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)
