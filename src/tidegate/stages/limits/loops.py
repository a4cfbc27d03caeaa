"""Does a program ask itself? Of the last calls of a key and a session or end user, those whose last turn looks alike.

A turn is normalised (no digits, no punctuation, small letters, so that a time stamp changes nothing) and kept as the
hash of all of it and a bottom-k sketch of its pairs of words (MinHash), from which similarity is estimated. Alike are
two turns of similarity 0.9, the same one exactly, and one that begins as the other did, is longer, and repeats itself.
Eight of the last twenty, within minutes, are a loop; two that alternate are ten each.

All of this is bounded: so many conversations, twenty turns of each, 32 hashes a turn. Processes that count together
read the turns of each other on the way that the door's claim goes, and leave theirs without waiting; of a conversation
that is very busy up to a second late. While the counters are away each goes by what it has seen itself. `resume` is a
note that is read before calls are held up.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple
from zlib import crc32

import msgspec
from msgspec import Meta

from tidegate.core.call import HOP, Call
from tidegate.core.errors import LoopSuspected, StoreDown
from tidegate.core.values import Duration
from tidegate.core.world import World

CONVERSATIONS = 2_000
TURNS = 500
HEARD = 1_000  # turns of other processes, and how each of them reads
LAST = 20
WORDS = 128  # from the beginning of a turn, and as many from its end
TEXT = 2_048  # characters, the same
SKETCH = 32
HEAD = 24  # words that a turn which grows begins with
ALIKE = 0.9
PARAPHRASED = 0.75
AGAIN = 0.4
SELF_REPEATING = 0.67  # pairs of words that are there once, among all
OFTEN_MS = 1_000  # who has asked LAST times in it has its own turns to compare: what others saw is not asked for
RESUMED = "resumed keys"  # the board of those that an administrator lets go on
STOPPED = "stopped keys"  # and of those that may not, with when that was said last
EARLY = 2  # turns that come before anything is compared: who asks seldom pays for no sketch
STATE = b"tidegate="
MAX_STATE = 512  # bytes that anybody must pass on
MARKS = frozenset((HOP, b"traceparent"))
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_NOTHING = b"0123456789.,:;!?-_/\\()[]{}<>\"'`*#+=|~@$%^&"


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


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of the last turn of one call. Hashes are of words as numbers."""

    at_ms: int
    call_id: str
    whole: int
    head: int
    length: int
    long: bool
    repeats: bool = False
    sketch: frozenset[int] = frozenset()
    words: frozenset[int] = frozenset()  # in a session: of a few words said anew most stay, and few pairs do
    free: bool = False  # the cache has answered it: who asks again and again for nothing is no runaway


_TURN = msgspec.msgpack.Decoder(Turn)
_ENCODE = msgspec.msgpack.Encoder(order="deterministic").encode  # it is found again by its bytes


def turn_of(text: str, call: Call, *, sketched: bool) -> Turn:
    """Words are numbers first: Python's own hash of a text differs by process, that of numbers does not."""
    words = _words(text)
    sketch: frozenset[int] = frozenset()
    repeats = False
    if sketched and len(words) > 1:
        pairs = list(map(hash, pairwise(words)))
        once = set(pairs)
        repeats = len(once) < SELF_REPEATING * len(pairs)
        sketch = _smallest(once)
    head, long = hash(tuple(words[:HEAD])), len(words) > HEAD // 2
    said: frozenset[int] = frozenset()
    if call.session is not None:
        said = _smallest(set(words))
    return Turn(call.at_ms, call.id, hash(tuple(words)), head, len(text), long, repeats, sketch, said)


def _smallest(hashes: set[int]) -> frozenset[int]:
    return frozenset(hashes if len(hashes) <= SKETCH else sorted(hashes)[:SKETCH])


def _words(text: str) -> list[int]:
    """The words that count, bounded: of a long turn its beginning and its end."""
    if len(text) > 2 * TEXT:
        text = f"{text[:TEXT]} {text[-TEXT:]}"
    # As bytes: taking letters out of a str takes three times as long.
    words = text.lower().encode("utf-8", "surrogatepass").translate(None, _NOTHING).split()
    return list(map(crc32, words if len(words) <= 2 * WORDS else words[:WORDS] + words[-WORDS:]))


def similarity(a: Turn, b: Turn) -> float:
    """Of their pairs of words, how many both have; 1 for a turn that is the other one grown."""
    if a.whole == b.whole:
        return 1.0
    if a.long and a.head == b.head and a.length != b.length and (a if a.length > b.length else b).repeats:
        return 1.0
    return _shared(a.sketch, b.sketch)


def _shared(a: frozenset[int], b: frozenset[int]) -> float:
    if not a or a.isdisjoint(b):
        return 0.0
    if len(a) == SKETCH == len(b):  # of longer texts: the smallest of both together, and who has them
        return sum(one in a and one in b for one in sorted(a | b)[:SKETCH]) / SKETCH
    both = len(a & b)
    return both / (len(a) + len(b) - both)


def says_again(before: Turn, turn: Turn) -> bool:
    """Whether the same is asked in nearly the same words: people keep most of them."""
    return before.whole == turn.whole or _shared(before.words, turn.words) >= AGAIN


class Suspect(NamedTuple):
    """A call that looks like a part of a loop."""

    alike: Sequence[Turn]
    paraphrased: int


class Loops:
    def __init__(self, config: Config, world: World) -> None:
        self._config = config
        self._world = world
        self._within_ms = round(config.within * 1000)
        self._seen: OrderedDict[tuple[str, str], Sequence[Turn]] = OrderedDict()  # oldest first
        self._turns: OrderedDict[tuple[str, bool, bool], Turn] = OrderedDict()  # of the last texts, read already
        self._heard: dict[bytes, Turn] = {}
        self._recalled: dict[tuple[str, str], tuple[int, int]] = {}  # since when, and how often since then
        self._suspects: dict[str, Suspect] = {}  # calls under way, by id

    def looks_at(self, call: Call) -> bool:
        """Whether there is anything about a call that `look` would look at."""
        return self._config.policy != "off" or not MARKS.isdisjoint(call.named)

    def ask(self, call: Call) -> Awaitable[Sequence[bytes]] | None:
        """What other processes have seen of its conversation, for `look`: asked now, so that nobody waits."""
        if not self._world.counters.together or not self._compares(call):
            return None
        assert call.principal is not None
        conversation = _conversation(call)
        since_ms, times = self._recalled.get(conversation, (call.at_ms, 0))
        if not 0 <= call.at_ms - since_ms < OFTEN_MS:
            since_ms, times = call.at_ms, 0
        if times >= LAST:
            return None
        if len(self._recalled) >= CONVERSATIONS:
            self._recalled.clear()
        self._recalled[conversation] = since_ms, times + 1
        with suppress(StoreDown):
            return self._world.counters.recall(call.principal.organisation_id, _place(conversation))
        return None

    async def look(self, call: Call, asked: Awaitable[Sequence[bytes]] | None = None) -> None:
        """Before a call goes on. Raises LoopSuspected for one that goes in a circle of Tidegates; what only looks like
        a loop is held up where it would cost something."""
        config = self._config
        assert call.asked is not None
        if not MARKS.isdisjoint(call.named):
            _follow(call)
        if call.hop > config.hops:
            raise LoopSuspected(
                f"this call has come from Tidegate to Tidegate {call.hop} times: a provider of one leads to the other; "
                "look at base_url of the providers, or raise limits.loops.hops"
            )
        if not self._compares(call):
            return
        text = call.asked.codec.last_turn(call.asked)
        if not text:
            return
        before = await self._before(call, asked)
        # Who asks seldom pays for no sketch; where others look, what they see must have one.
        together = self._world.counters.together
        turn = self._turn(text, call, sketched=together or len(before) >= EARLY)
        call.asked_again = bool(before and call.session is not None and says_again(before[-1], turn))
        self._remember(call, [*before, turn][-LAST:], together=together)
        alike, paraphrased = compared(turn, [*before[1 - LAST :], turn])
        if 2 * len(alike) >= config.calls or paraphrased >= config.calls:
            self._suspects[call.id] = Suspect(alike, paraphrased)

    def _turn(self, text: str, call: Call, *, sketched: bool) -> Turn:
        """What is asked again and again, as what a cache answers is, is read once."""
        known = (text, sketched, call.session is not None)
        turn = self._turns.get(known)
        if turn is None:
            turn = turn_of(text, call, sketched=sketched)
            if len(text) <= 2 * TEXT:
                self._turns[known] = turn
                if len(self._turns) > TURNS:
                    self._turns.popitem(last=False)
            return turn
        return Turn(
            call.at_ms, call.id, turn.whole, turn.head, turn.length, turn.long, turn.repeats, turn.sketch, turn.words
        )

    async def hold_up(self, call: Call) -> None:
        """Before something is bought for it. Raises LoopSuspected."""
        suspect = self._suspects.get(call.id) if self._suspects else None
        if suspect is None:
            return
        alike, config = suspect.alike, self._config
        if 2 * len(alike) >= config.calls:
            resumed_ms = await self._resumed_ms(call)
            alike = [one for one in alike if one.call_id == call.id or one.at_ms > resumed_ms]
        if 2 * len(alike) >= config.calls:
            await self._act(call, alike)
        elif suspect.paraphrased >= config.calls:
            self._tell("loop_paraphrased", call, suspect.paraphrased, config.calls)

    def leave(self, call: Call) -> None:
        """It is over. What the cache answered counts no more."""
        if self._suspects:
            self._suspects.pop(call.id, None)
        if call.cached is None or not call.cached.found or not self._compares(call):
            return
        conversation = _conversation(call)
        turns = [*self._seen.get(conversation, ())]
        for at in range(len(turns) - 1, -1, -1):
            turn = turns[at]
            if turn.call_id == call.id:
                turns[at] = free = msgspec.structs.replace(turn, free=True)
                self._seen[conversation] = turns
                if self._world.counters.together:
                    assert call.principal is not None
                    place = call.principal.organisation_id, _place(conversation)
                    self._world.counters.rewrite(*place, _ENCODE(turn), _ENCODE(free))
                return

    async def resume(self, key_id: str) -> None:
        """What the calls of this key looked like until now counts no more, in any process. Raises StoreDown."""
        now_ms = self._world.clock.wall_ns() // 1_000_000
        await self._world.counters.note(RESUMED, key_id, b"%d" % now_ms, self._config.within)
        await self._world.counters.note(STOPPED, key_id, None, 0)

    async def stopped_ms(self, key_id: str) -> int | None:
        """When a call of this key was last refused for a loop, in any process; None: not within `within`, or resumed
        since, or nobody can tell."""
        with suppress(StoreDown):
            found = (await self._world.counters.notes(STOPPED)).get(key_id)
            return int(found) if found else None
        return None

    def _compares(self, call: Call) -> bool:
        assert call.principal is not None
        return self._config.policy != "off" and "batch" not in call.principal.scopes and call.kind == "live"

    async def _before(self, call: Call, asked: Awaitable[Sequence[bytes]] | None) -> Sequence[Turn]:
        """The turns of this conversation that are not too long ago."""
        turns = self._seen.get(_conversation(call), ())
        if asked is not None:
            with suppress(StoreDown, msgspec.DecodeError):  # of another version, while one is rolled out
                turns = [self._heard.get(one) or self._hear(one) for one in await asked]
        first_ms = call.at_ms - self._within_ms
        return turns if not turns or turns[0].at_ms >= first_ms else [one for one in turns if one.at_ms >= first_ms]

    def _hear(self, told: bytes) -> Turn:
        """The same turns come with every call of their conversation: each is read once."""
        if len(self._heard) >= HEARD:
            self._heard.clear()
        turn = self._heard[told] = _TURN.decode(told)
        return turn

    def _remember(self, call: Call, turns: Sequence[Turn], *, together: bool) -> None:
        conversation = _conversation(call)
        self._seen[conversation] = turns
        self._seen.move_to_end(conversation)
        if len(self._seen) > CONVERSATIONS:
            self._seen.popitem(last=False)
        if together:
            assert call.principal is not None
            house, place = call.principal.organisation_id, _place(conversation)
            self._world.counters.remember(house, place, _ENCODE(turns[-1]), LAST, self._config.within)

    async def _resumed_ms(self, call: Call) -> int:
        """Until when the calls of its key are forgiven. Asked of few: those that would be held up."""
        assert call.principal is not None
        with suppress(StoreDown):
            found = (await self._world.counters.notes(RESUMED)).get(call.principal.key_id)
            return int(found) if found else 0
        return 0

    async def _act(self, call: Call, alike: Sequence[Turn]) -> None:
        config = self._config
        stops = config.policy == "stop" and len(alike) >= config.calls
        self._tell("loop_stopped" if stops else "loop_suspected", call, len(alike), (config.calls + 1) // 2)
        if stops:
            assert call.principal is not None
            which = ", ".join(turn.call_id for turn in alike[-4:-1])
            with suppress(StoreDown):
                await self._world.counters.note(STOPPED, call.principal.key_id, b"%d" % call.at_ms, config.within)
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


def compared(turn: Turn, turns: Sequence[Turn]) -> tuple[list[Turn], int]:
    """Those that look like `turn`, itself included; and how many nearly do."""
    alike, paraphrased = [], 0
    for one in turns:
        # Almost all turns have nothing in common, and nothing is what almost all of them should cost.
        if one.free or (one.whole != turn.whole and one.head != turn.head and turn.sketch.isdisjoint(one.sketch)):
            continue
        likely = 1.0 if one.whole == turn.whole else similarity(turn, one)
        paraphrased += likely >= PARAPHRASED
        if likely >= ALIKE:
            alike.append(one)
    return alike, paraphrased


def _conversation(call: Call) -> tuple[str, str]:
    assert call.principal is not None
    return call.principal.key_id, call.session or call.user or ""


def _place(conversation: tuple[str, str]) -> str:
    """Clients name sessions, and a name may be long."""
    key_id, session = conversation
    return f"turns:{key_id}:{hashlib.blake2b(session.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


def _follow(call: Call) -> None:
    """How far it has come, by our own header or by its trace: agents pass a trace on, and forget what they do not know.

    Our member of `tracestate` is tidegate=HOPS. That a trace is seen again says nothing: an agent's whole run is one.
    """
    said = call.named
    hop, parent, state = _number(said.get(HOP, b"")), said.get(b"traceparent", b""), said.get(b"tracestate", b"")
    if _TRACEPARENT.fullmatch(parent):
        members = [member.strip() for member in state.split(b",")] if len(state) <= MAX_STATE else []
        others = [member for member in members if member and not member.startswith(STATE)]
        hop = max([hop, *(_number(member[len(STATE) :]) for member in members if member.startswith(STATE))])
        call.trace = ((b"traceparent", parent), (b"tracestate", b",".join([b"%b%d" % (STATE, hop + 1), *others[:31]])))
    call.hop = hop


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 4 else 0
