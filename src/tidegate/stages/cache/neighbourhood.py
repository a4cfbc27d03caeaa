"""What speaks for serving the nearest entry, and what against? Its neighbours, as a few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from tidegate.core.ports import Near
from tidegate.stages.cache.verifier import Features

COUNT = 32  # neighbours that are looked at
REACH = 0.05  # a neighbour that is so much less similar has 1/e of the say
CLOSEST = 3


class Candidate(msgspec.Struct, frozen=True):
    """The entry that would be served, and why or why not."""

    entry: Near
    features: Features


def candidate(near: Sequence[Near], may_serve: Sequence[bool]) -> Candidate | None:
    """The nearest of those that may be served; the others still speak for or against it."""
    for one, allowed in zip(near, may_serve, strict=True):
        if allowed:
            return Candidate(one, features(one, near))
    return None


def features(chosen: Near, near: Sequence[Near]) -> Features:
    """Similarity; margin over the nearest different answer; how much of the neighbourhood gives the same answer, as
    log odds; how close the answer's three nearest entries are; the entry's record; its answer's record around here.
    """
    farthest = near[-1].similarity
    nearest_other: float | None = None
    same_say = all_say = 0.0
    close: list[float] = []
    right = wrong = 0
    for one in near:
        say = math.exp((one.similarity - chosen.similarity) / REACH)
        all_say += say
        if one.answer == chosen.answer:
            same_say += say
            right += one.right
            wrong += one.wrong
            if len(close) < CLOSEST:
                close.append(one.similarity)
        elif nearest_other is None:
            nearest_other = one.similarity
    closeness = (sum(close) + (CLOSEST - len(close)) * farthest) / CLOSEST
    margin = chosen.similarity - (farthest if nearest_other is None else nearest_other)
    share = min(max(same_say / all_say, 1e-3), 1 - 1e-3)
    return (
        chosen.similarity,
        margin,
        math.log(share / (1 - share)),
        closeness,
        math.log((chosen.right + 1) / (chosen.wrong + 0.5)),
        math.log((right + 2) / (wrong + 0.5)),
    )
