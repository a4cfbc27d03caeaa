"""How is a line asked? Through the front door seen from inside, on the account of whoever started the batch."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tidegate.core.batches import ENDPOINTS, Said
from tidegate.core.call import Call, Principal, Reply
from tidegate.core.errors import TidegateError, Unauthenticated, UpstreamRefused
from tidegate.core.limits import Level, Role
from tidegate.core.own import own_call
from tidegate.core.ports.batches import Batch, Line
from tidegate.core.world import World
from tidegate.gateway import Gateway
from tidegate.stages.auth.bearers import is_open, principal_of
from tidegate.stages.record import status_of

REMEMBERED_NS = 1_000_000_000  # what ends a key is seen within this


class Standing(msgspec.Struct):
    """A principal as it is kept with a batch: all of it but the networks that it came from."""

    key_id: str
    name: str
    role: Role
    team_id: str | None
    user_id: str | None
    organisation_id: str
    scopes: frozenset[str]
    endpoints: frozenset[str]
    routes: frozenset[str]
    tags: tuple[str, ...]
    levels: tuple[Level, ...]


_STANDING = msgspec.json.Decoder(Standing)


class Payer(NamedTuple):
    principal: Principal | None
    may_buy: bool


NOBODY = Payer(None, may_buy=False)


class Accounts:
    """Who pays, as they are now: a key that was revoked meanwhile pays for nothing more."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[str, tuple[int, Payer]] = {}

    async def of(self, batch: Batch, *, is_bought: bool = False) -> Principal:
        """`is_bought`: it costs what it costs, whoever may not buy any more. Raises Unauthenticated, StoreDown."""
        now_ns, key_id = self._world.clock.now_ns(), batch.starter.key_id
        until_ns, found = self._known.get(key_id, (0, NOBODY))
        if now_ns >= until_ns:
            found = await self._look(batch)
            self._known = {id: one for id, one in self._known.items() if one[0] > now_ns}
            self._known[key_id] = (now_ns + REMEMBERED_NS, found)
        if found.principal is None or not (found.may_buy or is_bought):
            raise Unauthenticated(f"the key {batch.starter.name!r} that started {batch.id} is not valid any more")
        return found.principal

    async def _look(self, batch: Batch) -> Payer:
        bearer = await self._world.store.bearer(batch.starter.key_id)
        if bearer is not None:
            now_ms = self._world.clock.wall_ns() // 1_000_000
            return Payer(principal_of(bearer), is_open(bearer, now_ms))
        kept = _STANDING.decode(batch.starter.principal)
        # Of tokens, and of the key in the environment, nothing is in the store.
        elsewhere = kept.key_id == "environment" or "#" in kept.key_id
        return Payer(Principal(**msgspec.structs.asdict(kept)), elsewhere)


def call_of(world: World, line: Line, principal: Principal) -> Call:
    dialect, operation = ENDPOINTS[line.batch.endpoint]
    call = own_call(
        world, principal, purpose="batch", parent=None, dialect=dialect, operation=operation, path=line.batch.endpoint,
        body=line.asked.body, kind="batch",
    )  # fmt: skip
    call.address, call.tags = line.batch.starter.address, (f"batch:{line.batch.id}",)
    return call


async def answer(gateway: Gateway, call: Call) -> tuple[int, bytes]:
    """Status and body, as a client would get them. Raises TidegateError."""
    pieces: list[bytes] = []
    status = 200

    async def hear(reply: Reply) -> None:
        nonlocal status
        codec = gateway.codec(call.dialect, call.operation)
        same = reply.as_asked and reply.head.dialect == call.dialect
        assert call.asked is not None
        encoder = None if same else codec.encoder(
            stream=False, wants_usage=call.asked.wants_usage, request_id=call.id, model=call.asked.model
        )  # fmt: skip
        status = reply.head.status
        async for events in reply.events:
            if events[-1].error:
                raise events[-1].error
            pieces.append(encoder.feed(events) if encoder is not None else b"".join([event.raw for event in events]))

    await gateway.answer(call, hear)
    return status, b"".join(pieces)


def refused(gateway: Gateway, call: Call | None, line: Line, error: TidegateError) -> Said:
    """What a line has come to that was answered with an error: the body that a client would get."""
    dialect, operation = ENDPOINTS[line.batch.endpoint]
    status = status_of(error)
    body = gateway.codec(dialect, operation).render_error(error, status)
    if isinstance(error, UpstreamRefused) and not _is_json(body):
        body = msgspec.json.encode({"error": {"message": error.message, "code": error.code}})
    return Said(line.asked.custom_id, status, body, call.id if call is not None else None, error.code, error.message)


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return True
