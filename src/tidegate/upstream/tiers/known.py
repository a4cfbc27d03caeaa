"""What is known of one route's tiers in one organisation? What was said of answers, and the heads that follow."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from tidegate.core.ports import Lesson, Vector
from tidegate.core.tiers import Figures, Found
from tidegate.upstream.tiers.choice import Chances, Promise, price_of
from tidegate.upstream.tiers.figures import found, has_drifted
from tidegate.upstream.tiers.heads import STRANGE_TRAFFIC, Examples, Heads, fit

LEAST = 200  # answers that somebody judged, before anything is believed
ANEW = 100  # after so many more it is learned again
LABELS = 4_000  # the last of each class
WINDOW = 400  # questions that the price is set by, and that drift is looked for in
LAZY = 0.01  # how fast the mean of the trust follows


class Question(NamedTuple):
    vector: Vector
    look: Sequence[float]
    hard: float


class Label(msgspec.Struct):
    lesson: Lesson
    subject: str | None = None  # an alias; "": nobody in particular; None: not written yet


class Class(msgspec.Struct):
    organisation: str
    route: str
    tiers: tuple[str, ...]
    labels: OrderedDict[str, Label] = msgspec.field(default_factory=OrderedDict)  # by the ids of lessons
    heads: Heads | None = None
    price: float | None = None
    window: deque[Chances] = msgspec.field(default_factory=lambda: deque(maxlen=WINDOW))
    strange: deque[bool] = msgspec.field(default_factory=lambda: deque(maxlen=WINDOW))  # questions since it was learned
    trust: float = 1.0  # of questions lately, on average
    fresh: int = 0  # labels since it was learned
    asked: int = 0  # questions since the price was set
    busy: bool = False
    erased: int = 0  # end users of whom something was known
    drifted: bool = False  # and that was told
    changed: bool = False  # since `found` was found
    found: Found = Found()
    spent_nusd: int = 0
    spared_nusd: int = 0  # what the dearest tier would have cost more

    @property
    def is_due(self) -> bool:
        return self.fresh >= ANEW and len(self.labels) >= LEAST and not self.busy

    def put(self, label: Label) -> None:
        """The oldest leave."""
        self.labels[label.lesson.id] = label
        self.labels.move_to_end(label.lesson.id)
        if len(self.labels) > LABELS:
            self.labels.popitem(last=False)
        self.fresh += 1
        self.changed = True

    def forget(self, subject: str) -> bool:
        """All of an end user, and of those who are not written yet all who have a name. Whether there were any.

        Heads have seen their questions: they go, too, and are learned anew from what is left.
        """
        gone = [id for id, one in self.labels.items() if _is_of(one, subject)]
        for id in gone:
            del self.labels[id]
        if gone:
            self.heads, self.fresh, self.changed = None, ANEW, True
            self.erased += 1
        return bool(gone)

    def sweep(self, now_ms: int) -> None:
        """What may be kept no longer goes."""
        while self.labels and (first := next(iter(self.labels.values()))).lesson.until_ms < now_ms:
            del self.labels[first.lesson.id]
            self.changed = True

    def foretold(self, chances: Chances, trust: float) -> bool:
        """One more question. Whether this is where it is told that they have become others."""
        self.trust += LAZY * (trust - self.trust)
        self.window.append(chances)
        self.strange.append(trust == 0.0)
        self.asked += 1
        told, self.drifted = self.drifted, self.drifted or has_drifted(sum(self.strange), len(self.strange))
        return self.drifted and not told

    def took(self, heads: Heads) -> None:
        self.window.extend(heads.foretold.tolist())
        self.heads, self.trust, self.asked = heads, 1.0, WINDOW  # the next question sets the price anew
        self.strange.clear()
        self.drifted = False

    @property
    def figures(self) -> Figures:
        whole = self.spent_nusd + self.spared_nusd
        return Figures(
            self.route,
            self.organisation,
            self.tiers,
            len(self.labels),
            self.heads is not None,
            self.found,
            self.spared_nusd / whole if whole else None,
            sum(self.strange) / len(self.strange) if self.strange else None,
        )

    async def look(self) -> None:
        """Find the figures, if they may be others. Some milliseconds: in a thread."""
        if self.changed:
            self.changed = False
            self.found = await asyncio.to_thread(found, [one.lesson for one in self.labels.values()])

    async def chances(self, question: Question) -> tuple[Chances, float]:
        """Of each tier, and how far heads may be trusted about this one. There are heads."""
        assert self.heads is not None
        return await asyncio.to_thread(_chances, self.heads, question, self.trust < STRANGE_TRAFFIC)

    async def set_price(self, costs: Sequence[float], promise: Promise) -> None:
        self.price = await asyncio.to_thread(price_of, list(self.window), costs, promise)


def _is_of(one: Label, subject: str) -> bool:
    return bool(one.lesson.user) if one.subject is None else one.subject == subject


def _chances(heads: Heads, question: Question, is_strange: bool) -> tuple[Chances, float]:
    vectors = np.frombuffer(question.vector, "<f4")[None]
    looks, hard = np.array([question.look], np.float32), np.array([question.hard], np.float32)
    trust = heads.space.trust(vectors)
    found: list[float] = heads.chances(vectors, looks, hard, np.zeros_like(trust) if is_strange else trust)[0].tolist()
    return found, float(trust[0])


def taught(lessons: Sequence[Lesson], tiers: Sequence[str]) -> Heads:
    """Seconds, in a thread. Raises ValueError where there are too few of a kind."""
    looks = np.stack([np.frombuffer(one.look, "<f4") for one in lessons])
    return fit(
        Examples(
            np.stack([np.frombuffer(one.vector, "<f4") for one in lessons]),
            looks,
            np.array([one.hard for one in lessons], np.float32),
            np.array([tiers.index(one.tier) for one in lessons]),
            np.array([one.good for one in lessons], np.float32),
        ),
        len(tiers),
    )
