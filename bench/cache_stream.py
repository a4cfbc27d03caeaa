"""What would a semantic cache have done with these questions? Streams of them, with answers whose truth is known."""

from __future__ import annotations

import csv
import hashlib
import heapq
import random
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.procs import Unavailable
from tidegate.core.ports import Answer, Entry, Near, Vector
from tidegate.providers.embedder import FOLDER, MODEL
from tidegate.providers.embedder.install import install
from tidegate.providers.embedder.minilm import MiniLM
from tidegate.stages.cache.guard import marks
from tidegate.stages.cache.semantic import Look, Policy, Semantic

OUT_OF_SCOPE = ("oos", "out_of_scope", "out-of-scope")  # no two of these have the same answer
NEIGHBOURS = 768  # kept per question; of a stream's entries the nearest 32 are nearly always among them
REPLAYED, ZIPF = 20_000, 0.7
FIRST_TOKEN_S, TOKEN_S = 0.4, 0.02  # how long the simulated model takes
INPUT_USD, OUTPUT_USD = 2.5e-6, 10e-6  # per token


class Questions(NamedTuple):
    """Without exact repeats. `intent[n]` is what question n asks for: questions of one intent have one answer."""

    marks: list[tuple[str, ...]]
    intent: Any
    nearest: Any  # per question, the others by nearness
    similarity: Any


def read(data: Path, name: str) -> tuple[list[str], list[str]]:
    texts: dict[str, str] = {}
    for part in ("train", "test"):
        path = data / "cache" / f"{name}_{part}.csv"
        if not path.is_file():
            raise Unavailable(f"there is no {path}; --data DIR is the folder with cache/{name}_train.csv in it")
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                text, label = list(row.values())[:2]
                texts.setdefault(text, label if label not in OUT_OF_SCOPE else f"{label} {len(texts)}")
    return list(texts), list(texts.values())


def prepared(data: Path, name: str) -> Path:
    """The file that `loaded` reads, made once for these very texts and this very model."""
    texts, intents = read(data, name)
    if not (FOLDER / MODEL).is_file():
        install()
    model = MiniLM()
    content = hashlib.sha256("\0".join((model.name, str(NEIGHBOURS), *texts, *intents)).encode()).hexdigest()[:24]
    path = Path(tempfile.gettempdir(), f"tidegate-bench-{content}.npz")
    if not path.exists():
        with ThreadPoolExecutor(2) as pool:
            vectors = np.stack([np.frombuffer(one, np.float32) for one in pool.map(model.embedded, texts)])
        nearest, similarity = _table(vectors)
        half_done = path.with_suffix(".tmp.npz")
        np.savez(
            half_done, nearest=nearest, similarity=similarity, intent=np.unique(intents, return_inverse=True)[1],
            texts=np.array(texts), vectors=vectors,
        )  # fmt: skip
        half_done.replace(path)
    return path


def loaded(path: Path) -> Questions:
    with np.load(path) as kept:
        found = [marks(str(text)) for text in kept["texts"]]
        return Questions(found, kept["intent"], kept["nearest"], kept["similarity"])


def _table(vectors: Any) -> tuple[Any, Any]:
    count = min(NEIGHBOURS, len(vectors) - 1)
    nearest = np.empty((len(vectors), count), np.int32)
    similarity = np.empty((len(vectors), count), np.float32)
    for begin in range(0, len(vectors), 512):
        block = vectors[begin : begin + 512] @ vectors.T
        block[np.arange(len(block)), np.arange(begin, begin + len(block))] = -2  # itself
        order = np.argsort(-block, axis=1)[:, :count]
        nearest[begin : begin + 512] = order
        similarity[begin : begin + 512] = np.take_along_axis(block, order, 1)
    return nearest, similarity


class Foretold:
    """Vectors whose nearness was computed before: a question is its number, in four bytes."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._there = np.zeros(len(questions.marks), bool)
        self._answer: dict[int, str] = {}
        self._answers: dict[str, Answer] = {}
        self._records: dict[int, list[int]] = {}

    async def nearest(self, partition: str, vector: Vector, count: int) -> Sequence[Near]:
        number = _number(vector)
        columns = np.flatnonzero(self._there[self._questions.nearest[number]])[:count]
        rows = self._questions.nearest[number, columns].tolist()
        similar = self._questions.similarity[number, columns].tolist()
        found = []
        for row, similarity in zip(rows, similar, strict=True):
            right, wrong = self._records.get(row, (0, 0))
            found.append(Near(str(row), similarity, self._answer[row], self._questions.marks[row], right, wrong))
        return found

    async def answers(self, partition: str, ids: Sequence[str]) -> Sequence[Answer]:
        return [self._answers[id] for id in ids]

    async def add(self, partition: str, entry: Entry) -> Sequence[str]:
        number = int(entry.id)
        self._there[number] = True
        self._answer[number] = entry.answer.id
        self._answers.setdefault(entry.answer.id, entry.answer)
        return ()

    async def judge(self, partition: str, entry: str, right: bool) -> None:
        self._records.setdefault(int(entry), [0, 0])[0 if right else 1] += 1

    async def forget(self, partition: str, entries: Sequence[str] | None = None) -> int:
        raise NotImplementedError("no stream forgets")

    async def aclose(self) -> None: ...


class House:
    """A semantic cache before a simulated model: its answer to a question is the question's intent.

    `noise`: the share of comparisons of two answers that come out the wrong way round.
    """

    def __init__(self, questions: Questions, policy: Policy, seed: int, noise: float) -> None:
        self._questions = questions
        self._slips = random.Random(f"slips {seed}")
        self._noise = noise
        self.cache = Semantic(Foretold(questions), policy, random.Random(seed), compare=self._same)

    def look(self, number: int) -> Look:
        return _done(self.cache.look("", number.to_bytes(4, "little"), self._questions.marks[number]))

    def learn(self, look: Look) -> None:
        number = _number(look.vector)
        answer = Answer(str(number), b"", b"")
        _done(self.cache.learn(look, str(number), answer))
        if look.ask_twice:
            self.cache.asked_twice(answer, answer)
        if fit := self.cache.refit():
            self.cache.verifier.adopt(fit)

    def wrong(self, look: Look) -> bool:
        intent = self._questions.intent
        return look.serve is not None and bool(intent[_number(look.vector)] != intent[int(look.serve.id)])

    def _same(self, one: Answer, other: Answer) -> bool:
        same = bool(self._questions.intent[int(one.id)] == self._questions.intent[int(other.id)])
        return same ^ (self._slips.random() < self._noise)


def _number(vector: Vector) -> int:
    return int.from_bytes(vector, "little")


def _done(coroutine: Any) -> Any:
    """Of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("it waited")


def order(questions: Questions, seed: int) -> list[int]:
    numbers = list(range(len(questions.marks)))
    random.Random(seed).shuffle(numbers)
    return numbers


def stream(questions: Questions, max_error: float, seed: int, noise: float) -> dict[str, Any]:
    """Every question once, in random order, from an empty cache."""
    house = House(questions, Policy(max_error=max_error), seed, noise)
    outcomes, calls = [], 0
    for number in order(questions, seed):
        look = house.look(number)
        outcomes.append((look.serve is not None, house.wrong(look)))
        if look.ask:
            calls += 1 + look.ask_twice
            house.learn(look)
    fit = house.cache.verifier.fit
    why = fit.why if fit else "too few labels"
    return {**_shares(outcomes), "calls_saved": 1 - calls / len(outcomes), "serves_nothing_since": why}


def static(questions: Questions, threshold: float, seed: int) -> dict[str, Any]:
    """The same for a cache that serves whatever is at least so similar."""
    there = np.zeros(len(questions.marks), bool)
    outcomes = []
    for number in order(questions, seed):
        at = int(np.argmax(there[questions.nearest[number]]))
        nearest = questions.nearest[number, at]
        hit = bool(there[nearest] and questions.similarity[number, at] >= threshold)
        outcomes.append((hit, hit and bool(questions.intent[nearest] != questions.intent[number])))
        there[number] = not hit
    return {**_shares(outcomes), "calls_saved": sum(hit for hit, _ in outcomes) / len(outcomes)}


def _shares(outcomes: Sequence[tuple[bool, bool]]) -> dict[str, float]:
    found = {}
    for name, part in (("", outcomes), ("warm_", outcomes[len(outcomes) // 2 :])):
        hits = sum(hit for hit, _ in part)
        found[f"{name}hits"] = hits / len(part)
        found[f"{name}wrong"] = sum(wrong for _, wrong in part) / max(1, hits)
    return found


class Arrival(NamedTuple):
    at_s: float
    number: int
    usd: float
    takes_s: float


def arrivals(data: Path, questions: Questions, seed: int) -> list[Arrival]:
    """Times and tokens of real traffic, questions by Zipf's law."""
    rows: list[tuple[float, int, int]] = []
    for path in sorted((data / "traces").glob("azure_llm_*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                at = datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
                rows.append((at, int(row["ContextTokens"]), int(row["GeneratedTokens"])))
    if len(rows) < REPLAYED:
        raise Unavailable(f"{data}/traces has {len(rows)} calls, and the replay takes {REPLAYED}")
    rows.sort()
    numbers = order(questions, seed)
    weights = [1 / (rank + 1) ** ZIPF for rank in range(len(numbers))]
    asked = random.Random(f"asked {seed}").choices(numbers, weights, k=REPLAYED)
    return [
        Arrival(at, number, asks * INPUT_USD + tells * OUTPUT_USD, FIRST_TOKEN_S + tells * TOKEN_S)
        for (at, asks, tells), number in zip(rows, asked, strict=False)
    ]


def replay(questions: Questions, calls: Sequence[Arrival], seed: int, policy: Policy | None) -> dict[str, Any]:
    """Exact, in flight, then semantic (without a policy: not at all). Replies land when the model is done."""
    house = House(questions, policy, seed, 0.0) if policy else None
    known: set[int] = set()
    under_way: set[int] = set()
    landing: list[tuple[float, int, Look | None, int]] = []
    counts = dict.fromkeys(("exact", "in_flight", "semantic", "wrong", "misses", "checks", "twice"), 0)
    spent = 0.0
    for turn, call in enumerate(calls):
        for number, look in _landed(landing, call.at_s):
            known.add(number)
            under_way.discard(number)
            if house and look:
                house.learn(look)
        if call.number in known:
            counts["exact"] += 1
            continue
        if call.number in under_way:
            counts["in_flight"] += 1
            continue
        look = house.look(call.number) if house else None
        hit = look is not None and look.serve is not None
        counts["semantic" if hit else "misses"] += 1
        counts["wrong"] += bool(house and look and house.wrong(look))
        if look is None or look.ask:
            twice = look is not None and look.ask_twice
            counts["checks"] += hit
            counts["twice"] += twice
            spent += call.usd * (1 + twice)
            under_way.add(call.number)
            heapq.heappush(landing, (call.at_s + call.takes_s, turn, look, call.number))
    bought = counts["misses"] + counts["checks"] + counts["twice"]
    return {
        **counts,
        "calls_saved": 1 - bought / len(calls),
        "semantic_share_of_misses": counts["semantic"] / (counts["semantic"] + counts["misses"]),
        "wrong_share": counts["wrong"] / len(calls),
        "cost_saved": 1 - spent / sum(call.usd for call in calls),
        "saved_usd": sum(call.usd for call in calls) - spent,
    }


def _landed(landing: list[tuple[float, int, Look | None, int]], now_s: float) -> Iterator[tuple[int, Look | None]]:
    while landing and landing[0][0] <= now_s:
        _, _, look, number = heapq.heappop(landing)
        yield number, look
