"""Vectors in process: what the contract does not say."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tidegate.core.ports import Answer, Entry
from tidegate.storage import vectors as module
from tidegate.storage.vectors import MemoryVectors


def test_a_bound_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1 entry, not 0"):
        MemoryVectors(0)


async def test_a_search_in_a_thread_finds_the_same_although_entries_change_meanwhile(monkeypatch):
    monkeypatch.setattr(module, "ON_THE_LOOP", 0)
    chance = np.random.default_rng(1)
    points = chance.standard_normal((300, 8)).astype("<f4")
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    vectors = MemoryVectors(1000)
    for at, point in enumerate(points):
        await vectors.add("team", Entry(f"{at}", point.tobytes(), Answer(f"{at}", b"", b"")))
    looking = [asyncio.ensure_future(vectors.nearest("team", point.tobytes(), 5)) for point in points[:50]]
    await asyncio.sleep(0)
    await vectors.forget("team", [f"{at}" for at in range(100, 300)])
    for found in await asyncio.gather(*looking):
        assert all(int(one.id) < 100 for one in found)
        assert [one.similarity for one in found] == sorted((one.similarity for one in found), reverse=True)
