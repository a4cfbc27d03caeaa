"""What is in an answer whose meaning we do not know? Every string of its JSON, once all of it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from tidegate.core.call import Call, Event, Source
from tidegate.core.chat import Channel
from tidegate.core.errors import GuardFailed, TidegateError
from tidegate.core.places import Moved, replaced, strings
from tidegate.stages.guardrails.masks import Masks
from tidegate.stages.guardrails.parts import is_spoken
from tidegate.stages.guardrails.replies import Failed, Looks, headed

if TYPE_CHECKING:
    from tidegate.stages.guardrails import Guard

MOST = 4 * 1024 * 1024  # bytes; a longer answer cannot be looked at

_ANY = msgspec.json.Decoder()


class WholeShielded:
    """A source that is held until it has ended, then looked at, then let go as one event.

    What is no JSON, or too long, cannot be looked at: it does not pass where a guard is closed.
    """

    def __init__(self, source: Source, call: Call, guards: Sequence[Guard], masks: Masks, failed: Failed) -> None:
        self.head = headed(source.head)
        self._source = source
        self._looks = Looks(call, guards, masks, failed)
        self._body = bytearray()
        self._unseen = self._over = False

    def begin(self, push: Callable[[list[Event]], None]) -> None:
        self._push = push
        self._source.begin(self._feed)

    def _feed(self, events: list[Event]) -> None:
        if self._over:
            return
        try:
            out = self._fed(events)
        except (TidegateError, Moved) as wrong:
            error = wrong if isinstance(wrong, TidegateError) else GuardFailed("what a guard found cannot be masked")
            out = [Event(last=True, error=error)]
        if out:
            self._over = out[-1].last
            self._push(out)

    def _fed(self, events: list[Event]) -> list[Event]:
        if self._unseen:
            return events
        self._body += b"".join([event.raw for event in events])
        last = events[-1]
        if last.error is not None:
            return [last]  # half of an answer has no end that anybody could have looked at
        if len(self._body) > MOST:
            self._cannot(f"it is longer than {MOST} bytes")
        elif last.last:
            self._look()
        else:
            return []
        body, self._body = bytes(self._body), bytearray()
        return [Event(body, opens=True, last=last.last, usage=last.usage)]

    def _cannot(self, why: str) -> None:
        """Raises GuardFailed, unless all may be done without."""
        self._unseen = True
        for guard in self._looks.guards:
            self._looks.fail(guard, ValueError(f"this answer cannot be looked at: {why}"))

    def _look(self) -> None:
        body = bytes(self._body)
        try:
            texts = list(texts_of(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._cannot("it is no JSON")
            return
        self._looks.looked = True
        changes: dict[str, tuple[str, str]] = {}
        complete = False
        try:
            for path, text in texts:
                one = self._looks.begin(Channel())
                changes[path] = text, one.feed(text) + one.end()
            complete = True
        finally:
            self._looks.conclude(complete=complete)
        changes = {path: both for path, both in changes.items() if both[0] != both[1]}
        self._body = bytearray(replaced(body, changes)) if changes else self._body

    def pause(self) -> None:
        self._source.pause()

    def resume(self) -> None:
        self._source.resume()


def texts_of(body: bytes) -> Iterator[tuple[str, str]]:
    if body.strip():
        yield from ((path, text) for path, text in strings("", _ANY.decode(body)) if is_spoken(text))
