"""The semantic cache as a whole: on vectors in process, before a model whose answers are known."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tidegate.core.ports import Answer
from tidegate.stages.cache.semantic import Policy, Semantic
from tidegate.storage.vectors import MemoryVectors

DIMENSIONS = 32


class Topics:
    """Questions scattered around topics; the answer to each is its topic's."""

    def __init__(self, seed: int, topics: int = 20, *, strangers: float = 0.2) -> None:
        self.chance = np.random.default_rng(seed)
        self.centres = self.chance.standard_normal((topics, DIMENSIONS))
        self.strangers = strangers  # questions that have nothing to do with any
        self.asked = 0

    def question(self) -> tuple[bytes, str]:
        self.asked += 1
        if self.chance.random() < self.strangers:
            return self._vector(self.chance.standard_normal(DIMENSIONS)), f"only {self.asked}"
        topic = int(self.chance.integers(len(self.centres)))
        return self._vector(self.centres[topic] + 0.6 * self.chance.standard_normal(DIMENSIONS)), f"topic {topic}"

    def _vector(self, values) -> bytes:
        return (values / np.linalg.norm(values)).astype("<f4").tobytes()


def answer(text: str, id: str) -> Answer:
    return Answer(id, text.encode(), bytes([1]))


def semantic(**policy: float) -> Semantic:
    same = lambda one, other: one.digest == other.digest  # noqa: E731
    return Semantic(MemoryVectors(), Policy(**policy), random.Random(0), compare=same)


async def run(cache: Semantic, topics: Topics, questions: int) -> tuple[int, int]:
    """(hits, wrong ones)."""
    truth: dict[str, str] = {}
    hits = wrong = 0
    for at in range(questions):
        vector, text = topics.question()
        look = await cache.look("team", vector, ())
        if look.serve:
            hits += 1
            wrong += truth[look.serve.id] != text
        if look.ask:
            truth[f"{at}"] = text
            await cache.learn(look, f"{at}", answer(text, f"{at}"))
        if fit := cache.refit():
            cache.verifier.adopt(fit)
    return hits, wrong


async def test_it_learns_what_may_be_served_and_keeps_its_promise():
    hits, wrong = await run(semantic(max_error=0.03), Topics(1), 2500)
    assert hits > 500
    assert wrong / hits <= 0.03


async def test_the_first_question_is_a_miss():
    look = await semantic().look("team", Topics(2).question()[0], ())
    assert (look.serve, look.ask, look.candidate) == (None, True, None)


async def test_other_marks_are_never_served():
    cache, topics = semantic(), Topics(3)
    vector, text = topics.question()
    await cache.learn(await cache.look("team", vector, ("number:5",)), "a", answer(text, "a"))
    assert (await cache.look("team", vector, ("number:6",))).serve is None
    look = await cache.look("team", vector, ("number:5",))
    assert look.serve is not None and look.serve.id == "a"


async def test_another_partition_is_never_served():
    cache, topics = semantic(), Topics(4)
    vector, text = topics.question()
    await cache.learn(await cache.look("team", vector, ()), "a", answer(text, "a"))
    assert (await cache.look("others", vector, ())).serve is None
    assert (await cache.look("team", vector, ())).serve is not None


async def test_entries_with_the_same_answer_share_its_id():
    cache, topics = semantic(), Topics(5, 1, strangers=0)
    for id in ("a", "b"):
        vector, text = topics.question()
        await cache.learn(await cache.look("team", vector, ()), id, answer(text, id))
    look = await cache.look("team", topics.question()[0], ())
    assert {one.answer for one in look.near} == {"a"}


async def test_what_somebody_found_wrong_is_not_served_again():
    cache, topics = semantic(), Topics(6)
    vector, text = topics.question()
    await cache.learn(await cache.look("team", vector, ()), "a", answer(text, "a"))
    hit = await cache.look("team", vector, ())
    await cache.judged(hit.partition, hit.serve.id, hit.candidate.features, right=False)
    assert (await cache.look("team", vector, ())).serve is None


async def test_a_share_of_hits_is_checked():
    cache, topics = semantic(checks=0.25, twice=0), Topics(7)
    vector, text = topics.question()
    await cache.learn(await cache.look("team", vector, ()), "a", answer(text, "a"))
    looks = [await cache.look("team", vector, ()) for _ in range(400)]
    assert all(look.serve for look in looks)
    assert 70 < sum(look.ask for look in looks) < 130


async def test_a_restart_forgets_nothing():
    topics = Topics(8)
    cache = semantic(max_error=0.03)
    await run(cache, topics, 600)
    again = Semantic(MemoryVectors(), Policy(max_error=0.03), random.Random(0), cache.memory())
    assert again.memory() == cache.memory()
    assert again.verifier.fit is not None


@pytest.mark.parametrize("wrong", [{"max_error": 0}, {"max_error": 1}, {"strict": 1.5}, {"checks": -0.1}, {"twice": 2}])
def test_a_policy_that_makes_no_sense_says_so(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must lie between 0 and 1"):
        Policy(**wrong)
