"""What was said? Kept where a route says so, for as long as it says, and nowhere else.

What is kept is what a provider was asked and what guards let pass of its answer; the caller's own values, where they
were withheld, are not in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

import msgspec

from tidegate.core.call import Call, Event, Reply, ReplyHead
from tidegate.core.ports import Bodies as Store
from tidegate.core.ports import Body
from tidegate.core.trace import may_be_told
from tidegate.core.values import Duration, Size

Tell = Callable[[Body], None]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether what is said in its calls is kept. Encrypted, where vault.keys names a key.

    prompts: keep what was asked, as it went out.
    replies: keep what was answered, as guards let it pass.
    ttl: how long.
    max_bytes: of a question, and of an answer; of a longer one nothing is kept but that it was longer.
    traces: put both into the traces of its calls, as guards let them pass, for whoever is sent those; not where the
        client says x-tidegate-trace-content=off.
    """

    prompts: bool = False
    replies: bool = False
    ttl: Duration = Duration(30 * 86_400)
    max_bytes: Size = Size(1024 * 1024)
    traces: bool = False

    @property
    def keeps(self) -> bool:
        return self.prompts or self.replies


def trouble(config: Config, *, traced: bool) -> tuple[str, str] | None:
    """Which key is wrong, and what to do. `traced`: somebody is sent traces."""
    if config.traces and not traced:
        return "traces", "is of no use while nobody is sent any; set traces.to too"
    if config.ttl <= 0:
        return "ttl", "must be longer than nothing; to keep nothing, set prompts and replies to false"
    return None


class Bodies:
    """Of the routes that keep something, or tell it to traces."""

    def __init__(self, routes: Mapping[str, Config], store: Store, tell: Tell | None = None) -> None:
        """`tell`: where there are traces."""
        self._routes = {name: one for name, one in routes.items() if one.keeps or (one.traces and tell is not None)}
        self._store = store
        self._tell = tell

    def keep(self, call: Call, reply: Reply) -> Reply:
        """The same reply, kept as it passes by. The very same where nothing is kept."""
        if not self._routes:
            return reply
        assert call.route is not None
        config = self._routes.get(call.route.name)
        if config is None:
            return reply
        store = self._store.put if config.keeps else None
        tell = self._tell if config.traces and may_be_told(call.named) else None
        return Keeping(call, reply, config, store, tell) if store or tell else reply


class Keeping:
    """A reply whose events are kept at its end, or as far as they were read."""

    def __init__(self, call: Call, reply: Reply, config: Config, store: Tell | None, tell: Tell | None) -> None:
        self.head: ReplyHead = reply.head
        self.as_asked = reply.as_asked
        self._call = call
        self._events = reply.events
        self._config = config
        self._store = store
        self._tell = tell
        self._hears = config.replies or tell is not None
        self._pieces: list[bytes] = []
        self._size = 0
        self._over = False

    @property
    def events(self) -> AsyncIterator[list[Event]]:
        return self

    def __aiter__(self) -> AsyncIterator[list[Event]]:
        return self

    async def __anext__(self) -> list[Event]:
        try:
            events = await anext(self._events)
        except BaseException:  # whoever reads has left, or there is no more
            self._end(whole=False)
            raise
        if self._hears:
            for event in events:
                self._pieces.append(event.raw)
                self._size += len(event.raw)
        if self._size > self._config.max_bytes:
            self._pieces.clear()
        if events[-1].last:
            self._end(whole=events[-1].error is None)
        return events

    def _end(self, *, whole: bool) -> None:
        if self._over:
            return
        self._over = True
        call, config = self._call, self._config
        assert call.principal is not None
        request = call.outgoing if len(call.outgoing) <= config.max_bytes else None
        reply = b"".join(self._pieces) if self._hears and self._size <= config.max_bytes else None
        long = len(call.outgoing) > config.max_bytes or self._size > config.max_bytes
        body = Body(
            id=call.id,
            at_ms=call.at_ms,
            until_ms=call.at_ms + round(config.ttl * 1000),
            tenant=call.principal.organisation_id,
            user=call.user,
            team=call.principal.team_id,
            key_id=call.principal.key_id,
            dialect=call.dialect,
            request=request,
            reply_dialect=self.head.dialect if reply is not None else None,
            reply=reply,
            whole=whole and not long,
        )
        if self._tell is not None:
            self._tell(body)
        if self._store is not None:
            self._store(_kept(body, config))


def _kept(body: Body, config: Config) -> Body:
    """Of both, what the route keeps."""
    if not config.prompts:
        body = msgspec.structs.replace(body, request=None)
    if not config.replies:
        body = msgspec.structs.replace(body, reply=None, reply_dialect=None)
    return body
