"""Was something asked before that means the same? The nearest entry, and whether the verifier lets it be served.

Everything but embedding: prompts and answers come as vectors and marks. Whoever drives this calls `look`; on a miss, or
when a hit is to be checked, lets the model answer and calls `learn`. Both are quick enough for the event loop but for
`refit`, which belongs in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import msgspec

from tidegate.core.ports import Answer, Entry, Near, Vector, Vectors
from tidegate.stages.cache.answers import Comparison, same
from tidegate.stages.cache.exact import UNKEPT, Kept
from tidegate.stages.cache.neighbourhood import COUNT, Candidate, candidate
from tidegate.stages.cache.verifier import Features, Fit, Label, Noise, State, Verifier

GROUPS = 8  # different answers nearby that a new one is compared with
SAYING = ("feedback", "user", "agent", "judge")  # who says of a hit whether it was right: an administrator, and others
FEEDBACK = Noise(pairs=100, differ=10, strangers=100, alike=10)  # until somebody measures it: one in ten is a slip


class Policy(msgspec.Struct, frozen=True):
    """How the semantic part of one route behaves.

    max_error: the share of wrong answers among hits that is promised, above 0 and below 1.
    strict: the similarity from which an entry is served before the verifier has labels enough.
    checks: the share of hits that is answered upstream in the background to see whether they were right.
    twice: the share of misses that is asked a second time, to learn how much the answers waver by themselves.
    """

    max_error: float = 0.02
    strict: float = 0.99
    checks: float = 0.04
    twice: float = 0.02

    def __post_init__(self) -> None:
        for name in ("max_error", "strict"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"{name} must lie between 0 and 1, both excluded, not {value:g}")
        for name in ("checks", "twice"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {value:g}")


class Look(msgspec.Struct, frozen=True):
    """What was found for a prompt. `serve` is the entry whose reply is the answer; None is a miss."""

    partition: str
    vector: Vector
    marks: tuple[str, ...]
    near: Sequence[Near]
    candidate: Candidate | None
    serve: Near | None
    probability: float | None  # that the candidate is right; None before there is a model
    ask: bool  # upstream: always on a miss; on a hit, in the background, as a check
    ask_twice: bool


class Memory(msgspec.Struct, frozen=True):
    """What survives a restart, and what processes tell each other. The counts are for people."""

    verifier: State = State()
    comparison: Noise = Noise()
    lookups: int = 0
    hits: int = 0
    saved_nusd: int = 0


COUNTS = ("lookups", "hits", "saved_nusd")


class Semantic:
    """The semantic part of one route's cache."""

    def __init__(
        self,
        vectors: Vectors,
        policy: Policy,
        chance: Random,
        memory: Memory | None = None,
        compare: Callable[[Answer, Answer], bool] = same,
    ) -> None:
        self._vectors = vectors
        self._policy = policy
        self._chance = chance
        self._compare = compare
        self._last: Answer | None = None
        self._known = memory or Memory()  # as it was shared last; of it, the counts are read
        self.verifier = Verifier(policy.max_error, policy.strict, self._known.verifier)
        self._comparison = Comparison(self._known.comparison)
        self._counts = dict.fromkeys(COUNTS, 0)  # since then
        for source in SAYING:
            self.verifier.noticed(source, FEEDBACK)

    def memory(self) -> Memory:
        counts = {name: getattr(self._known, name) + count for name, count in self._counts.items()}
        return Memory(self.verifier.state(), self._comparison.noise, **counts)

    def news(self) -> Memory:
        """What nobody else knows yet."""
        return Memory(self.verifier.news(), self._comparison.news, **self._counts)

    def take_up(self, shared: Memory, told: Memory) -> None:
        """What all know by now; `told`, of our news, is in it."""
        self._known = shared
        self.verifier.take_up(shared.verifier, told.verifier)
        self._comparison.take_up(shared.comparison, told.comparison)
        self.verifier.noticed("comparison", self._comparison.noise)
        for name in COUNTS:
            self._counts[name] -= getattr(told, name)

    def served(self, saved_nusd: int) -> None:
        self._counts["hits"] += 1
        self._counts["saved_nusd"] += saved_nusd

    async def look(self, partition: str, vector: Vector, marks: tuple[str, ...]) -> Look:
        self._counts["lookups"] += 1
        near = await self._vectors.nearest(partition, vector, COUNT)
        found = candidate(near, [one.marks == marks for one in near])
        verdict = self.verifier.decide(found.features) if found else None
        serve = found.entry if found and verdict and verdict.serve else None
        ask = serve is None or self._chance.random() < self._policy.checks
        ask_twice = serve is None and self._chance.random() < self._policy.twice
        probability = verdict.probability if verdict else None
        return Look(partition, vector, marks, near, found, serve, probability, ask, ask_twice)

    async def learn(self, look: Look, id: str, answer: Answer, kept: Kept = UNKEPT) -> Sequence[str]:
        """The model's own answer to what was looked for becomes an entry. The ids of those that left for it."""
        known = await self._vectors.answers(look.partition, _answers_nearby(look))
        answer = await self._labelled(look, answer, known)
        if self._last is not None and self._last.id not in {one.id for one in known}:
            self._comparison.strangers(self._compare(answer, self._last))
            self.verifier.noticed("comparison", self._comparison.noise)
        self._last = answer
        return await self._vectors.add(look.partition, Entry(id, look.vector, answer, look.marks, *kept))

    async def _labelled(self, look: Look, answer: Answer, known: Sequence[Answer]) -> Answer:
        """Compare with the answers nearby. The first that says the same lends its id."""
        said = {one.id: self._compare(answer, one) for one in known}
        found = look.candidate
        if found and found.entry.answer in said:
            right = said[found.entry.answer]
            self.verifier.learn(Label(found.features, right, check=look.serve is not None))
            await self._vectors.judge(look.partition, found.entry.id, right)
        return next((one for one in known if said[one.id]), answer)

    def asked_twice(self, first: Answer, second: Answer) -> None:
        """The same prompt was answered twice: teaches how often equal answers are called different."""
        self._comparison.twice(self._compare(first, second))
        self.verifier.noticed("comparison", self._comparison.noise)

    async def judged(
        self, partition: str, entry: str, features: Features, *, right: bool, source: str = "feedback"
    ) -> None:
        """Somebody who saw the answer says so. What was wrong is not served again."""
        self.verifier.learn(Label(features, right, source))
        if right:
            await self._vectors.judge(partition, entry, right)
        else:
            await self._vectors.forget(partition, [entry])

    def refit(self) -> Fit | None:
        """A new fit when one is due, to be given to `verifier.adopt`. Some milliseconds: call it in a thread."""
        return self.verifier.fitted() if self.verifier.due else None


def _answers_nearby(look: Look) -> list[str]:
    """The candidate's first: its label is wanted."""
    ids = [look.candidate.entry.answer] if look.candidate else []
    ids += [one.answer for one in look.near]
    return list(dict.fromkeys(ids))[:GROUPS]
