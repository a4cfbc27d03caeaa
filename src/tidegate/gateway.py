"""The life of a call. READ FIRST.

    client ─► record · gate · authenticate · read · route · arm · limits · prompt · guards · cache ─► flight: budget · …
    client ◄─ record ◄─────────────────────────────────── limits ◄──────── restore ◄ cache ◄─ shield ◄ flight ◄ upstream

Until the first event has left for the client everything may still be refused, retried or sent elsewhere, and an error
is an HTTP status. After it the reply belongs to the client, and an error is the last event of the stream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from tidegate.core.call import Call, Event, Principal, Reply, Route, Target
from tidegate.core.errors import NotFound, StoreDown
from tidegate.core.flight import Hear
from tidegate.core.parcels import Parceled
from tidegate.core.ports import Batches, Codec, Codecs, Provider
from tidegate.core.world import World
from tidegate.stages.auth import KeyAuth, permit
from tidegate.stages.bodies import Bodies
from tidegate.stages.budgets import Budgets
from tidegate.stages.cache import Cache
from tidegate.stages.experiments import Experiments
from tidegate.stages.formed import Formed
from tidegate.stages.guardrails import Guardrails
from tidegate.stages.judging import Judging
from tidegate.stages.limits import Limits
from tidegate.stages.prompts import Prompts
from tidegate.stages.record import Recorder
from tidegate.stages.routes import Routes
from tidegate.stages.shadows import Shadows
from tidegate.storage.archive import Archive
from tidegate.telemetry.outlets import Outlets
from tidegate.upstream import Upstream
from tidegate.upstream.handed import receive


@dataclass(frozen=True, slots=True)
class Gateway:
    """One configuration, frozen, ready to answer."""

    world: World
    codecs: Codecs
    providers: dict[str, Provider]
    recorder: Recorder
    auth: KeyAuth
    routes: Routes
    experiments: Experiments
    limits: Limits
    prompts: Prompts
    guardrails: Guardrails
    budgets: Budgets
    cache: Cache
    bodies: Bodies
    judging: Judging
    shadows: Shadows
    formed: Formed
    upstream: Upstream
    archive: Archive
    batches: Batches
    outlets: Outlets

    async def answer(self, call: Call, send: Callable[[Reply], Awaitable[None]]) -> None:
        """Everything that happens to a call, in order. `send` takes the reply to the client, from inside all of it."""
        with self.recorder.record(call):  # one event; one row once the key is known
            call.principal = self.auth.remembered(call.credential) or await self.recognise(
                call.credential, call.address
            )  # 401 403, 429 for who guesses keys
            permit(call)  # 403
            body = call.take_in()  # 413 415, now that we know whose it is
            self.understand(call, body if isinstance(body, bytes) else await body)  # 400 408
            call.route = self.routes.match(call)  # 403 404
            self.experiments.assign(call)  # who takes part in one goes the way of an arm from here on
            async with self.limits.admit(call):  # 429 calls: per time, at once, in a circle
                if call.prompt_asked is not None:
                    await self.prompts.render(call)  # 404 422
                if self.guardrails.on:
                    await self.guardrails.check(call)  # 400 refuse, or mask; from here what goes out is fixed
                async with self.cache.through(call, self.buy) as reply:  # asked before, or in the air? else bought
                    reply = self.judging.listen(call, self.bodies.keep(call, reply))  # where the route says so
                    if call.shadows or call.own is not None or (call.chosen is not None and call.chosen.beside):
                        reply = self.shadows.listen(call, reply)  # asked again in the background, by an arm or a tier
                    if call.arms:
                        reply = self.formed.listen(call, reply)  # where an experiment wants to know
                    await send(self.guardrails.restore(call, reply))  # the caller's own masked values

    async def heard(self, call: Call) -> list[Event]:
        """The same, for who is no client: all of the reply. Raises TidegateError."""
        heard: list[Event] = []

        async def hear(reply: Reply) -> None:
            async for events in reply.events:
                if events[-1].error:
                    raise events[-1].error
                heard.extend(events)

        await self.answer(call, hear)
        return heard

    async def said(self, call: Call) -> str:
        """Its text alone."""
        texts = [said for event in await self.heard(call) for said in event.texts()]
        return "".join(text for channel, text in texts if channel.kind == "text")

    async def buy(self, call: Call, hear: Hear) -> None:
        """What is paid for. Called by a flight only, which hears what is bought to its end."""
        await self.limits.loops.hold_up(call)  # 429 in a loop; what the cache answers is none
        async with self.budgets.reserve(call):  # 402 money, 429 tokens: the most it can be now, the truth at the end
            if call.parceled is not None:
                await self.upstream.hand_over(call)  # a line that goes with a provider's own batch is not asked now
            self.recorder.opened(call)  # 503 when it could not be accounted for
            async with self.upstream.open(call) as source:  # 502 503 504, or what the provider refuses
                await hear(self.guardrails.shield(call, source))  # mask what comes in

    def receive(self, call: Call, target: Target, body: bytes) -> None:
        """What `target` has answered it in a batch of its own; then it goes in as any other."""
        call.parceled = Parceled(target=target, body=body)
        receive(call, self.codecs, self.world.clock.now_ns())

    async def pay(self, call: Call) -> None:
        """Of one that was received, and refused before budgets knew of it: its row says already what it has cost."""
        parceled = call.parceled
        if parceled is None or parceled.target is None or parceled.charged or call.asked is None:
            return
        call.route = call.route or Route(call.asked.model, (parceled.target,), 0.0)
        with suppress(StoreDown):
            async with self.budgets.reserve(call):
                pass

    async def recognise(self, credential: str | Principal | None, address: str) -> Principal:
        """Whose key this is. Raises LimitReached for an address that guesses, before any key is looked up."""
        async with self.limits.gate(address, familiar=self.auth.is_familiar(credential)):
            return await self.auth.authenticate(credential, address)

    def understand(self, call: Call, body: bytes) -> None:
        """Read what is asked."""
        call.came = call.outgoing = body
        call.asked = asked = self.codec(call.dialect, call.operation).parse_request(body)
        if "prompt" in asked.spans:
            call.prompt_asked = self.prompts.asked(asked)
        if not call.user:
            call.user = asked.user

    def codec(self, dialect: str, operation: str) -> Codec:
        codec = self.codecs.get((dialect, operation))
        if codec is None:
            raise NotFound(f"nothing here answers {operation!r} in the dialect {dialect!r}")
        return codec
