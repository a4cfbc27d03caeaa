"""Learns the weights of the injection classifier, from texts that are named and never from those that test it.

  .venv/bin/python tools/train_injection.py --data DIR

DIR is the folder that `./run bench guards` reads. Learned from: injection/{neuralchemy,slabs,gauntlet_phrases}.jsonl,
what injection_texts.py has, and as texts that are no attack also questions, paragraphs and instructions of the other
folders, and one half of injection/*_benign.jsonl. That half sets the thresholds too: each quarter is measured by a line
that was learned without it. The other half, which the bench measures on, is not looked at.
Needs numpy: pip install 'tidegate[semantic]'.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from injection_texts import attacks, calm, everyday, guileless, harmless, mentions, personas, wiles

from tidegate.stages.guardrails.classifier import Card, features, share, weighed, windows
from tidegate.stages.guardrails.plainly import plain, readings

BUCKETS = 1 << 18
ROUNDS = 200
LOOSE = 8.0  # how much a wrong answer weighs beside large weights
MOST_WINDOWS = 8  # of one reading
ATTACKS = ("neuralchemy", "slabs", "gauntlet_phrases")
POOLS = ("arenahard_benign", "mitre_frr_benign")
TESTS = ("deepset", "bastioncorpus")
OURS = (
    ("attacks in eleven languages", attacks, 1),
    ("harmless in eleven languages", calm, 0),
    ("harmless words of attacks", harmless, 0),
    ("orders of applications", personas, 0),
    ("wiles", wiles, 1),
    ("words of wiles without guile", guileless, 0),
    ("everyday wishes in forty languages", everyday, 0),
    ("words of attacks by chance", mentions, 0),
)
CARE = {  # what an error costs, where it is not 1.5
    "arenahard_benign": 8.0,
    "mitre_frr_benign": 6.0,
    "harmless words of attacks": 4.0,
    "words of wiles without guile": 3.0,
    "everyday wishes in forty languages": 3.0,
    "words of attacks by chance": 5.0,
}
SHARES = (0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.02)
ROOT = Path(__file__).resolve().parent.parent
TO = ROOT / "src/tidegate/stages/guardrails/injection.weights"


class Examples(NamedTuple):
    windows: list[np.ndarray]  # the features of each
    labels: np.ndarray  # 1: an attack
    sources: np.ndarray
    quarters: np.ndarray  # of a pool, else -1
    told: list[dict[str, Any]]  # what was learned from


def quarter(text: str) -> int:
    """0 and 1: learned from, and what sets the thresholds; 2 and 3: the bench's."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[0] % 4


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def shingles(text: str) -> frozenset[str]:
    words = plain(text).split()
    return frozenset(" ".join(words[at : at + 3]) for at in range(max(len(words) - 2, 1)))


class Near:
    """Texts of the tests; what is nearly one of them is not learned from."""

    def __init__(self, texts: list[str]) -> None:
        self._by: dict[str, list[frozenset[str]]] = {}
        for text in texts:
            found = shingles(text)
            for one in found:
                self._by.setdefault(one, []).append(found)

    def holds(self, text: str) -> bool:
        found = shingles(text)
        others = {other for one in found for other in self._by.get(one, ())}
        return any(len(found & other) >= 0.6 * min(len(found), len(other)) for other in others)


def benign(data: Path) -> Iterator[tuple[str, str]]:
    """(source, text) of what nobody means as an attack."""
    for path in sorted((data / "routing/mmlu").glob("*.csv")):
        for row in list(csv.reader(path.open(encoding="utf-8", newline="")))[1:]:
            yield "mmlu", max(row, key=len)
    for answered in csv.DictReader((data / "routing/gsm8k_responses.csv").open(encoding="utf-8", newline="")):
        yield "gsm8k", answered["prompt"]
    with (data / "cache/banking77_train.csv").open(encoding="utf-8", newline="") as file:
        for at, row in enumerate(csv.reader(file)):
            if at and at % 4 == 0:
                yield "banking77", row[0]
    for article in json.loads((data / "compression/xquad_en.json").read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            yield "xquad", paragraph["context"]
            yield from (("xquad", one["question"]) for one in paragraph["qas"])
    for one in json.loads((data / "judges/LLMBar_Natural.json").read_text(encoding="utf-8")):
        yield "llmbar", one["input"]
    for pool in POOLS:
        yield from ((pool, row["text"]) for row in rows(data / f"injection/{pool}.jsonl") if quarter(row["text"]) < 2)


def examples(data: Path) -> Examples:
    near = Near([row["text"] for test in TESTS for row in rows(data / f"injection/{test}.jsonl")])
    told: dict[str, dict[str, Any]] = {}
    found: list[np.ndarray] = []
    labels, sources, quarters = [], [], []
    seen: set[str] = set()

    def learn(source: str, text: str, label: int) -> None:
        said = plain(text)
        counted = told.setdefault(source, {"source": source, "attacks": 0, "benign": 0, "near_tests": 0})
        if said in seen:
            return
        seen.add(said)
        if near.holds(text):
            counted["near_tests"] += 1
            return
        counted["attacks" if label else "benign"] += 1
        for reading in list(readings(text))[: 2 if label else 1]:
            for words in list(windows(reading))[:MOST_WINDOWS]:
                # Sorted: a set is in another order in each process, and so would the sums be, in their last bits.
                found.append(np.sort(np.fromiter(features(words, BUCKETS), dtype=np.int32)))
                labels.append(label)
                sources.append(source)
                quarters.append(quarter(text) if source in POOLS else -1)

    for source in ATTACKS:
        for row in rows(data / f"injection/{source}.jsonl"):
            learn(source, row["text"], int(row["label"]))
    for source, text in benign(data):
        learn(source, text, 0)
    for source, texts, label in OURS:
        for text in texts():
            learn(source, text, label)
    return Examples(found, np.array(labels), np.array(sources), np.array(quarters), list(told.values()))


def weights(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """What an error costs. Of attacks each source that is given has the same part, be it large or small: the next one
    that nobody has seen is as like to one as to another."""
    found = np.array([1.0 if label else CARE.get(source, 1.5) for label, source in zip(labels, sources, strict=True)])
    attacks = {name: (labels == 1) & (sources == name) for name in ATTACKS}
    most = sum(mine.sum() for mine in attacks.values())
    for mine in attacks.values():
        found[mine] = most / len(ATTACKS) / max(mine.sum(), 1)
    return found


class Table:
    """Windows by features: each has 1 ÷ √(how many) of those it has."""

    def __init__(self, found: list[np.ndarray]) -> None:
        sizes = np.array([len(one) for one in found])
        self._which = np.concatenate(found)
        self._row = np.repeat(np.arange(len(found)), sizes)
        self._value = np.repeat(1 / np.sqrt(np.maximum(sizes, 1)), sizes)
        self.rows = len(found)

    def scores(self, line: np.ndarray) -> np.ndarray:
        return np.bincount(self._row, line[self._which] * self._value, self.rows)

    def slopes(self, errors: np.ndarray) -> np.ndarray:
        return np.bincount(self._which, errors[self._row] * self._value, BUCKETS)


def learned(table: Table, labels: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, float]:
    """Logistic regression, held back by the square of its weights. The last number of a point is the bias."""
    signs = np.where(labels == 1, 1.0, -1.0)

    def at(point: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (table.scores(point[:-1]) + point[-1])
        loss = float((cost * np.logaddexp(0, -margins)).sum() * LOOSE + along(point, point) / 2)
        errors = -signs * cost * LOOSE / (1 + np.exp(np.clip(margins, -40, 40)))
        return loss, np.append(table.slopes(errors), errors.sum()) + point

    point = downhill(at, np.zeros(BUCKETS + 1))
    return point[:-1], float(point[-1])


def along(one: np.ndarray, other: np.ndarray) -> float:
    """Their product, by no library that shares it out among threads: it is the same to the last bit in each run."""
    return float((one * other).sum())


def downhill(at: Callable[[np.ndarray], tuple[float, np.ndarray]], point: np.ndarray) -> np.ndarray:
    """L-BFGS: the lowest point of what is convex, by the slopes of the last few steps."""
    loss, slope = at(point)
    steps: list[tuple[np.ndarray, np.ndarray, float]] = []
    for _ in range(ROUNDS):
        way, parts = -slope, list[float]()
        for step, change, scale in reversed(steps):
            parts.append(scale * along(step, way))
            way = way - parts[-1] * change
        if steps:
            step, change, scale = steps[-1]
            way = way / (scale * along(change, change))
        for (step, change, scale), part in zip(steps, reversed(parts), strict=True):
            way = way + step * (part - scale * along(change, way))
        size, down = (1.0 if steps else 1 / np.abs(slope).sum()), along(slope, way)
        while (found := at(point + size * way))[0] > loss + 1e-4 * size * down:
            size /= 2
        moved, turned = size * way, found[1] - slope
        steps = [*steps[-9:], (moved, turned, 1 / along(moved, turned))]
        point, slope, before, loss = point + moved, found[1], loss, found[0]
        if before - loss < 1e-5 * loss:
            break
    return point


class Line:
    """Weights as they are kept: a signed byte each."""

    def __init__(self, line: np.ndarray, bias: float) -> None:
        top = float(np.quantile(np.abs(line[line != 0]), 0.9999))
        self.whole = np.clip(np.round(line * (127 / top)), -127, 127).astype(np.int8)
        self.scale, self.bias = top / 127, bias

    def score(self, text: str) -> float:
        return share(weighed([self._score(words) for reading in readings(text) for words in windows(reading)]))

    def _score(self, words: list[str]) -> float:
        which = np.fromiter(features(words, BUCKETS), dtype=np.int32)
        said = float(self.whole[which].astype(np.int32).sum())
        return said * self.scale / math.sqrt(max(len(which), 1)) + self.bias


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--to", type=Path, default=TO, metavar="FILE")
    options = parser.parse_args()
    found = examples(options.data)
    cost = weights(found.labels, found.sources)
    print(f"{len(found.labels)} windows, {int(found.labels.sum())} of attacks")

    def line_of(some: np.ndarray) -> Line:
        return Line(*learned(Table([found.windows[at] for at in some]), found.labels[some], cost[some]))

    calm = [row["text"] for pool in POOLS for row in rows(options.data / f"injection/{pool}.jsonl")]
    scores: list[float] = []
    for left_out in (0, 1):
        line = line_of(np.flatnonzero(found.quarters != left_out))
        scores += [line.score(text) for text in calm if quarter(text) == left_out]
    line = line_of(np.arange(len(found.labels)))
    thresholds = {f"{part:g}": round(float(np.quantile(scores, 1 - part)), 6) for part in SHARES}
    raw = line.whole.tobytes()
    digest = hashlib.sha256(raw).hexdigest()
    card = Card(BUCKETS, line.scale, line.bias, thresholds, found.told, digest, "tools/train_injection.py")
    options.to.write_bytes(msgspec.json.encode(card) + b"\n" + raw)
    print(thresholds, f"from {len(scores)} texts")


if __name__ == "__main__":
    main()
