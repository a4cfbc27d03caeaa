"""How do processes tell each other what they heard of answers? By rows of one table, and each reads the others'."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from tidegate.core.ports import Lesson, Lessons

EVERY_S = 10.0  # what one has heard all know within twice as long
PAGE = 500
BATCH = 200
NEWS = 4_000  # that wait for a store that is away; of more, the oldest are lost
LATE = 50  # rows that are looked at again: of two that write at once, the later may be seen first
SEEN = 1_000


class Shared:
    """`take`: a lesson, and the alias of whose it is; `forget`: an alias whose lessons have gone."""

    def __init__(self, lessons: Lessons, take: Callable[[Lesson, str], None], forget: Callable[[str], None]) -> None:
        self._lessons = lessons
        self._take = take
        self._forget = forget
        self._news: OrderedDict[str, Lesson] = OrderedDict()
        self._seq = 0  # read so far
        self._seen: OrderedDict[int, None] = OrderedDict()

    def put(self, lesson: Lesson) -> None:
        """Told to the others soon, if it may be kept at all."""
        if lesson.until_ms > lesson.at_ms:
            self._news[lesson.id] = lesson
            self._news.move_to_end(lesson.id)
            if len(self._news) > NEWS:
                self._news.popitem(last=False)

    def drop(self) -> None:
        """What is not written yet and has a name goes with somebody who was erased: nobody knows whose alias it was."""
        for id in [id for id, one in self._news.items() if one.user]:
            del self._news[id]

    async def share(self) -> None:
        """Theirs first: what they have erased is not written again. Raises StoreDown; then what is ours waits."""
        await self._hear()
        while self._news:
            some = list(self._news.values())[:BATCH]
            for lesson, (seq, subject) in zip(some, await self._lessons.add(some), strict=True):
                self._saw(seq)
                if self._news.get(lesson.id) is lesson:
                    del self._news[lesson.id]
                    self._take(lesson, subject)

    async def _hear(self) -> None:
        at = max(self._seq - LATE, 0)
        while heard := await self._lessons.after(at, PAGE):
            for one in heard:
                at = one.seq
                if one.seq in self._seen:
                    continue
                self._saw(one.seq)
                if one.lesson is not None:
                    self._take(one.lesson, one.subject)
                elif one.subject:
                    self._forget(one.subject)
            self._seq = max(self._seq, at)
            if len(heard) < PAGE:
                return

    def _saw(self, seq: int) -> None:
        self._seen[seq] = None
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)
