"""Learns the weights of the injection classifier, from texts that are named and never from those that test it.

  .venv/bin/python tools/train_injection.py --data DIR

DIR is the folder that `./run bench guards` reads. Learned from: injection/{neuralchemy,slabs,gauntlet_phrases}.jsonl,
and as texts that are no attack also questions, paragraphs and instructions of the other folders, and one half of
injection/*_benign.jsonl. That half sets the thresholds too: each quarter is measured by a line that was learned without
it. The other half, which the bench measures on, is not looked at. Needs numpy: pip install 'tidegate[semantic]'.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tidegate.stages.guardrails.classifier import Card, features, windows
from tidegate.stages.guardrails.plainly import plain, readings

BUCKETS = 1 << 18
ROUNDS = 6
RATE = 0.4
DECAY = 2e-6
SEED = 7
ATTACKS = ("neuralchemy", "slabs", "gauntlet_phrases")
POOLS = ("arenahard_benign", "mitre_frr_benign")
TESTS = ("deepset", "bastioncorpus")
CARE = {"arenahard_benign": 4.0, "mitre_frr_benign": 4.0, "harmless words of attacks": 3.0}  # what an error costs
SHARES = (0.001, 0.002, 0.005, 0.01, 0.02)
ROOT = Path(__file__).resolve().parent.parent
TO = ROOT / "src/tidegate/stages/guardrails/injection.weights"


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


_VERBS = (
    "ignore",
    "override",
    "disregard",
    "bypass",
    "forget",
    "skip",
    "disable",
    "reset",
    "reveal",
    "repeat",
    "cancel",
    "erase",
    "act as",
    "pretend to be",
    "enable",
    "decode",
    "disclose",
    "summarise",
    "follow",
    "bend",
    "void",
    "unlock",
)
_OBJECTS = (
    "a class method in Kotlin",
    "the second chapter of my thesis",
    "warnings of the compiler",
    "null values in pandas",
    "a failing test in pytest",
    "the old address in my contract",
    "a tour guide for my nephew",
    "the lock on my suitcase",
    "case when I compare strings",
    "my alarm on holidays",
    "the default theme of the editor",
    "empty lines in a CSV file",
    "the house rules of our flat",
    "a firewall rule for port 22",
    "the instructions on the medicine box",
    "safe mode on my PC",
    "hidden columns in Excel",
    "the password policy of our domain",
    "an admin account on Windows",
    "developer tools in Firefox",
    "a customs declaration",
    "the prompt of my shell",
    "system fonts on Linux",
    "an earlier order at the shop",
    "the previous tenant's mail",
    "a message of the robot vacuum",
    "the guidelines of the school board",
    "content filters on the TV",
    "the constraints of a linear program",
    "a user story for our assistant app",
    "the limits of integration",
    "what my boss told me",
)
_ASKED = (
    "How do I {verb} {thing}?",
    "Is it fine to {verb} {thing}?",
    "Why would anybody {verb} {thing}?",
    "Write a short note that explains when to {verb} {thing}.",
    "My notes say: {verb} {thing}. What is meant?",
    "Can you show an example of how to {verb} {thing} and what happens then?",
    "Please {verb} {thing} in the next draft.",
    "Explain {thing} to a beginner, and when one should {verb} it.",
)


_WISHES = (
    "Could you repeat",
    "Please shorten",
    "Rewrite",
    "Print",
    "Show me",
    "Give me",
    "Can you list",
    "Translate",
    "Explain",
    "I would like",
    "Do not change",
    "Write down",
)
_ANSWERS = (
    "your last answer",
    "your explanation",
    "your previous reply",
    "the text above",
    "the code from before",
    "the output of this loop",
    "the rules of the game",
    "all steps",
    'the sentence "never mind"',
    "what you said earlier",
)
_FORMS = (
    "as a table",
    "in French",
    "as bullet points",
    "with one example",
    "in fewer words",
    "for a child of six",
    "again",
)


def harmless() -> Iterator[str]:
    """The words of attacks, by people who mean no harm. Other sentences than those of the bench."""
    for verb in _VERBS:
        for at, thing in enumerate(_OBJECTS):
            yield _ASKED[(at + len(verb)) % len(_ASKED)].format(verb=verb, thing=thing)
    for at, wish in enumerate(_WISHES):
        for answer in _ANSWERS:
            yield from (f"{wish} {answer} {form}{'?.!'[at % 3]}" for form in _FORMS)


def examples(data: Path) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Features, label, weight and quarter (of a pool, else -1) of each example, and what was learned from."""
    near = Near([row["text"] for test in TESTS for row in rows(data / f"injection/{test}.jsonl")])
    told: dict[str, dict[str, Any]] = {}
    found: list[np.ndarray] = []
    labels, weights, quarters = [], [], []
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
            for words in list(windows(reading))[:8]:
                found.append(np.fromiter(features(words, BUCKETS), dtype=np.int32))
                labels.append(label)
                weights.append(1.0 if label else CARE.get(source, 1.5))
                quarters.append(quarter(text) if source in POOLS else -1)

    for source in ATTACKS:
        for row in rows(data / f"injection/{source}.jsonl"):
            learn(source, row["text"], int(row["label"]))
    for source, text in benign(data):
        learn(source, text, 0)
    for text in harmless():
        learn("harmless words of attacks", text, 0)
    numbers = (np.array(one, dtype=np.float32) for one in (labels, weights, quarters))
    return (found, *numbers, list(told.values()))  # type: ignore[return-value]


def learned(found: list[np.ndarray], labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Logistic regression by AdaGrad, one example after the other."""
    chance = np.random.default_rng(SEED)
    line = np.zeros(BUCKETS, dtype=np.float32)
    steps = np.full(BUCKETS, 0.05, dtype=np.float32)
    bias, bias_step = 0.0, 0.05
    mean, mean_bias, summed = np.zeros(BUCKETS, dtype=np.float64), 0.0, 0
    for turn in range(ROUNDS):
        for at in chance.permutation(len(found)):
            which = found[at]
            size = 1 / np.sqrt(len(which))
            said = float(line[which].sum()) * size + bias
            error = (1 / (1 + np.exp(-np.clip(said, -40, 40))) - labels[at]) * weights[at]
            slope = error * size + DECAY * line[which]
            steps[which] += slope * slope
            line[which] -= RATE * slope / np.sqrt(steps[which])
            bias_step += error * error
            bias -= 0.1 * error / np.sqrt(bias_step)
        if turn >= 1:  # the mean of lines generalises better than the last one
            mean, mean_bias, summed = mean + line, mean_bias + bias, summed + 1
    return (mean / summed).astype(np.float32), float(mean_bias / summed)


class Line:
    """Weights as they are kept: a signed byte each."""

    def __init__(self, line: np.ndarray, bias: float) -> None:
        top = float(np.quantile(np.abs(line[line != 0]), 0.9999))
        self.whole = np.clip(np.round(line * (127 / top)), -127, 127).astype(np.int8)
        self.scale, self.bias = top / 127, bias

    def score(self, text: str) -> float:
        best = -40.0
        for reading in readings(text):
            for words in windows(reading):
                which = np.fromiter(features(words, BUCKETS), dtype=np.int32)
                if len(which):
                    said = float(self.whole[which].astype(np.int32).sum())
                    best = max(best, said * self.scale / float(np.sqrt(len(which))) + self.bias)
        return float(1 / (1 + np.exp(-best)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--to", type=Path, default=TO, metavar="FILE")
    options = parser.parse_args()
    found, labels, weights, quarters, told = examples(options.data)
    print(f"{len(found)} windows, {int(labels.sum())} of attacks")
    calm = [row["text"] for pool in POOLS for row in rows(options.data / f"injection/{pool}.jsonl")]
    scores: list[float] = []
    for left_out in (0, 1):
        some = np.flatnonzero(quarters != left_out)
        line = Line(*learned([found[at] for at in some], labels[some], weights[some]))
        scores += [line.score(text) for text in calm if quarter(text) == left_out]
    line = Line(*learned(found, labels, weights))
    thresholds = {f"{share:g}": round(float(np.quantile(scores, 1 - share)), 6) for share in SHARES}
    raw = line.whole.tobytes()
    card = Card(
        BUCKETS, line.scale, line.bias, thresholds, told, hashlib.sha256(raw).hexdigest(), "tools/train_injection.py"
    )
    options.to.write_bytes(msgspec.json.encode(card) + b"\n" + raw)
    print(thresholds, f"from {len(scores)} texts")


if __name__ == "__main__":
    main()
