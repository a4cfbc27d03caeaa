"""Which questions are routed, and who of two models answers them well? Read, looked at and embedded once."""

from __future__ import annotations

import csv
import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.procs import Unavailable
from tidegate.providers.embedder import FOLDER, MODEL
from tidegate.providers.embedder.install import install
from tidegate.providers.embedder.minilm import MiniLM
from tidegate.upstream.tiers.look import NAMES, features
from tidegate.upstream.tiers.prior import Seen

WEAK, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
SETS = ("mmlu", "gsm8k")


class Questions(NamedTuple):
    """One row per question. `good`: whether the weak and the strong model answer it well."""

    of: Any  # its set, by its place in SETS
    subject: Any
    vectors: Any
    features: Any
    good: Any

    def seen(self, rows: Any) -> list[Seen]:
        """For a prior: within each subject questions are compared with one another."""
        return [
            Seen(str(self.subject[at]), self.features[at].tolist(), bool(self.good[at, 0]), bool(self.good[at, 1]))
            for at in rows
        ]


def read(data: Path) -> Iterator[tuple[str, str, bool, bool]]:
    """(subject, question, weak is right, strong is right)."""
    paths = [*sorted((data / "routing/mmlu").glob("*.csv")), data / "routing/gsm8k_responses.csv"]
    if len(paths) < 2 or not paths[-1].is_file():
        raise Unavailable(f"there is no {data}/routing/mmlu/*.csv or no {paths[-1]}; --data DIR is the folder above")
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                subject = path.stem if path.stem.startswith("mmlu") else "gsm8k"
                yield subject, row["prompt"], row[WEAK] == "True", row[STRONG] == "True"


def prepared(data: Path) -> Path:
    """The file that `loaded` reads, made once for these very texts, this very model and these features."""
    rows = list(read(data))
    if not (FOLDER / MODEL).is_file():
        install()
    model = MiniLM()
    said = "\0".join((model.name, *NAMES, *(f"{row}" for row in rows)))
    path = Path(tempfile.gettempdir(), f"tidegate-bench-{hashlib.sha256(said.encode()).hexdigest()[:24]}.npz")
    if not path.exists():
        with ThreadPoolExecutor(2) as pool:
            vectors = [np.frombuffer(one, "<f4") for one in pool.map(model.embedded, [row[1] for row in rows])]
        half_done = path.with_suffix(".tmp.npz")
        np.savez(
            half_done,
            of=np.array([SETS.index("gsm8k" if row[0] == "gsm8k" else "mmlu") for row in rows]),
            subject=np.array([row[0] for row in rows]),
            vectors=np.stack(vectors).astype(np.float32),
            features=np.array([features(row[1]) for row in rows], np.float32),
            good=np.array([row[2:] for row in rows], np.float32),
        )
        half_done.replace(path)
    return path


def loaded(path: Path) -> Questions:
    with np.load(path) as kept:
        return Questions(*(kept[name] for name in Questions._fields))
