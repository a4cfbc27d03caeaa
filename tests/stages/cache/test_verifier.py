"""The verifier: it serves what is right, keeps its promise in simulation, and says so when it cannot."""

from __future__ import annotations

import math
import random

import msgspec
import pytest

from tidegate.stages.cache.verifier import Label, Noise, State, Verifier, probability_of

EMPTY = (0.5, 0.0, 0.0, 0.5, 0.0, 0.0)


class World:
    """Candidates whose answers are right with a known probability; the verifier sees one clue of it.

    `noise`: labels that are wrong. `lapse`: candidates that look as good as any and are wrong all the same.
    """

    def __init__(self, seed: int, *, noise: float = 0.0, lapse: float = 0.0, shift: float = 1.0) -> None:
        self.chance = random.Random(seed)
        self.noise, self.lapse, self.shift = noise, lapse, shift

    def candidate(self) -> tuple[tuple[float, ...], bool]:
        clue = self.chance.gauss(self.shift, 3)
        right = self.chance.random() < (1 - self.lapse) / (1 + math.exp(-clue))
        blur = self.chance.gauss(0, 0.05)
        return (0.7 + 0.02 * clue, 0.03 * clue + blur, clue, 0.6 + 0.02 * clue, 0.0, 0.1 * clue), right

    def run(self, verifier: Verifier, lookups: int, checks: float = 0.04) -> tuple[int, int]:
        """(hits, wrong ones)."""
        hits = wrong = 0
        for _ in range(lookups):
            features, right = self.candidate()
            served = verifier.decide(features).serve
            hits += served
            wrong += served and not right
            if not served or self.chance.random() < checks:
                told = right ^ (self.chance.random() < self.noise)
                verifier.learn(Label(features, told, check=served))
            if verifier.due:
                verifier.adopt(verifier.fitted())
        return hits, wrong


def noisy(share: float) -> Noise:
    return Noise(pairs=1000, differ=round(1000 * share), strangers=1000, alike=round(1000 * share))


@pytest.mark.parametrize("max_error", [0.01, 0.03])
@pytest.mark.parametrize("lapse", [0.0, 0.004])
def test_the_promise_is_kept(max_error, lapse):
    kept = []
    for seed in range(4):
        verifier = Verifier(max_error, 0.99)
        hits, wrong = World(seed, lapse=lapse).run(verifier, 3000)
        kept.append(wrong / max(hits, 1) / max_error)
    assert max(kept) <= 1.3
    assert sum(ratio <= 1 for ratio in kept) >= 3


def test_it_serves_a_good_part_of_what_could_be_served():
    hits, _ = World(0).run(Verifier(0.03, 0.99), 3000)
    assert hits > 600


def test_the_promise_is_kept_although_labels_err():
    verifier = Verifier(0.05, 0.99)
    verifier.noticed("comparison", noisy(0.05))
    hits, wrong = World(1, noise=0.05).run(verifier, 4000)
    assert hits > 500
    assert wrong / hits <= 0.05


def test_labels_that_say_nothing_serve_nothing_and_it_says_so():
    verifier = Verifier(0.02, 0.99)
    verifier.noticed("comparison", noisy(0.35))
    hits, _ = World(2, noise=0.35).run(verifier, 1500)
    assert hits == 0
    assert verifier.fit is not None
    assert verifier.fit.why == "labels by comparison are wrong too often to keep a max_error of 0.02"


def test_what_nobody_can_foresee_is_not_served():
    verifier = Verifier(0.02, 0.99)
    hits, _ = World(3, lapse=0.3).run(verifier, 1500)
    assert hits == 0
    assert verifier.fit is not None
    assert "even the surest candidates may be wrong" in verifier.fit.why


def test_before_there_are_labels_only_the_nearly_identical_is_served():
    verifier = Verifier(0.02, 0.99)
    assert not verifier.decide((0.98, *EMPTY[1:])).serve
    assert verifier.decide((0.995, *EMPTY[1:])).serve


def test_a_single_label_does_not_move_the_threshold():
    verifier = Verifier(0.03, 0.99)
    world = World(4)
    world.run(verifier, 2000)
    assert verifier.fit is not None
    before = verifier.fit.threshold
    features, _ = world.candidate()
    verifier.learn(Label(features, right=False))
    verifier.adopt(verifier.fitted())
    assert abs(verifier.fit.threshold - before) < 0.05


def test_a_restart_forgets_nothing():
    world = World(5)
    verifier = Verifier(0.03, 0.99)
    world.run(verifier, 1500)
    stored = msgspec.msgpack.encode(verifier.state())
    again = Verifier(0.03, 0.99, msgspec.msgpack.decode(stored, type=State))
    assert again.fitted() == verifier.fitted()
    features, _ = world.candidate()
    assert again.decide(features) == verifier.decide(features)


def test_a_better_candidate_is_likelier_right():
    verifier = Verifier(0.03, 0.99)
    World(6).run(verifier, 1500)
    assert verifier.fit is not None
    worse, better = ((0.7 + 0.02 * clue, 0.03 * clue, clue, 0.6 + 0.02 * clue, 0.0, 0.1 * clue) for clue in (0.0, 4.0))
    assert probability_of(verifier.fit, worse) < probability_of(verifier.fit, better)


def test_unknown_noise_makes_every_disagreement_a_wrong_answer():
    assert Noise().safe_rates() == (0.0, 0.0)
    alike, differ = noisy(0.05).safe_rates()
    assert alike > 0.05 > differ > 0.03
