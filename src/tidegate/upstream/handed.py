"""What if a provider answers in its own batch? The call goes out with many others, and the answer is brought to it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from tidegate.core.call import Attempt, Call, Event, ReplyHead, Route, Target
from tidegate.core.errors import BadRequest, UpstreamFailed
from tidegate.core.money import NO_USAGE
from tidegate.core.parcels import HandedOver, Parceled
from tidegate.core.ports import Codec, Codecs, TakesBatches
from tidegate.core.world import World


def may_go(route: Route, parceled: Parceled) -> bool:
    """Whether anybody of the route takes batches and has the time, so that it is worth choosing."""
    return any(_takes(target, parceled) for target in route.targets)


def _takes(target: Target, parceled: Parceled) -> bool:
    provider = target.provider
    return isinstance(provider, TakesBatches) and provider.terms is not None and parceled.left_s >= provider.terms.least


def over(call: Call, target: Target, codecs: Codecs) -> None:
    """Raises HandedOver with what goes out. Returns where it cannot be: then it is asked like any other."""
    asked, parceled, provider = call.sent, call.parceled, target.provider
    assert asked is not None and parceled is not None
    if not _takes(target, parceled) or not isinstance(provider, TakesBatches):
        return
    codec = _codec(codecs, target, asked.codec)
    if codec is None or provider.batch_price(target.model) is None:
        return
    try:
        if codec is asked.codec:
            body = codec.outgoing(asked, target.model)
        else:
            body, _ = codec.render_request(asked.codec.conversation(asked), target.model)
    except BadRequest:  # whoever asks it says why
        return
    path = codec.path or call.path
    raise HandedOver(provider, target.model, path if path.startswith("/v1/") else f"/v1{path}", body)


def _codec(codecs: Codecs, target: Target, client: Codec) -> Codec | None:
    dialect = target.provider.dialect
    return client if dialect == client.dialect else codecs.get((dialect, client.operation))


class Delivered(msgspec.Struct, eq=False):
    """An answer that came back: the source of the call, all of it at once. Raises UpstreamFailed when it is none."""

    _world: World
    _call: Call
    _codecs: Codecs
    head: ReplyHead = msgspec.UNSET  # type: ignore[assignment]
    _events: list[Event] = []

    async def __aenter__(self) -> Delivered:
        call, parceled = self._call, self._call.parceled
        assert call.route is not None and call.asked is not None and parceled is not None and parceled.body is not None
        target = next((one for one in call.route.targets if one.name == parceled.target), None)
        codec = _codec(self._codecs, target, call.asked.codec) if target is not None else None
        if target is None or codec is None or not isinstance(target.provider, TakesBatches):
            raise UpstreamFailed(f"{parceled.target} has answered, and is none of route {call.route.name!r} any more")
        target = replace(target, price=target.provider.batch_price(target.model))
        now_ns = self._world.clock.now_ns()
        attempt = Attempt(target, now_ns, first_ns=now_ns, ended_ns=now_ns, status=200, outcome="failed")
        call.attempts.append(attempt)
        decoder = codec.decoder(stream=False, withhold_usage=False)
        events = [*decoder.feed(parceled.body), *decoder.end()]
        if not events or not events[-1].last or events[-1].error:
            raise UpstreamFailed(f"{target.name} sent what makes no sense")
        for event in events:
            attempt.usage = event.usage or attempt.usage
        attempt.usage_unknown, attempt.outcome = attempt.usage == NO_USAGE, "ok"
        call.answered_by = target.name
        self._events, self.head = events, ReplyHead(codec.dialect, (), target)
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        push(self._events)

    def pause(self) -> None: ...

    def resume(self) -> None: ...
