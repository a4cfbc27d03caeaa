"""Does a program ask itself? Of the last calls of a key and a session or end user, those whose last turn looks alike.

A turn is normalised (no digits, no punctuation, small letters, so that a time stamp changes nothing) and kept as the
hash of all of it and a bottom-k sketch of its pairs of words (MinHash), from which similarity is estimated. Alike are
two turns of similarity 0.9, the same one exactly, and one that begins as the other did, is longer, and repeats itself.
Eight of the last twenty, within minutes, are a loop; two that alternate are ten each.

All of this is in the memory of one process and bounded: so many conversations, twenty turns of each, 32 hashes a turn.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidegate.core.call import HOP, Call
from tidegate.core.errors import LoopSuspected
from tidegate.core.values import Duration
from tidegate.core.world import World

CONVERSATIONS = 2_000
LAST = 20
WORDS = 128  # from the beginning of a turn, and as many from its end
TEXT = 2_048  # characters, the same
SKETCH = 32
HEAD = 24  # words that a turn which grows begins with
ALIKE = 0.9
PARAPHRASED = 0.75
SELF_REPEATING = 0.67  # pairs of words that are there once, among all
EARLY = 2  # turns that come before anything is compared: who asks seldom pays for no sketch
PASSED_OVER = "0123456789.,:;!?-_/\\()[]{}<>\"'`*#+=|~@$%^&"
_NOTHING = str.maketrans("", "", PASSED_OVER)
_SMALL = bytes(range(256)).lower()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls that look alike. A key with the scope `batch` may make them.

    policy: what is done when a loop is suspected: `off` looks for none, `warn` tells the operator, `throttle` makes
        each call wait as well, `stop` refuses.
    calls: how many of the last 20 must look alike before calls are refused; half as many are told and made to wait.
    within: calls that are further apart are no loop.
    wait: how long each call waits from half of `calls` on.
    hops: how often a call may come from Tidegate to Tidegate again.
    """

    policy: Literal["off", "warn", "throttle", "stop"] = "stop"
    calls: Annotated[int, Meta(ge=3, le=20)] = 8
    within: Duration = Duration(300)
    wait: Duration = Duration(0.5)
    hops: Annotated[int, Meta(ge=1, le=100)] = 8


class Turn:
    """What is kept of the last turn of one call."""

    __slots__ = ("at_ns", "call_id", "head", "length", "long", "repeats", "sketch", "whole")

    def __init__(self, text: str, call_id: str, at_ns: int, *, sketched: bool) -> None:
        words = _words(text)
        self.at_ns = at_ns
        self.call_id = call_id
        self.whole = hash(tuple(words))
        self.head = hash(tuple(words[:HEAD]))
        self.long = len(words) > HEAD // 2
        self.length = len(text)
        self.sketch: frozenset[int] = frozenset()
        self.repeats = False
        if sketched and len(words) > 1:
            pairs = list(map(hash, pairwise(words)))
            once = set(pairs)
            self.repeats = len(once) < SELF_REPEATING * len(pairs)
            self.sketch = frozenset(sorted(once)[:SKETCH])


def _words(text: str) -> list[str]:
    """The words that count, bounded: of a long turn its beginning and its end."""
    if len(text) > 2 * TEXT:
        text = f"{text[:TEXT]} {text[-TEXT:]}"
    if text.isascii():  # ten times as fast
        words = text.encode().translate(_SMALL, PASSED_OVER.encode()).decode().split()
    else:
        words = text.lower().translate(_NOTHING).split()
    return words if len(words) <= 2 * WORDS else words[:WORDS] + words[-WORDS:]


def similarity(a: Turn, b: Turn) -> float:
    """Of their pairs of words, how many both have; 1 for a turn that is the other one grown."""
    if a.whole == b.whole:
        return 1.0
    if a.long and a.head == b.head and a.length != b.length and (a if a.length > b.length else b).repeats:
        return 1.0
    if not a.sketch or a.sketch.isdisjoint(b.sketch):
        return 0.0
    if len(a.sketch) == SKETCH == len(b.sketch):  # of longer texts: the smallest of both together, and who has them
        smallest = sorted(a.sketch | b.sketch)[:SKETCH]
        return sum(one in a.sketch and one in b.sketch for one in smallest) / SKETCH
    both = len(a.sketch & b.sketch)
    return both / (len(a.sketch) + len(b.sketch) - both)


class Loops:
    def __init__(self, config: Config, world: World) -> None:
        self._config = config
        self._world = world
        self._within_ns = round(config.within * 1e9)
        self._seen: OrderedDict[tuple[str, str], deque[Turn]] = OrderedDict()

    async def look(self, call: Call) -> None:
        """Before a call goes on. Raises LoopSuspected."""
        config, principal = self._config, call.principal
        assert principal is not None and call.asked is not None
        if HOP in call.named:
            call.hop = _hop(call.named[HOP])
        if call.hop > config.hops:
            raise LoopSuspected(
                f"this call has come from Tidegate to Tidegate {call.hop} times: a provider of one leads to the other; "
                "look at base_url of the providers, or raise limits.loops.hops"
            )
        if config.policy == "off" or "batch" in principal.scopes or call.kind != "live":
            return
        text = call.asked.codec.last_turn(call.asked)
        if not text:
            return
        alike, paraphrased = self._compare(call, text)
        if 2 * len(alike) >= config.calls:
            await self._act(call, alike)
        elif paraphrased >= config.calls:
            self._tell("loop_paraphrased", call, paraphrased, config.calls)

    def resume(self, key_id: str) -> int:
        """Forget what the calls of this key looked like; of how many conversations."""
        known = [place for place in self._seen if place[0] == key_id]
        for place in known:
            del self._seen[place]
        return len(known)

    def _compare(self, call: Call, text: str) -> tuple[Sequence[Turn], int]:
        """The turns of this conversation that look like this one, itself included; and how many nearly do."""
        assert call.principal is not None
        place = (call.principal.key_id, call.session or call.user or "")
        turns = self._seen.get(place)
        if turns is None:
            turns = self._seen[place] = deque(maxlen=LAST)
            if len(self._seen) > CONVERSATIONS:
                self._seen.popitem(last=False)
        self._seen.move_to_end(place)
        while turns and turns[0].at_ns < call.arrived_ns - self._within_ns:
            turns.popleft()
        turn = Turn(text, call.id, call.arrived_ns, sketched=len(turns) >= EARLY)
        turns.append(turn)
        alike, paraphrased = [], 0
        for one in turns:
            # Almost all turns have nothing in common, and nothing is what almost all of them should cost.
            if one.whole != turn.whole and one.head != turn.head and turn.sketch.isdisjoint(one.sketch):
                continue
            likely = 1.0 if one.whole == turn.whole else similarity(turn, one)
            paraphrased += likely >= PARAPHRASED
            if likely >= ALIKE:
                alike.append(one)
        return alike, paraphrased

    async def _act(self, call: Call, alike: Sequence[Turn]) -> None:
        config = self._config
        stops = config.policy == "stop" and len(alike) >= config.calls
        self._tell("loop_stopped" if stops else "loop_suspected", call, len(alike), (config.calls + 1) // 2)
        if stops:
            assert call.principal is not None
            which = ", ".join(turn.call_id for turn in alike[-4:-1])
            raise LoopSuspected(
                f"{len(alike)} of the last calls of key {call.principal.name!r} look alike (such as {which}), like "
                f"those of a program that asks itself; if they are meant to, run: tidegate keys resume "
                f"{call.principal.key_id}, give the key the scope 'batch', or set limits.loops"
            )
        call.notes = (*call.notes, f"{len(alike)} of the last calls look alike: a loop?")
        if config.policy in ("throttle", "stop"):
            await self._world.clock.sleep(config.wait)

    def _tell(self, name: str, call: Call, count: int, first: int) -> None:
        """Once when it begins, and when it is stopped; not with each call."""
        if count in (first, self._config.calls) and call.principal is not None:
            fields = {"key": call.principal.key_id, "session": call.session, "calls": count, "request_id": call.id}
            self._world.events.notice(name, fields)


def _hop(said: bytes) -> int:
    return int(said) if said.isdigit() and len(said) < 4 else 0
