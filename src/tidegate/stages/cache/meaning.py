"""Was something asked that means the same, and may its answer be given? One engine for each route; see `semantic`.

What was bought teaches in the background: it is embedded and compared beside the event loop, after its landing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple

import msgspec

from tidegate.core.call import Call, Route, Wishes
from tidegate.core.errors import NotFound, TidegateError
from tidegate.core.own import own_call, payer
from tidegate.core.ports import Blobs, Embedder, Place, Vault, Vectors
from tidegate.core.world import World
from tidegate.stages.cache.answers import answer
from tidegate.stages.cache.exact import Entry as Stored
from tidegate.stages.cache.exact import Kept
from tidegate.stages.cache.guard import marks
from tidegate.stages.cache.keys import Prompt
from tidegate.stages.cache.learned import Known
from tidegate.stages.cache.policy import SemanticConfig
from tidegate.stages.cache.semantic import Look, Semantic
from tidegate.stages.cache.semantic import Policy as Promise

REMEMBERED_S = 7 * 86_400.0  # how long somebody may say that a hit was wrong
WAITING = 64  # answers that wait to be compared; more are not learned from
HIT = Place("cache", column="hit")

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


class Hit(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of one, for whoever says that it was wrong."""

    route: str
    partition: str
    entry: str
    features: tuple[float, ...]  # the similarity first
    bought: str = ""  # by this call


class Check:
    """A call of ours that answers a kept question anew. Its passage keeps the reply under `key`, and leaves it here."""

    __slots__ = ("kept", "key")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.kept: Kept | None = None


class Bought(NamedTuple):
    """What the model has answered itself."""

    key: bytes
    text: str
    kept: Kept


_HIT = msgspec.msgpack.Decoder(Hit)


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
        """Hits are remembered in `blobs`: where others have them too, they may be told there that one was wrong."""
        self._world = world
        self._blobs = blobs
        self._vault = vault
        self._embedder = embedder
        self._vectors = vectors
        self._ask = ask
        self._chance = chance
        self._routes: dict[str, Known] = {}
        self._waiting = 0
        self.checks: dict[str, Check] = {}  # by the id of the call

    def _of(self, route: str, config: SemanticConfig) -> Known:
        assert config.max_error is not None
        promise = Promise(max_error=config.max_error, checks=config.checks, twice=config.twice)
        found = self._routes.get(route)
        if found is None or found.promise != promise:
            engine = Semantic(self._vectors, promise, self._chance)
            found = self._routes[route] = Known(self._world, self._vectors, self._vault, route, engine, promise)
            # Nobody waits for what was learned before: until it is here only what is nearly identical is served.
            self._spawn(found.recall(), f"recall {route}")
        return found

    async def look(self, call: Call, route: str, config: SemanticConfig, prompt: Prompt) -> Look | None:
        """None: nobody can be asked just now."""
        one = self._of(route, config)
        try:
            vector = await self._embedder.embed(prompt.text, call)
            return await one.engine.look(f"{self._embedder.name}:{prompt.partition.hex()}", vector, marks(prompt.text))
        except (TidegateError, ValueError) as wrong:
            self._world.events.notice("semantic_lookup_failed", {"route": route, "error": str(wrong)})
            return None

    async def reply(self, look: Look) -> bytes | None:
        """Of the entry that is to be served, sealed; None when it is not kept any more. Raises StoreDown."""
        assert look.serve is not None
        now_ms = self._world.clock.wall_ns() // 1_000_000
        return await self._vectors.reply(look.partition, look.serve.id, now_ms)

    def gone(self, look: Look) -> None:
        """The entry that was to be served has no reply any more."""
        if look.serve is not None:
            self._spawn(self._forget(look.partition, look.serve.id), f"forget {look.serve.id}")

    async def _forget(self, partition: str, entry: str) -> None:
        await self._vectors.forget(partition, [entry])

    def served(self, call: Call, look: Look, found: Stored, key: bytes) -> None:
        """Remember it for whoever says that it was wrong; and see by chance whether it was."""
        assert look.serve is not None and look.candidate is not None and call.route is not None
        one = self._routes[call.route.name]
        one.engine.served(found.cost_nusd or 0)
        hit = Hit(call.route.name, look.partition, look.serve.id, look.candidate.features, found.call)
        self._blobs.put(_hit_key(call.id), self._vault.seal(msgspec.msgpack.encode(hit), HIT), REMEMBERED_S)
        if look.ask:
            self._spawn(self._check(call, call.route, look, key), f"check {call.id}")
        elif one.has_news:
            self._spawn(one.share(), f"share {call.route.name}")

    def bought(self, call: Call, look: Look, key: bytes, text: str, kept: Kept) -> None:
        """The model has answered itself: that is a label, and a new entry. Now and then it is asked a second time."""
        assert call.route is not None
        self._spawn(self._learn(call, call.route, look, Bought(key, text, kept)), f"learn {call.id}")

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        async def bounded() -> None:
            try:
                await work
            except (TidegateError, ValueError) as wrong:
                self._world.events.notice("semantic_not_learned", {"error": str(wrong)})
            finally:
                self._waiting -= 1

        if self._waiting >= WAITING or self._world.closing.is_set():
            work.close()  # type: ignore[attr-defined]
            return
        self._waiting += 1
        self._world.nursery.spawn(bounded(), name)

    async def _learn(self, call: Call, route: Route, look: Look, bought: Bought) -> None:
        one, id = self._routes[route.name], bought.key.hex()
        said = answer(id, bought.text, await self._embedder.embed(bought.text, call))
        await one.engine.learn(look, id, said, bought.kept)
        if look.ask_twice:
            text = await self._ask(await self._again(call, route, "asked_twice"))
            one.engine.asked_twice(said, answer(id, text, await self._embedder.embed(text, call)))
        if one.has_news:
            await one.share()

    async def _check(self, call: Call, route: Route, look: Look, key: bytes) -> None:
        own = await self._again(call, route, "cache_check")
        self.checks[own.id] = check = Check(key)
        try:
            text = await self._ask(own)
        finally:
            self.checks.pop(own.id, None)
        if check.kept is not None:
            await self._learn(call, route, look, Bought(key, text, check.kept))

    async def _again(self, call: Call, route: Route, purpose: str) -> Call:
        """The same question as a call of our own, on the account of the route's owner."""
        principal = call.principal
        assert principal is not None
        whose = await payer(self._world, route.owner, principal.organisation_id)
        own = own_call(
            self._world, whose, purpose=purpose, parent=call, dialect=call.dialect, operation=call.operation,
            path=call.path, body=call.outgoing, kind="shadow",
        )  # fmt: skip
        # It goes the same way as the call that it is made for, and counts for nobody.
        own.arms = tuple([msgspec.structs.replace(one, counted=False) for one in call.arms])
        own.wishes = Wishes(cache_control="no-cache" if purpose == "cache_check" else "no-store")
        return own

    async def wrong(self, hit: str) -> bytes:
        """Somebody says that what the call `hit` was given is wrong: the entry leaves, and that is a label.

        The key of its reply. Raises NotFound, StoreDown.
        """
        entry = await self.judged(hit, right=False, source="feedback")
        if entry is None:
            raise NotFound(f"no semantic hit {hit[:80]!r} is remembered; its id is x-tidegate-request-id of the hit")
        return entry

    async def hit(self, id: str) -> Hit | None:
        """What is remembered of it: for a week, until somebody has judged it. Raises StoreDown."""
        try:
            stored = await self._blobs.get(_hit_key(id))
            return _HIT.decode(self._vault.unseal(stored, HIT)) if stored else None
        except ValueError:
            return None

    async def judged(self, hit: str, *, right: bool, source: str) -> bytes | None:
        """The key of its reply; None: no such hit is remembered, or it was judged before. Raises StoreDown."""
        found = await self.hit(hit)
        if found is None:
            return None
        self._blobs.put(_hit_key(hit), b"", 0.001)
        one = self._routes.get(found.route)
        if one is not None:
            await one.engine.judged(found.partition, found.entry, found.features, right=right, source=source)
            if one.has_news:
                await one.share()
        elif not right:
            await self._vectors.forget(found.partition, [found.entry])
        return bytes.fromhex(found.entry)

    async def purge(self, tag: str | None) -> int:
        """Drop the questions with this tag, or all; what was learned of others like them stays. Raises StoreDown."""
        return await self._vectors.purge(tag)

    def seen(self) -> list[Seen]:
        found = []
        for name, one in self._routes.items():
            known, fit = one.engine.memory(), one.engine.verifier.fit
            found.append(
                Seen(
                    name, one.promise.max_error, known.lookups, known.hits, known.saved_nusd,
                    fit.threshold if fit else None, fit.error if fit else None, fit.error_upper if fit else None,
                    fit.why if fit else "too few labels so far: only what is nearly identical is served",
                )
            )  # fmt: skip
        return found

    async def aclose(self) -> None:
        for one in self._routes.values():
            await one.end()
        await self._embedder.aclose()
        await self._vectors.aclose()


def _hit_key(call_id: str) -> bytes:
    return f"hit {call_id}".encode("utf-8", "surrogatepass")
