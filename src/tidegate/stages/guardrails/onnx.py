"""What does a classifier of the operator's own say? An ONNX file that weighs texts: Prompt Guard 2, PIGuard and others.

It sees more than rules and our small classifier, and takes milliseconds. Nothing is fetched: both files are the
operator's, and named by path.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import onnxruntime
from msgspec import Meta

from tidegate.core.call import Call
from tidegate.core.errors import ConfigError
from tidegate.core.guard import Finding, Part
from tidegate.stages.guardrails import pieces

LOG_ERRORS = 3  # onnxruntime's severity
OWN = ("system", "developer")
FED = ("input_ids", "attention_mask", "token_type_ids")
MOST_WINDOWS = 64  # of one text; what is longer has not been looked at
Score = Annotated[float, Meta(gt=0, lt=1)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A classifier of texts in ONNX that you have, such as Prompt Guard 2 or PIGuard; with the extra `semantic`.

    model: the file, by path. It takes input_ids (and attention_mask, token_type_ids), and gives a number per label.
    tokenizer: its tokenizer.json, by path.
    label: which of its labels means an attack, by number from 0; null, the last.
    threshold: of that label, for what users say.
    tool_threshold: the same for what tools and documents say; null, the same.
    max_tokens: that it takes at once; a longer text is weighed in pieces that overlap by a quarter.
    """

    model: str
    tokenizer: str
    label: Annotated[int, Meta(ge=0)] | None = None
    threshold: Score = 0.5
    tool_threshold: Score | None = None
    max_tokens: Annotated[int, Meta(ge=8, le=8192)] = 512


class Onnx:
    """Raises ConfigError for what is no classifier of texts."""

    def __init__(self, config: Config, known: Sequence[str] = ()) -> None:
        self._config = config
        self._pieces = pieces.read(Path(config.tokenizer))
        try:
            weights = Path(config.model).read_bytes()
        except OSError as wrong:
            raise ConfigError(f"model: {config.model} cannot be read: {wrong.strerror}") from None
        self._session = _session(config.model, weights)
        self._fed = _inputs(config.model, self._session)
        self._label = self._try()
        self._user = config.threshold
        self._tool = config.tool_threshold or config.threshold
        said = (hashlib.sha256(weights).hexdigest(), self._label, self._user, self._tool, config.max_tokens)
        self.fingerprint = hashlib.sha256(repr(said).encode()).hexdigest()[:16]

    def watch(self) -> None:
        """It weighs a text when that is whole."""
        return

    async def check(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        return await asyncio.get_running_loop().run_in_executor(None, self._all, parts)

    async def check_answer(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        """By `tool_threshold`: no user says it."""
        return await self.check(call, parts)

    def _all(self, parts: Sequence[Part]) -> list[list[Finding]]:
        return [[] if part.role in OWN else self._look(part) for part in parts]

    def _look(self, part: Part) -> list[Finding]:
        score = self.score(part.text)
        limit = self._user if part.role == "user" else self._tool
        return [Finding("classifier", 0, len(part.text), score)] if score > limit else []

    def score(self, text: str) -> float:
        """Between 0 and 1: of the worst piece. Raises ValueError for what has too many."""
        ids = self._pieces.ids(text)
        windows = list(_windows(ids, self._config.max_tokens - 2))
        if len(windows) > MOST_WINDOWS:
            raise ValueError(f"{len(ids)} tokens are more than {MOST_WINDOWS} pieces of {self._config.max_tokens}")
        return max((_share(self._run(one), self._label) for one in windows), default=0.0)

    def _run(self, ids: Sequence[int]) -> Any:
        whole = np.array([[self._pieces.begin, *ids, self._pieces.end]], np.int64)
        fed = {"input_ids": whole, "attention_mask": np.ones_like(whole), "token_type_ids": np.zeros_like(whole)}
        return np.asarray(self._session.run(None, {name: fed[name] for name in self._fed})[0])

    def _try(self) -> int:
        """Which label means an attack. Raises ConfigError for what gives something else than labels."""
        path, label = self._config.model, self._config.label
        try:
            given = self._run(self._pieces.ids("hello"))
        except Exception as wrong:  # noqa: BLE001  its own classes are private
            first = str(wrong).splitlines()[0][:200]
            raise ConfigError(f"model: {path} cannot weigh a text of {self._config.tokenizer}: {first}") from None
        if given.ndim != 2 or given.shape[0] != 1 or given.dtype.kind != "f" or not np.isfinite(given).all():
            raise ConfigError(
                f"model: {path} gives {given.dtype} of the shape {given.shape} for one text; a classifier gives floats "
                "of the shape (1, labels)"
            )
        labels = int(given.shape[1])
        if label is not None and label >= labels:
            raise ConfigError(f"label: {path} has {labels} labels, from 0 to {labels - 1}, and no {label}")
        return labels - 1 if label is None else label


def _windows(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    step = size - size // 4
    for at in range(0, max(len(ids) - size // 4, 1), step):
        yield ids[at : at + size]


def _share(given: Any, label: int) -> float:
    """Softmax; of one label alone, the logistic function."""
    logits = given[0].astype(np.float64)
    if len(logits) == 1:
        return float(1 / (1 + np.exp(-np.clip(logits[0], -60, 60))))
    parts = np.exp(logits - logits.max())
    return float(parts[label] / parts.sum())


def _session(path: str, weights: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = LOG_ERRORS
    try:
        return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except Exception as wrong:  # noqa: BLE001  its own classes are private
        raise ConfigError(f"model: {path} is no ONNX that can be read: {str(wrong).splitlines()[0][:200]}") from None


def _inputs(path: str, session: onnxruntime.InferenceSession) -> list[str]:
    """Raises ConfigError for what takes something else than ids."""
    found = session.get_inputs()
    for one in found:
        if one.name not in FED or one.type != "tensor(int64)" or len(one.shape) != 2:
            raise ConfigError(
                f"model: {path} takes {one.name} as {one.type} of the shape {one.shape}; a classifier of texts takes "
                "input_ids, attention_mask and token_type_ids as tensor(int64) of the shape [batch, tokens]"
            )
    if "input_ids" not in [one.name for one in found]:
        raise ConfigError(f"model: {path} takes no input_ids, so it is no classifier of texts")
    return [one.name for one in found]
