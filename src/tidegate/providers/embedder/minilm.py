"""How is a text embedded? By all-MiniLM-L6-v2 on this machine, in threads of its own."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime

from tidegate.core.call import Call
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Vector
from tidegate.core.wordpiece import WordPiece
from tidegate.providers.embedder import COMMAND, FOLDER, MODEL, VOCABULARY

DIMENSIONS = 384
LONGEST = 256  # tokens; the model was trained on no more
LOG_ERRORS = 3  # onnxruntime's severity


class MiniLM:
    """`threads` texts at once, each on one core. Raises ConfigError where the model is not installed."""

    dimensions = DIMENSIONS

    def __init__(self, threads: int = 1, folder: Path = FOLDER) -> None:
        if not (folder / MODEL).is_file() or not (folder / VOCABULARY).is_file():
            raise ConfigError(f"the embedding model is not in {folder}; run: {COMMAND}")
        weights = (folder / MODEL).read_bytes()
        self.name = f"minilm-l6-int8-{hashlib.sha256(weights).hexdigest()[:12]}"
        pieces = (folder / VOCABULARY).read_text("utf-8").split("\n")
        self._words = WordPiece({piece: at for at, piece in enumerate(pieces)}, LONGEST)
        self._session = _session(weights, folder)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")

    async def embed(self, text: str, parent: Call | None = None) -> Vector:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.embedded, text)

    def embedded(self, text: str) -> Vector:
        """For whoever is in a thread already.

        One text at a time: int8 scales are those of the whole batch, so company would change the bytes.
        """
        ids = np.array([self._words.ids(text)], np.int64)
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        hidden = np.asarray(self._session.run(None, fed)[0])[0]
        mean = hidden.mean(axis=0, dtype=np.float32)
        return bytes((mean / max(float(np.linalg.norm(mean)), 1e-12)).astype("<f4").tobytes())

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _session(weights: bytes, folder: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = LOG_ERRORS
    try:
        return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except Exception as wrong:  # noqa: BLE001  its own classes are private
        raise ConfigError(f"the embedding model in {folder} cannot be read: {wrong}; run again: {COMMAND}") from None
