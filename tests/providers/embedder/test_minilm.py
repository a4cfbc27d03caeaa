"""The embedding model: like questions are near each other, and the bytes are the same each time."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.parts import embedding_model
from tidegate.core.errors import ConfigError
from tidegate.providers.embedder import MODEL, VOCABULARY
from tidegate.providers.embedder.minilm import MiniLM

REFERENCE = "I am still waiting on my card?"


@pytest.fixture
async def model():
    model = MiniLM(threads=2)
    yield model
    await model.aclose()


def similarity(one: bytes, other: bytes) -> float:
    return float(np.frombuffer(one, "<f4") @ np.frombuffer(other, "<f4"))


@embedding_model()
async def test_like_questions_are_near_each_other(model):
    asked, like, other = [
        await model.embed(text) for text in (REFERENCE, "My card has not arrived yet", "How do I bake bread?")
    ]
    assert similarity(asked, asked) == pytest.approx(1, abs=1e-5)
    assert similarity(asked, like) > 0.6 > 0.3 > similarity(asked, other)
    assert len(asked) == 4 * model.dimensions


@embedding_model()
async def test_the_bytes_are_the_same_in_any_company(model):
    alone = await model.embed(REFERENCE)
    together = await asyncio.gather(*(model.embed(text) for text in (REFERENCE, "x " * 900, REFERENCE)))
    assert together[0] == together[2] == alone


@embedding_model()
async def test_the_loop_goes_on_meanwhile(model):
    asked = asyncio.ensure_future(model.embed("word " * 250))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 1
    assert threading.current_thread() is threading.main_thread()


@embedding_model()
@pytest.mark.parametrize("text", ["", " \n", "\ud800", "🙂" * 400])
async def test_any_text_has_a_vector_of_length_one(model, text):
    assert similarity(*[await model.embed(text)] * 2) == pytest.approx(1, abs=1e-5)


def test_an_absent_model_says_which_command_brings_it(tmp_path: Path):
    with pytest.raises(ConfigError, match="run: tidegate semantic install"):
        MiniLM(folder=tmp_path)


def test_a_broken_model_says_so(tmp_path: Path):
    (tmp_path / MODEL).write_bytes(b"no model")
    (tmp_path / VOCABULARY).write_text("[PAD]")
    with pytest.raises(ConfigError, match="cannot be read"):
        MiniLM(folder=tmp_path)
