"""Does the answer mean what the reference means? By their vectors, made in this process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How near an answer is to the case's reference. Needs the extra `semantic`, and `tidegate semantic install`.

    at_least: the similarity of a pass; 1 is the same, 0 has nothing to do with it. A contradiction in the same words is
        near, too.
    """

    at_least: Annotated[float, Meta(ge=0, le=1)] = 0.7


class Similarity:
    def __init__(self, config: Config) -> None:
        self._at_least = config.at_least

    def lacks(self, case: Case) -> str | None:
        return None if case.reference else "there is nothing to compare with; give the case a reference"

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        ours, theirs = await bench.embed(said.text), await bench.embed(case.reference)
        near = math.fsum(one * other for one, other in zip(_numbers(ours), _numbers(theirs), strict=True))
        near = min(1.0, max(-1.0, near))
        return [Score(scorer="", value=near, passed=near >= self._at_least, why=f"similarity {near:.3f}")]


def _numbers(vector: bytes) -> memoryview[float]:
    found: memoryview[float] = memoryview(vector).cast("f")
    return found
