"""What if a provider answers in its own batch? The call goes out with many others, and the answer is brought to it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tidegate.core.call import Attempt, Call, Event, ReplyHead, Route, Target
from tidegate.core.errors import BadRequest, UpstreamFailed
from tidegate.core.money import NO_USAGE
from tidegate.core.parcels import HandedOver, Parceled
from tidegate.core.ports import Codec, Codecs, TakesBatches


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
    price = provider.batch_price(target.model)
    if codec is None or price is None:
        return
    try:
        if codec is asked.codec:
            body = codec.outgoing(asked, target.model)
        else:
            body, _ = codec.render_request(asked.codec.conversation(asked), target.model)
    except BadRequest:  # whoever asks it says why
        return
    path = codec.path or call.path
    raise HandedOver(provider, target.model, price, path if path.startswith("/v1/") else f"/v1{path}", body)


def _codec(codecs: Codecs, target: Target, client: Codec) -> Codec | None:
    dialect = target.provider.dialect
    return client if dialect == client.dialect else codecs.get((dialect, client.operation))


def receive(call: Call, codecs: Codecs, now_ns: int) -> None:
    """What came back for it: an attempt, before anybody can refuse the call, for the provider is paid in any case."""
    parceled = call.parceled
    assert parceled is not None and parceled.target is not None
    attempt = Attempt(parceled.target, now_ns, first_ns=now_ns, ended_ns=now_ns, status=200, outcome="failed")
    call.attempts.append(attempt)
    codec = codecs.get((parceled.target.provider.dialect, call.operation))
    if codec is not None:
        decoder = codec.decoder(stream=False, withhold_usage=False)
        parceled.events = [*decoder.feed(parceled.body), *decoder.end()]
    for event in parceled.events:
        attempt.usage = event.usage or attempt.usage
    attempt.usage_unknown = attempt.usage == NO_USAGE
    if makes_sense(parceled):
        attempt.outcome = "ok"


def makes_sense(parceled: Parceled) -> bool:
    events = parceled.events
    return bool(events) and events[-1].last and not events[-1].error


class Delivered(msgspec.Struct, eq=False):
    """An answer that came back: the source of the call, all of it at once. Raises UpstreamFailed when it is none."""

    _call: Call
    _parceled: Parceled
    _target: Target
    head: ReplyHead = msgspec.UNSET  # type: ignore[assignment]

    async def __aenter__(self) -> Delivered:
        target = self._target
        if not makes_sense(self._parceled):
            raise UpstreamFailed(f"{target.name} sent what makes no sense")
        self._call.answered_by = target.name
        self.head = ReplyHead(target.provider.dialect, (), target)
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        push(list(self._parceled.events))

    def pause(self) -> None: ...

    def resume(self) -> None: ...
