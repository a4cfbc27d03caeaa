"""How likely does each tier answer well? Learned from answers that were judged, on what questions mean and look like.

One head says how hard a question is for everybody, one per tier how much that tier differs: so what is learned of one
tier helps with all, and labels need not come in pairs. A question far from all that was seen falls back to the prior.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np

LANDMARKS = 400  # questions that others are compared with
SHARED, APART = 16.0, 8.0  # how much large weights cost, in the head that all tiers share and in those of each
STEPS = 4  # of Newton: it is near by then
FOLDS = 3  # what was seen is foretold by heads that have not seen it, to learn how sure they may be
STRANGE_TRAFFIC = 0.25  # where questions are trusted less on average, heads are not heard at all: it is another world
CLIP = 4.0  # of features, in standard deviations
NEAR = (0.05, 0.15)  # of what was seen, so many are farther from the rest than what is strange, and than is familiar

Matrix = Any  # numpy arrays, float32


class Examples(NamedTuple):
    """One row per question and tier that answered it."""

    vectors: Matrix  # of length 1
    features: Matrix
    hard: Matrix  # what the prior says, as a logit to be taken off
    tier: Matrix
    good: Matrix  # 0 to 1


class Space(msgspec.Struct, frozen=True):
    """Where a question lies: its nearness to landmarks, by meaning and by looks."""

    seen: Matrix  # vectors of all questions, landmarks first
    features: Matrix  # of the landmarks, in standard deviations
    mean: Matrix
    deviation: Matrix
    turn: Matrix  # from nearness to coordinates in which distance is plain
    strange: float  # cosine to the nearest that was seen, at and below which nothing is known
    familiar: float

    def coordinates(self, vectors: Matrix, features: Matrix) -> Matrix:
        looks = np.clip((features - self.mean) / self.deviation, -CLIP, CLIP)
        return _nearness(vectors, looks, self.seen[: len(self.features)], self.features) @ self.turn

    def trust(self, vectors: Matrix) -> Matrix:
        """0: so strange that only the prior can speak; 1: heads may."""
        nearest = (vectors @ self.seen.T).max(axis=1)
        return np.clip((nearest - self.strange) / max(self.familiar - self.strange, 1e-6), 0.0, 1.0)


class Heads(msgspec.Struct, frozen=True):
    space: Space
    common: Matrix  # tiers: the logit of a question that is not hard
    shared: Matrix
    apart: Matrix  # tiers × coordinates, the last is a constant
    slope: float  # what a logit is multiplied with, for all tiers alike: else it would change who is ahead
    added: Matrix  # tiers: and what is added then
    foretold: Matrix  # of the examples, by heads that had not seen them: questions × tiers, by question

    def chances(self, vectors: Matrix, features: Matrix, hard: Matrix, trust: Matrix) -> Matrix:
        """Questions × tiers: how likely each answers well. `trust`: of heads rather than the prior, by question."""
        logits, trust = self._logits(vectors, features, hard), trust[:, None]
        plain = self.common - hard[:, None]
        return _share(trust * (logits * self.slope + self.added) + (1 - trust) * plain)

    def _logits(self, vectors: Matrix, features: Matrix, hard: Matrix) -> Matrix:
        at = self.space.coordinates(vectors, features)
        return _logits(at, hard, self.common, self.shared, self.apart)


def fit(examples: Examples, tiers: int, seed: int = 0) -> Heads:
    """Raises ValueError for a tier without answers of both kinds. Seconds for thousands of rows: in a thread."""
    for tier in range(tiers):
        good = examples.good[examples.tier == tier]
        if not len(good) or good.min() >= 0.5 or good.max() < 0.5:
            raise ValueError(f"tier {tier} has no answers of both kinds, good and bad")
    chance = np.random.default_rng(seed)
    space = _space(examples, chance)
    at = space.coordinates(examples.vectors, examples.features)
    whole = _learned(at, examples, tiers, np.ones(len(at), bool))
    questions, group = _questions(examples)
    fold = chance.integers(FOLDS, size=len(questions))[group]
    logits = np.zeros((len(at), tiers), np.float32)
    for left_out in range(FOLDS):
        rows = fold == left_out
        logits[rows] = _logits(at[rows], examples.hard[rows], *_learned(at, examples, tiers, ~rows))
    slope, added = _calibrated(logits, examples, tiers)
    return Heads(space, *whole, slope, added, _share(logits[questions] * slope + added))


def _questions(examples: Examples) -> tuple[Matrix, Matrix]:
    """The first row of each question, and of each row, which question it is: one is never on both sides of a fold."""
    _, first, group = np.unique(examples.vectors, axis=0, return_index=True, return_inverse=True)
    return first, np.asarray(group).reshape(-1)


def _space(examples: Examples, chance: np.random.Generator) -> Space:
    questions = chance.permutation(_questions(examples)[0])
    vectors, features = examples.vectors[questions], examples.features[questions]
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    marks = vectors[:LANDMARKS]
    looks = np.clip((features[:LANDMARKS] - mean) / deviation, -CLIP, CLIP)
    nearness = _nearness(marks, looks, marks, looks)
    values, turn = np.linalg.eigh(nearness + 1e-4 * np.eye(len(marks), dtype=np.float32))
    turn = (turn / np.sqrt(np.maximum(values, 1e-6))).astype(np.float32)
    strange, familiar = (float(one) for one in np.quantile(_apart(vectors), NEAR))
    return Space(vectors, looks, mean, deviation, turn, strange, familiar)


def _apart(vectors: Matrix) -> Matrix:
    """How near to each its nearest neighbour is."""
    found = np.empty(len(vectors), np.float32)
    for begin in range(0, len(vectors), 512):
        block = vectors[begin : begin + 512] @ vectors.T
        block[np.arange(len(block)), np.arange(begin, begin + len(block))] = -1.0  # itself
        found[begin : begin + 512] = block.max(axis=1)
    return found


def _nearness(vectors: Matrix, looks: Matrix, marks: Matrix, marks_looks: Matrix) -> Matrix:
    """Wide and narrow bells around each landmark: by meaning, by looks, and a straight line in looks."""
    apart = 2.0 - 2.0 * (vectors @ marks.T)
    product = looks @ marks_looks.T / looks.shape[1]
    squares = (looks**2).mean(axis=1)[:, None] + (marks_looks**2).mean(axis=1)
    found = np.exp(-0.5 * apart) + 0.3 * (np.exp(-3.0 * apart) + np.exp((2.0 * product - squares) / 4) + product)
    return found.astype(np.float32)


Learned = tuple[Matrix, Matrix, Matrix]  # common, shared, apart


def _learned(at: Matrix, examples: Examples, tiers: int, rows: Matrix) -> Learned:
    tier, good, hard = examples.tier[rows], examples.good[rows], examples.hard[rows]
    common = np.array([_plain(good[tier == one], hard[tier == one]) for one in range(tiers)], np.float32)
    offset = common[tier] - hard
    shared = _newton(at[rows], good, offset, SHARED)
    offset = offset + at[rows] @ shared[:-1] + shared[-1]
    apart = [_newton(at[rows][tier == one], good[tier == one], offset[tier == one], APART) for one in range(tiers)]
    return common, shared, np.stack(apart)


def _plain(good: Matrix, hard: Matrix) -> float:
    """The logit at which a tier is as good as it was, were the prior right about what is hard."""
    common = 0.0
    for _ in range(12):
        found = _share(common - hard)
        common += float((good.mean() - found.mean()) / max(float((found * (1 - found)).mean()), 1e-3))
    return common


def _newton(at: Matrix, good: Matrix, offset: Matrix, held: float) -> Matrix:
    """Logistic regression beside `offset`; the last weight is a constant, and free."""
    rows = np.concatenate([at, np.ones((len(at), 1), np.float32)], axis=1)
    cost = np.full(rows.shape[1], held, np.float32)
    cost[-1] = 1e-3
    weights = np.zeros(rows.shape[1], np.float32)
    for _ in range(STEPS):
        found = _share(rows @ weights + offset)
        curve = (rows.T * (found * (1 - found))) @ rows
        curve[np.diag_indices_from(curve)] += cost
        weights = weights - np.linalg.solve(curve, rows.T @ (found - good) + cost * weights)
    return weights.astype(np.float32)


def _logits(at: Matrix, hard: Matrix, common: Matrix, shared: Matrix, apart: Matrix) -> Matrix:
    both = (at @ shared[:-1] + shared[-1] - hard)[:, None]
    return common + both + at @ apart[:, :-1].T + apart[:, -1]


def _calibrated(logits: Matrix, examples: Examples, tiers: int) -> tuple[float, Matrix]:
    """Slope, and a constant for each tier, with which logits are as sure as they turned out to be."""
    said = logits[np.arange(len(logits)), examples.tier]
    whose = (examples.tier[:, None] == np.arange(tiers)).astype(np.float32)
    rows = np.concatenate([said[:, None], whose], axis=1)
    line = _newton(rows, examples.good, np.zeros(len(said), np.float32), 1e-3)
    return max(float(line[0]), 0.05), line[1:-1] + line[-1]


def _share(logits: Matrix) -> Matrix:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))
