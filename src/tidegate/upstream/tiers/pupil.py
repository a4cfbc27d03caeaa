"""What has a route learned of its tiers? From what users, agents and judges say of answers, and from who asks again.

Of each organisation by itself, in this process, and only until it ends: questions are kept as vectors, and those are
nobody's to read from a disk. It hears of calls and opinions as everybody does who listens to the house.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tidegate.core.call import Call, Tier
from tidegate.core.errors import TidegateError
from tidegate.core.ports import Closed, Embedder, Vector
from tidegate.core.world import World
from tidegate.upstream.tiers.choice import Chances, Promise, price_of
from tidegate.upstream.tiers.heads import STRANGE_TRAFFIC, Examples, Heads, fit

LEAST = 200  # answers that somebody judged, before anything is believed
ANEW = 100  # after so many more it is learned again
LABELS = 4_000  # the last of each class
OPEN = 4_000  # calls that somebody may still say something of
WINDOW = 400  # questions that the price is set by
CLASSES = 200  # of organisations and routes
LAZY = 0.01  # how fast the mean of the trust follows


class Question(NamedTuple):
    vector: Vector
    look: Sequence[float]
    hard: float


class Foretold(NamedTuple):
    """Of one question: each tier's chance to answer well, and the price that keeps the promise."""

    chances: Chances
    price: float


class Class(msgspec.Struct):
    """All that is known of one route's tiers in one organisation."""

    route: str
    labels: OrderedDict[str, tuple[Question, int, float]] = msgspec.field(default_factory=OrderedDict)  # by call
    heads: Heads | None = None
    price: float | None = None
    window: deque[Chances] = msgspec.field(default_factory=lambda: deque(maxlen=WINDOW))
    trust: float = 1.0  # of questions lately, on average
    fresh: int = 0  # labels since it was learned
    asked: int = 0  # questions since the price was set
    busy: bool = False


class Pending(msgspec.Struct):
    """A call of which somebody may still say what its answer was worth."""

    known: Class
    question: Question
    targets: Mapping[str, int]  # whose tier each is
    tier: int | None = None  # that answered


class Pupil:
    """`embedder`: who makes vectors of questions."""

    def __init__(self, world: World, embedder: Embedder) -> None:
        self._world = world
        self._embedder = embedder
        self._classes: OrderedDict[tuple[str, ...], Class] = OrderedDict()
        self._open: OrderedDict[str, Pending] = OrderedDict()
        self._last: OrderedDict[tuple[str, str], str] = OrderedDict()  # the call before, by key and session

    async def foretell(
        self, call: Call, question: tuple[str, Sequence[float], float], tiers: Sequence[Tier], costs: Sequence[float],
        promise: Promise,
    ) -> Foretold | None:  # fmt: skip
        """None: nothing is known yet, or the question cannot be embedded; then the prior speaks."""
        text, look, hard = question
        try:
            vector = await self._embedder.embed(text, call)
        except (TidegateError, ValueError):
            return None
        asked, known = Question(vector, look, hard), self._class(call, tiers)
        targets = {target.name: at for at, tier in enumerate(tiers) for target in tier.route.targets}
        _put(self._open, call.id, Pending(known, asked, targets), OPEN)
        if known.heads is None:
            return None
        chances, trust = await asyncio.to_thread(_chances, known.heads, asked, known.trust < STRANGE_TRAFFIC)
        known.trust += LAZY * (trust - known.trust)
        known.window.append(chances)
        known.asked += 1
        if known.price is None:
            await _set_price(known, costs, promise)
        elif known.asked >= ANEW:
            known.asked = 0
            self._world.nursery.spawn(_set_price(known, costs, promise), "price of quality")
        return Foretold(chances, known.price or 0.0)

    def _class(self, call: Call, tiers: Sequence[Tier]) -> Class:
        assert call.route is not None
        house = call.principal.organisation_id if call.principal else ""
        place = house, call.route.name, *(tier.name for tier in tiers)
        known = self._classes.get(place)
        return known or _put(self._classes, place, Class(call.route.name), CLASSES)

    # --- as a listener of the house

    def call_began(self, call: Call) -> None:
        """It says nothing of an answer."""

    def call_ended(self, call: Call, row: Closed | None) -> None:
        if call.session is not None and call.principal is not None:
            place = call.principal.key_id, call.session
            if call.asked_again and place in self._last:
                self._judged(self._last[place], 0.0)  # whoever asks again was not helped
            _put(self._last, place, call.id, OPEN)
        pending = self._open.get(call.id)
        if pending is not None and row is not None:
            pending.tier = pending.targets.get(row.target or "")
            if pending.tier is None:
                del self._open[call.id]

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        """An opinion of a person or an agent, or of a judge that may decide."""
        if name == "feedback" or (name == "evaluation" and not fields.get("advisory")):
            score = fields.get("score")
            if score is not None:
                self._judged(str(fields.get("request_id")), float(score))

    def _judged(self, id: str, good: float) -> None:
        pending = self._open.get(id)
        if pending is None or pending.tier is None:
            return
        known = pending.known
        _put(known.labels, id, (pending.question, pending.tier, good), LABELS)
        known.fresh += 1
        if known.fresh >= ANEW and len(known.labels) >= LEAST and not known.busy:
            known.busy, known.fresh = True, 0
            tiers = max(pending.targets.values()) + 1
            self._world.nursery.spawn(self._learn(known, list(known.labels.values()), tiers), "learn tiers")

    async def _learn(self, known: Class, labels: list[tuple[Question, int, float]], tiers: int) -> None:
        """Seconds, in a thread."""
        try:
            heads = await asyncio.to_thread(_taught, labels, tiers)
        except (ValueError, np.linalg.LinAlgError) as wrong:
            self._world.events.notice("tiers_not_learned", {"route": known.route, "error": str(wrong)})
            return
        finally:
            known.busy = False
        known.window.extend(heads.foretold.tolist())
        known.heads, known.trust, known.asked = heads, 1.0, ANEW  # the next question sets the price anew
        told = {"route": known.route, "labels": len(labels)}
        self._world.events.notice(
            "tiers_learned", told | {"good": round(sum(one[2] for one in labels) / len(labels), 4)}
        )

    async def aclose(self) -> None:
        await self._embedder.aclose()


def _put(kept: OrderedDict[Any, Any], place: Any, value: Any, most: int) -> Any:
    """The oldest leave."""
    kept[place] = value
    kept.move_to_end(place)
    if len(kept) > most:
        kept.popitem(last=False)
    return value


def _rows(questions: Sequence[Question]) -> tuple[Any, Any, Any]:
    vectors = np.stack([np.frombuffer(one.vector, "<f4") for one in questions])
    looks = np.array([one.look for one in questions], np.float32)
    return vectors, looks, np.array([one.hard for one in questions], np.float32)


def _chances(heads: Heads, question: Question, is_strange: bool) -> tuple[Chances, float]:
    """And how far heads may be trusted about this one."""
    vectors, looks, hard = _rows([question])
    trust = heads.space.trust(vectors)
    found: list[float] = heads.chances(vectors, looks, hard, np.zeros_like(trust) if is_strange else trust)[0].tolist()
    return found, float(trust[0])


def _taught(labels: Sequence[tuple[Question, int, float]], tiers: int) -> Heads:
    vectors, looks, hard = _rows([question for question, _, _ in labels])
    tier = np.array([tier for _, tier, _ in labels])
    return fit(Examples(vectors, looks, hard, tier, np.array([good for _, _, good in labels], np.float32)), tiers)


async def _set_price(known: Class, costs: Sequence[float], promise: Promise) -> None:
    known.price = await asyncio.to_thread(price_of, list(known.window), costs, promise)
