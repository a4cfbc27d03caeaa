from __future__ import annotations

import array
from typing import Any

import pytest

from tests.jobs.evals.scorers.looking import case, look
from tests.parts import embedding_model
from tidegate.jobs.evals.scorers.similarity import Config, Similarity
from tidegate.providers.embedder.minilm import MiniLM

VECTORS = {"same": (1.0, 0.0), "near": (0.8, 0.6), "other": (0.0, 1.0)}


class Bench:
    async def embed(self, text: str) -> bytes:
        return array.array("f", VECTORS[text]).tobytes()


@pytest.mark.parametrize(("text", "value", "passed"), [("same", 1.0, True), ("near", 0.8, True), ("other", 0.0, False)])
async def test_what_means_the_same_is_near(text: str, value: float, passed: bool):
    score = await look(Similarity(Config()), text, of=case(reference="same"), bench=Bench())
    assert (score.value, score.passed) == (pytest.approx(value, abs=1e-6), passed)


def test_without_a_reference_there_is_nothing_to_compare_with():
    assert "reference" in (Similarity(Config()).lacks(case()) or "")


@embedding_model()
async def test_the_model_of_this_machine_finds_it_so():
    model = MiniLM()
    of: Any = case(reference="Refunds take two weeks.")
    near = await look(Similarity(Config()), "You get your money back within 14 days.", of=of, bench=model)
    far = await look(Similarity(Config()), "Paris is the capital of France.", of=of, bench=model)
    await model.aclose()
    assert near.value is not None and far.value is not None and near.value > far.value + 0.2
