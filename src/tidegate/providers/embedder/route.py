"""How is a text embedded by somebody else? Through a route of ours, on the account of the team that it belongs to.

Each embedding is a call of our own, with a row. A route that fails or is slow is not asked again for a while: whoever
compares by meaning can do without.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable

import msgspec
import numpy as np

from tidegate.core.call import Call, Event, Principal, Route
from tidegate.core.errors import StoreDown, TidegateError
from tidegate.core.own import own_call, payer
from tidegate.core.ports import DEFAULT_ORGANISATION, Vector
from tidegate.core.world import World

LONGEST = 8_000  # characters; models read 512 tokens to 8,192
REST_S = (1.0, 60.0)  # how long it is not asked after a failure, at first and later
PAYER_NS = 60 * 10**9  # a budget that is changed holds so much later
REMEMBERED = 1_000

Hear = Callable[[Call], Awaitable[list[Event]]]  # the front door from inside


class Embedded(msgspec.Struct):
    embedding: str | list[float]


class Said(msgspec.Struct):
    data: list[Embedded]


_SAID = msgspec.json.Decoder(Said)


class RouteEmbedder:
    """`find`: a route as it is just now; another model there is another name, so that its vectors stand apart."""

    def __init__(self, world: World, route: str, timeout_s: float, hear: Hear, find: Callable[[str], Route]) -> None:
        self._world = world
        self._route = route
        self._hear = hear
        self._find = find
        self._payers: dict[tuple[str | None, str], tuple[int, Principal]] = {}  # until when it is known, by whose
        self._named = {b"x-tidegate-timeout-ms": b"%d" % max(1, round(timeout_s * 1000))}
        self._rest_s = REST_S[0]
        self._rests_until_ns = 0

    @property
    def name(self) -> str:
        models = sorted({target.model for target in self._find(self._route).targets})
        return f"route:{self._route}:{','.join(models)}"

    async def embed(self, text: str, parent: Call | None = None) -> Vector:
        now_ns = self._world.clock.now_ns()
        if now_ns < self._rests_until_ns:
            raise StoreDown(f"the embedding route {self._route!r} failed just now, and is not asked for a while")
        try:
            found = vector_of((await self._hear(await self._asking(text, parent)))[-1].raw)
        except (TidegateError, ValueError):
            self._rests_until_ns = now_ns + round(self._rest_s * 1e9)
            self._rest_s = min(2 * self._rest_s, REST_S[1])
            raise
        self._rest_s = REST_S[0]
        return found

    async def _asking(self, text: str, parent: Call | None) -> Call:
        house = parent.principal.organisation_id if parent and parent.principal else DEFAULT_ORGANISATION
        body = {"model": self._route, "input": text[:LONGEST], "encoding_format": "base64"}
        call = own_call(
            self._world,
            await self._payer(house),
            purpose="cache_embedding",
            parent=parent,
            dialect="openai",
            operation="embed",
            path="/v1/embeddings",
            body=msgspec.json.encode(body),
            kind="shadow",
        )
        call.named = self._named
        return call

    async def _payer(self, house: str) -> Principal:
        """Each call of a client waits for it."""
        place, now_ns = (self._find(self._route).owner, house), self._world.clock.now_ns()
        known = self._payers.get(place)
        if known is None or known[0] < now_ns:
            if len(self._payers) >= REMEMBERED:
                self._payers.clear()
            known = self._payers[place] = (now_ns + PAYER_NS, await payer(self._world, *place))
        return known[1]

    async def aclose(self) -> None:
        """It holds nothing."""


def vector_of(body: bytes) -> Vector:
    """The one that was answered, of length 1. Raises ValueError."""
    try:
        (said,) = _SAID.decode(body).data
        given = said.embedding
        values = np.frombuffer(base64.b64decode(given), "<f4") if isinstance(given, str) else np.array(given)
    except (msgspec.DecodeError, binascii.Error, ValueError) as wrong:
        raise ValueError(f"the embedding route answered no vector: {wrong}") from None
    longest = float(np.abs(values).max(initial=0))
    if not np.isfinite(longest) or longest <= 0:
        raise ValueError("the embedding route answered a vector without a direction")
    scaled = values.astype(float) / longest  # so that no square is too large for a float
    return bytes((scaled / np.linalg.norm(scaled)).astype("<f4").tobytes())
