"""What is learned of answers that were judged: who answers what well, and what nobody can know."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.upstream.tiers.heads import Examples, Heads, fit
from tidegate.upstream.tiers.look import NAMES

TOPICS, ROWS = 4, 600


def questions(seed: int, count: int = ROWS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, features, topics: the questions of a topic point nearly the same way."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(TOPICS, 32))
    topic = chance.integers(TOPICS, size=count)
    vectors = centres[topic] + 0.5 * chance.normal(size=(count, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), chance.normal(size=(count, len(NAMES))).astype(np.float32), topic


def examples(seed: int = 1, *, pairs: bool = True) -> Examples:
    """The cheap tier fails at topic 3, the dear one seldom anywhere."""
    vectors, features, topic = questions(seed)
    chance = np.random.default_rng(seed + 100)
    good = np.stack([chance.random(ROWS) < np.where(topic == 3, 0.2, 0.9), chance.random(ROWS) < 0.92], axis=1)
    tier = np.repeat([0, 1], ROWS)
    rows = np.tile(np.arange(ROWS), 2)
    kept = np.ones(2 * ROWS, bool) if pairs else chance.random(2 * ROWS) < 0.5
    rows, tier = rows[kept], tier[kept]
    hard = np.zeros(len(rows), np.float32)
    return Examples(vectors[rows], features[rows], hard, tier, good[rows, tier].astype(np.float32))


def chances(heads: Heads, vectors: np.ndarray, features: np.ndarray) -> np.ndarray:
    hard = np.zeros(len(vectors), np.float32)
    return np.asarray(heads.chances(vectors, features, hard, heads.space.trust(vectors)))


@pytest.mark.parametrize("pairs", [True, False])
def test_who_fails_at_what_is_learned_also_from_labels_of_one_tier_alone(pairs: bool) -> None:
    heads = fit(examples(pairs=pairs), 2)
    vectors, features, topic = questions(2)
    found = chances(heads, vectors, features)
    assert found[topic == 3, 0].mean() < 0.45 < 0.75 < found[topic != 3, 0].mean()
    gain = found[:, 1] - found[:, 0]
    assert gain[topic == 3].min() > np.median(gain[topic != 3])


def test_chances_are_what_became_of_it() -> None:
    vectors, features, topic = questions(3)
    found = chances(fit(examples(), 2), vectors, features)
    assert found[:, 0].mean() == pytest.approx(np.where(topic == 3, 0.2, 0.9).mean(), abs=0.06)
    assert found[:, 1].mean() == pytest.approx(0.92, abs=0.05)


def test_a_question_far_from_all_that_was_seen_is_for_the_prior() -> None:
    heads = fit(examples(), 2)
    strange = -heads.space.seen[:50]
    assert heads.space.trust(strange).max() == 0.0
    assert heads.space.trust(heads.space.seen).min() == 1.0
    plain = 1 / (1 + np.exp(-(heads.common - 0.5)))
    hard = np.full(50, 0.5, np.float32)
    found = heads.chances(strange, np.zeros((50, len(NAMES)), np.float32), hard, heads.space.trust(strange))
    assert np.allclose(found, plain, atol=1e-5)


def test_what_it_foretells_of_its_own_examples_it_foretold_without_them() -> None:
    taught = examples()
    heads = fit(taught, 2)
    assert heads.foretold.shape == (ROWS, 2)
    wild = taught._replace(good=np.random.default_rng(0).integers(0, 2, len(taught.good)).astype(np.float32))
    assert abs(fit(wild, 2).foretold[:, 0] - 0.5).mean() < 0.1, "from coins nothing is to be learned"


def test_the_same_examples_teach_the_same() -> None:
    one, other = fit(examples(), 2, seed=4), fit(examples(), 2, seed=4)
    assert np.array_equal(one.foretold, other.foretold)


def test_a_tier_of_which_nothing_bad_is_known_cannot_be_learned() -> None:
    taught = examples()
    with pytest.raises(ValueError, match="tier 1 has no answers of both kinds"):
        fit(taught._replace(good=np.where(taught.tier == 1, 1.0, taught.good).astype(np.float32)), 2)
    with pytest.raises(ValueError, match="tier 2 has no answers"):
        fit(taught, 3)
