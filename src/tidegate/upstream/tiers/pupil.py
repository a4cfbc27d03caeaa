"""What has a route learned of its tiers? From what users, agents and judges say of answers, and from who asks again.

Of each organisation by itself. It hears of calls and opinions as everybody does who listens to the house; what was said
is written down, sealed for whom it is about, and is known to all processes in a moment, and to the next ones.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np

from tidegate.core.call import Call, Tier
from tidegate.core.errors import StoreDown, TidegateError
from tidegate.core.ports import Closed, Embedder, Lesson, Lessons
from tidegate.core.ports.lessons import Source
from tidegate.core.tiers import Figures
from tidegate.core.world import World
from tidegate.upstream.tiers.choice import Chances, Promise
from tidegate.upstream.tiers.known import LEAST as LEAST
from tidegate.upstream.tiers.known import Class, Label, Question, taught
from tidegate.upstream.tiers.look import NAMES
from tidegate.upstream.tiers.shared import EVERY_S, Shared

OPEN = 4_000  # calls that somebody may still say something of
CLASSES = 200  # of organisations and routes
PASSED_ON_MS = 3_600_000  # so long it is kept that somebody said something of a call that another process has answered
REPRICE = 100  # questions after which the price is set anew


class Foretold(NamedTuple):
    """Of one question: each tier's chance to answer well, and the price that keeps the promise."""

    chances: Chances
    price: float


class Pending(msgspec.Struct):
    """A call of which somebody may still say what its answer was worth."""

    known: Class
    question: Question
    targets: Mapping[str, int]  # whose tier each is
    at_ms: int
    user: str | None
    keep_s: float
    tier: str | None = None  # that answered


class Pupil:
    """`embedder`: who makes vectors of questions; `lessons`: where what was said is kept."""

    def __init__(self, world: World, embedder: Embedder, lessons: Lessons) -> None:
        self._world = world
        self._embedder = embedder
        self._shared = Shared(lessons, self._take, self._forget)
        self._made_by = f"{embedder.name} {crc32(' '.join(NAMES).encode()):08x}"
        self._classes: OrderedDict[tuple[str, ...], Class] = OrderedDict()
        self._open: OrderedDict[str, Pending] = OrderedDict()
        self._last: OrderedDict[tuple[str, str], str] = OrderedDict()  # the call before, by key and session
        self._fitting = asyncio.Lock()  # one at a time, whatever is due

    async def foretell(
        self, call: Call, question: tuple[str, Sequence[float], float], tiers: Sequence[Tier], costs: Sequence[float],
        promise: Promise, keep_s: float = 0.0,
    ) -> Foretold | None:  # fmt: skip
        """None: nothing is known yet, or the question cannot be embedded; then the prior speaks."""
        text, look, hard = question
        try:
            vector = await self._embedder.embed(text, call)
        except (TidegateError, ValueError):
            return None
        assert call.route is not None
        house = call.principal.organisation_id if call.principal else ""
        asked, known = Question(vector, look, hard), self._class(house, call.route.name, [tier.name for tier in tiers])
        targets = {target.name: at for at, tier in enumerate(tiers) for target in tier.route.targets}
        _put(self._open, call.id, Pending(known, asked, targets, call.at_ms, call.user, keep_s), OPEN)
        if known.heads is None:
            return None
        chances, trust = await known.chances(asked)
        if known.foretold(chances, trust):
            fields = {"route": known.route, "organisation": known.organisation, "strange": known.figures.strange}
            self._world.events.notice("tiers_drifted", fields)
        if known.price is None:
            await known.set_price(costs, promise)
        elif known.asked >= REPRICE:
            known.asked = 0
            self._world.nursery.spawn(known.set_price(costs, promise), "price of quality")
        return Foretold(chances, known.price or 0.0)

    def _class(self, house: str, route: str, tiers: Sequence[str]) -> Class:
        place = house, route, *tiers
        known = self._classes.get(place)
        return known or _put(self._classes, place, Class(house, route, tuple(tiers)), CLASSES)

    @property
    def figures(self) -> list[Figures]:
        """Of all routes and organisations of which anything is known, as they were found last."""
        return [known.figures for known in self._classes.values()]

    # --- what is said of an answer

    def told(
        self, id: str, good: float, source: Source, *, tier: str | None = None, share: float = 0.0, served: bool = True
    ) -> bool:
        """What the answer of a call was worth, or what that of another tier would have been. The one door to learning.

        `share`: of such answers so many are looked at, by lot; 0: whoever wanted to has said so. False: this call was
        not asked here, or too long ago.
        """
        pending = self._open.get(id)
        if pending is None:
            return False
        known, tier = pending.known, tier or pending.tier
        if tier not in known.tiers:
            return False
        look = np.array(pending.question.look, "<f4").tobytes()
        lesson = Lesson(
            id, pending.at_ms, pending.at_ms + round(pending.keep_s * 1000), known.organisation, pending.user,
            known.route, known.tiers, tier, good, source, share, served, self._made_by, pending.question.vector, look,
            pending.question.hard,
        )  # fmt: skip
        known.put(Label(lesson))
        self._shared.put(lesson)
        self._learn_if_due(known)
        return True

    # --- as a listener of the house

    def call_began(self, call: Call) -> None:
        """It says nothing of an answer."""

    def call_ended(self, call: Call, row: Closed | None) -> None:
        if call.session is not None and call.principal is not None and call.own is None:
            place = call.principal.key_id, call.session
            if call.asked_again and place in self._last:
                self.told(self._last[place], 0.0, "said")  # whoever asks again was not helped
            _put(self._last, place, call.id, OPEN)
        pending = self._open.get(call.id)
        if pending is not None and row is not None:
            at = pending.targets.get(row.target or "")
            if at is None:
                del self._open[call.id]
                return
            pending.tier = pending.known.tiers[at]
            if row.chosen is not None and row.cost_nusd and row.chosen.cost > 0 and len(row.attempts) == 1:
                pending.known.spent_nusd += row.cost_nusd
                pending.known.spared_nusd += round(row.cost_nusd * (1 / row.chosen.cost - 1))
            elif row.chosen is not None and (dropped := row.chosen.dropped_nusd(row.attempts)):
                pending.known.spent_nusd += row.cost_nusd or 0
                pending.known.spared_nusd -= dropped

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        """An opinion of a person or an agent."""
        if name == "feedback" and fields.get("score") is not None:
            id, good = str(fields.get("request_id")), float(fields["score"])
            if not self.told(id, good, "said") and fields.get("tier"):
                self._pass_on(id, good)

    def _pass_on(self, id: str, good: float) -> None:
        """Another process has answered that call, perhaps: it knows the question."""
        now_ms = self._world.clock.wall_ns() // 1_000_000
        self._shared.put(
            Lesson(
                id, now_ms, now_ms + PASSED_ON_MS, "", None, "", (), "", good, "said", 0.0, True, self._made_by, b"",
                b"", 0.0,
            )
        )  # fmt: skip

    # --- what all have heard

    async def run(self) -> None:
        """For ever."""
        while True:
            with suppress(StoreDown):  # what is known holds on, and whoever keeps the store has told the operator
                await self.share()
            await asyncio.sleep(EVERY_S)

    async def share(self) -> None:
        """Ours to the others, theirs to us. Raises StoreDown."""
        await self._shared.share()
        now_ms = self._world.clock.wall_ns() // 1_000_000
        for known in list(self._classes.values()):
            known.sweep(now_ms)
            await known.look()
            self._learn_if_due(known)

    def _take(self, lesson: Lesson, subject: str) -> None:
        if not lesson.tier:
            self.told(lesson.call, lesson.good, lesson.source, share=lesson.share)
            return
        if lesson.made_by != self._made_by or lesson.tier not in lesson.tiers:
            return
        known = self._class(lesson.tenant, lesson.route, lesson.tiers)
        mine = known.labels.get(lesson.id)
        if mine is not None and mine.lesson is lesson:
            mine.subject = subject
        else:
            known.put(Label(lesson, subject))

    def _forget(self, subject: str) -> None:
        """All of an end user, in every organisation; calls of which nobody has said anything, too."""
        self._shared.drop()
        for id in [id for id, pending in self._open.items() if pending.user]:
            del self._open[id]
        for known in self._classes.values():
            known.forget(subject)

    # --- heads

    def _learn_if_due(self, known: Class) -> None:
        if known.is_due:
            known.busy, known.fresh = True, 0
            self._world.nursery.spawn(self._learn(known), "learn tiers")

    async def _learn(self, known: Class) -> None:
        """Seconds, in a thread."""
        try:
            async with self._fitting:
                erased, lessons = known.erased, [one.lesson for one in known.labels.values()]
                heads = await asyncio.to_thread(taught, lessons, known.tiers)
        except (ValueError, np.linalg.LinAlgError) as wrong:
            self._world.events.notice("tiers_not_learned", {"route": known.route, "error": str(wrong)})
            return
        finally:
            known.busy = False
        if erased != known.erased:
            return  # these heads have seen questions of somebody who is gone: others are learned in a moment
        known.took(heads)
        good = round(sum(one.good for one in lessons) / len(lessons), 4)
        self._world.events.notice("tiers_learned", {"route": known.route, "labels": len(lessons), "good": good})

    async def aclose(self) -> None:
        """What was heard last is written down, if it can be."""
        with suppress(StoreDown):
            await self._shared.share()
        await self._embedder.aclose()


def _put(kept: OrderedDict[Any, Any], place: Any, value: Any, most: int) -> Any:
    """The oldest leave."""
    kept[place] = value
    kept.move_to_end(place)
    if len(kept) > most:
        kept.popitem(last=False)
    return value
