"""An embedder for tests: texts are near when they have words in common. `embedder: tests.stages.cache.words:Words`."""

from __future__ import annotations

import zlib

import numpy as np

DIMENSIONS = 256


class Words:
    name = "words"
    dimensions = DIMENSIONS

    async def embed(self, text: str, parent: object = None) -> bytes:
        vector = np.full(DIMENSIONS, 1e-3, np.float32)
        for word in text.lower().replace("?", " ").replace(".", " ").split():
            vector[zlib.crc32(word.encode()) % DIMENSIONS] += 1
        return (vector / np.linalg.norm(vector)).astype("<f4").tobytes()

    async def aclose(self) -> None:
        """It holds nothing."""
