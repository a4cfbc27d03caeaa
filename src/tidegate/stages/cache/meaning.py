"""Was something asked that means the same, and may its answer be given? One engine for each route; see `semantic`.

What was bought teaches in the background: it is embedded and compared beside the event loop, after its landing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple

import msgspec

from tidegate.core.call import Call, Principal, Wishes
from tidegate.core.errors import NotFound, StoreDown, TidegateError
from tidegate.core.ports import Blobs, Embedder, Place, Vault, Vectors
from tidegate.core.world import World
from tidegate.stages.cache.answers import answer
from tidegate.stages.cache.guard import marks
from tidegate.stages.cache.keys import Prompt
from tidegate.stages.cache.policy import SemanticConfig
from tidegate.stages.cache.semantic import Look, Memory, Semantic
from tidegate.stages.cache.semantic import Policy as Promise

REMEMBERED = 10_000  # hits that somebody may still say were wrong
WAITING = 64  # answers that wait to be compared; more are not learned from
HOUSE = "house"  # who pays for checks

MEMORY = Place("cache", column="memory")
MEMORY_S = 30 * 86_400.0

_MEMORY = msgspec.msgpack.Decoder(Memory)

Ask = Callable[[Call], Awaitable[str]]  # a call of our own through the front door; its text


class Seen(msgspec.Struct, frozen=True):
    """How the semantic part of one route is doing, for people."""

    route: str
    max_error: float
    lookups: int
    hits: int
    saved_nusd: int
    threshold: float | None  # serve from this probability on; None: not fitted yet
    error: float | None  # estimated share of wrong ones among hits
    error_upper: float | None
    why: str  # nothing is served; "" while something is


class Hit(NamedTuple):
    route: str
    look: Look
    entry: str


class _Route:
    __slots__ = ("engine", "hits", "lookups", "promise", "saved_nusd")

    def __init__(self, engine: Semantic, promise: Promise) -> None:
        self.engine = engine
        self.promise = promise
        self.lookups = self.hits = self.saved_nusd = 0


class Meanings:
    def __init__(
        self,
        world: World,
        embedder: Embedder,
        vectors: Vectors,
        ask: Ask,
        chance: Random,
        blobs: Blobs,
        vault: Vault,
    ) -> None:
        """What a route's engine has learned lies among the replies: where those outlive the process, so does it."""
        self._world = world
        self._blobs = blobs
        self._vault = vault
        self._embedder = embedder
        self._vectors = vectors
        self._ask = ask
        self._chance = chance
        self._routes: dict[str, _Route] = {}
        self._hits: OrderedDict[str, Hit] = OrderedDict()  # by the id of the call
        self._waiting = 0
        self.checks: dict[str, bytes] = {}  # calls of our own, and the key that their answer is kept under

    async def _of(self, route: str, config: SemanticConfig) -> _Route:
        assert config.max_error is not None
        promise = Promise(max_error=config.max_error, checks=config.checks)
        found = self._routes.get(route)
        if found is None or found.promise != promise:
            memory = await self._recalled(route, promise)
            found = self._routes[route] = _Route(Semantic(self._vectors, promise, self._chance, memory), promise)
        return found

    async def _recalled(self, route: str, promise: Promise) -> Memory | None:
        """What was learned before, under the same promise."""
        try:
            stored = await self._blobs.get(_memory_key(route, promise))
            return _MEMORY.decode(self._vault.unseal(stored, MEMORY)) if stored is not None else None
        except (StoreDown, ValueError) as wrong:
            self._world.events.notice("semantic_memory_lost", {"route": route, "error": str(wrong)})
            return None

    def _remember(self, route: str, one: _Route) -> None:
        packed = self._vault.seal(msgspec.msgpack.encode(one.engine.memory()), MEMORY)
        self._blobs.put(_memory_key(route, one.promise), packed, MEMORY_S)

    async def look(self, route: str, config: SemanticConfig, prompt: Prompt) -> Look | None:
        """None: nobody can be asked just now."""
        one = await self._of(route, config)
        one.lookups += 1
        try:
            vector = await self._embedder.embed(prompt.text)
            return await one.engine.look(f"{self._embedder.name}:{prompt.partition.hex()}", vector, marks(prompt.text))
        except (StoreDown, ValueError) as wrong:
            self._world.events.notice("semantic_lookup_failed", {"route": route, "error": str(wrong)})
            return None

    async def gone(self, look: Look) -> None:
        """The reply of the entry that was to be served is not kept any more."""
        if look.serve is not None:
            await self._vectors.forget(look.partition, [look.serve.id])

    def served(self, call: Call, route: str, look: Look, saved_nusd: int, key: bytes) -> None:
        """Remember it for whoever says that it was wrong; and see by chance whether it was."""
        assert look.serve is not None
        one = self._routes[route]
        one.hits += 1
        one.saved_nusd += saved_nusd
        self._hits[call.id] = Hit(route, look, look.serve.id)
        if len(self._hits) > REMEMBERED:
            self._hits.popitem(last=False)
        if look.ask:
            self._spawn(self._check(call, route, look, key), f"check {call.id}")

    def bought(self, route: str, look: Look, key: bytes, text: str) -> None:
        """The model has answered itself: that is a label, and a new entry."""
        self._spawn(self._learn(route, look, key, text), f"learn {key.hex()}")

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        async def bounded() -> None:
            try:
                await work
            except TidegateError as wrong:
                self._world.events.notice("semantic_not_learned", {"error": wrong.message})
            finally:
                self._waiting -= 1

        if self._waiting >= WAITING or self._world.closing.is_set():
            work.close()  # type: ignore[attr-defined]
            return
        self._waiting += 1
        self._world.nursery.spawn(bounded(), name)

    async def _learn(self, route: str, look: Look, key: bytes, text: str) -> None:
        one = self._routes[route]
        vector = await self._embedder.embed(text)
        await one.engine.learn(look, key.hex(), answer(key.hex(), text, vector))
        fit = await asyncio.to_thread(one.engine.refit)
        if fit is not None:
            one.engine.verifier.adopt(fit)
            self._remember(route, one)

    async def _check(self, call: Call, route: str, look: Look, key: bytes) -> None:
        own = _again(self._world, call)
        self.checks[own.id] = key
        try:
            text = await self._ask(own)
        finally:
            self.checks.pop(own.id, None)
        await self._learn(route, look, key, text)

    async def wrong(self, hit: str) -> bytes:
        """Somebody says that what the call `hit` was given is wrong: the entry leaves, and that is a label.

        The key of its reply. Raises NotFound.
        """
        found = self._hits.pop(hit, None)
        if found is None:
            raise NotFound(f"no semantic hit {hit[:80]!r} is remembered; its id is x-tidegate-request-id of the hit")
        await self._routes[found.route].engine.judged(found.look, right=False)
        return bytes.fromhex(found.entry)

    def seen(self) -> list[Seen]:
        found = []
        for name, one in self._routes.items():
            fit = one.engine.verifier.fit
            found.append(
                Seen(
                    name, one.promise.max_error, one.lookups, one.hits, one.saved_nusd,
                    fit.threshold if fit else None, fit.error if fit else None, fit.error_upper if fit else None,
                    fit.why if fit else "too few labels so far: only what is nearly identical is served",
                )
            )  # fmt: skip
        return found

    async def aclose(self) -> None:
        await self._embedder.aclose()
        await self._vectors.aclose()


def _memory_key(route: str, promise: Promise) -> bytes:
    return f"learned {promise.max_error:g} {route}".encode()


def _again(world: World, call: Call) -> Call:
    """The same question as a call of our own. Its answer is kept, and charged to the route's owner."""
    body, route, principal = call.outgoing, call.route, call.principal
    assert route is not None and principal is not None

    async def intake() -> bytes:
        return body

    own = Call(
        id=f"chk_{call.id.removeprefix('req_')}",
        dialect=call.dialect,
        operation=call.operation,
        at_ms=world.clock.wall_ns() // 1_000_000,
        arrived_ns=world.clock.now_ns(),
        credential=Principal(
            HOUSE, "checks of cached answers", "admin", team_id=route.owner, organisation_id=principal.organisation_id
        ),
        method=call.method,
        path=call.path,
        intake=intake,
        kind="shadow",
    )
    own.wishes = Wishes(cache_control="no-cache")
    return own
