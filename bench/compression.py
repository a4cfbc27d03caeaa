"""How many tokens can be left out of a prompt, and is what answers its question still there?

Ten paragraphs and a question: the paragraph with the answer and nine of other articles, or (hard) four of the same
article and five of others. The prompt goes through level 1 as a call's would. A question counts as kept when every
sentence of an answer that people marked is still there, to the letter. Beside it: the head of the prompt, sentences
drawn by lot, and plain BM25.

The few parameters were chosen on one half of the articles (by a hash of the title); the figures are of the other half.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

from bench import report
from bench.procs import Unavailable
from bench.report import Limit, Report
from tidegate.core.money import estimated_tokens
from tidegate.upstream.shrink.question import Said, asked
from tidegate.upstream.shrink.selection import chosen, selected
from tidegate.upstream.shrink.sentences import sentences
from tidegate.upstream.shrink.tables import compact

FILE = "compression/xquad_en.json"
PARAGRAPHS, NEAR = 10, 4  # of a prompt; of the same article, where it is hard
# What is asked for, so that as much is saved over all calls, with those that are left alone.
TARGETS = {35: 0.38, 50: 0.54, 70: 0.75}
SEEDS, QUICK_SEEDS = 3, 1
LIMITS = {
    "kept_at_35": Limit(0.998, 0.998, most=False, timed=False),
    "kept_at_50": Limit(0.995, 0.995, most=False, timed=False),
    "kept_at_70": Limit(0.99, 0.99, most=False, timed=False),
    "hard_kept_at_35": Limit(0.985, 0.998, most=False, timed=False),
    "hard_kept_at_50": Limit(0.97, 0.995, most=False, timed=False),
    "saved_at_35": Limit(0.35, 0.35, most=False, timed=False),
    "saved_at_50": Limit(0.50, 0.50, most=False, timed=False),
    "saved_at_70": Limit(0.70, 0.70, most=False, timed=False),
}


class Case(NamedTuple):
    question: str
    paragraphs: list[str]
    answers: list[list[str]]  # of each marked answer, the sentences that it stands in


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--half", choices=("held", "chosen", "both"), default="held", help="of the articles; held: not chosen on"
    )


def run(options: argparse.Namespace) -> Report:
    if options.data is None:
        raise Unavailable(f"it needs paragraphs with questions: --data DIR, the folder with {FILE} in it")
    articles = _articles(options.data)
    seeds = range(options.seeds or (QUICK_SEEDS if options.quick else SEEDS))
    found = Report("compression", bool(options.quick), report.machine(), report.versions(), {}, limits=LIMITS)
    for hard in (False, True):
        cases = [case for seed in seeds for case in _cases(articles, options.half, hard, Random(seed))]
        for percent, target in TARGETS.items():
            for method, shorten in METHODS.items():
                found.rows.append(_row(cases, hard, percent, method, shorten, target))
    _take_figures(found, articles)
    found.judge()
    return found


# --- the questions


def _articles(data: Path) -> list[dict[str, Any]]:
    try:
        articles: list[dict[str, Any]] = json.loads((data / FILE).read_text("utf-8"))["data"]
    except OSError:
        raise Unavailable(f"{data / FILE} is not there; --data DIR is the folder that has compression/") from None
    return articles


def _is_held(title: str) -> bool:
    return hashlib.sha256(title.encode()).digest()[-1] % 2 == 1


def _cases(articles: Sequence[dict[str, Any]], half: str, hard: bool, random: Random) -> Iterator[Case]:
    for article in articles:
        if half != "both" and _is_held(article["title"]) != (half == "held"):
            continue
        elsewhere = [one["context"] for other in articles if other is not article for one in other["paragraphs"]]
        for paragraph in article["paragraphs"]:
            beside = [one["context"] for one in article["paragraphs"] if one is not paragraph][:NEAR]
            for asks in paragraph["qas"]:
                near = beside if hard else []
                given = [*near, *random.sample(elsewhere, PARAGRAPHS - 1 - len(near)), paragraph["context"]]
                random.shuffle(given)
                yield Case(asks["question"].strip(), given, _gold(paragraph["context"], asks["answers"]))


def _gold(context: str, answers: Sequence[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            context[one.start : one.end].strip()
            for one in sentences(context)
            if one.start < answer["answer_start"] + len(answer["text"]) and answer["answer_start"] < one.end
        ]
        for answer in answers
    ]


# --- who shortens: the context of a prompt, a share that is to go, a question; None: left alone

Shorten = Callable[[Case, float], str]


def ours(case: Case, target: float) -> str:
    """As a call goes through it: the question is found in the prompt."""
    prompt = "\n\n".join((*case.paragraphs, f"Question: {case.question}"))
    question, spans = asked([Said(prompt)])
    whole = [prompt[span.start : span.end] for span in spans]
    short = selected(question, whole, target)
    for span, text in zip(reversed(spans), reversed(short or whole), strict=True):
        prompt = f"{prompt[: span.start]}{text}{prompt[span.end :]}"
    return prompt.removesuffix(f"\n\nQuestion: {case.question}")


def head(case: Case, target: float) -> str:
    context = "\n\n".join(case.paragraphs)
    return context[: round(len(context) * (1 - target))]


def by_lot(case: Case, target: float) -> str:
    random = Random(case.question)
    return _with_scores(case, target, lambda said: [random.random() for _ in said])


def bm25(case: Case, target: float) -> str:
    """Robertson's, of sentences alone, with the words as they are."""

    def scores(said: Sequence[str]) -> list[float]:
        texts = [Counter(one.lower().split()) for one in said]
        usual = fmean(text.total() for text in texts)
        total = [0.0] * len(said)
        for word in set(case.question.lower().rstrip("?").split()):
            having = sum(word in text for text in texts)
            rare = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
            for at, text in enumerate(texts):
                many = text[word]
                total[at] += rare * many * 2.2 / (many + 1.2 * (0.25 + 0.75 * text.total() / usual))
        return total

    return _with_scores(case, target, scores)


def _with_scores(case: Case, target: float, scores: Callable[[Sequence[str]], Sequence[float]]) -> str:
    context = "\n\n".join(case.paragraphs)
    said = [context[one.start : one.end] for one in sentences(context)]
    kept = chosen([len(one) for one in said], [False] * len(said), scores(said), target)
    return "".join(one for at, one in enumerate(said) if at in kept)


METHODS: dict[str, Shorten] = {"ours": ours, "bm25": bm25, "random": by_lot, "head": head}


def _row(
    cases: Sequence[Case], hard: bool, percent: int, method: str, shorten: Shorten, target: float
) -> dict[str, Any]:
    kept = alone = before = after = 0
    target = target if method == "ours" else percent / 100
    began = time.thread_time()
    short = [shorten(case, target) for case in cases]
    took_s = time.thread_time() - began
    for case, left in zip(cases, short, strict=True):
        context = "\n\n".join(case.paragraphs)
        before += estimated_tokens(len(context.encode()))
        after += estimated_tokens(len(left.encode()))
        kept += any(all(one in left for one in answer) for answer in case.answers)
        alone += left.strip() == context
    return {
        "prompts": "hard" if hard else "easy",
        "percent": percent,
        "method": method,
        "questions": len(cases),
        "kept": round(kept / len(cases), 5),
        "lost": len(cases) - kept,
        "saved": round(1 - after / before, 4),
        "left_alone": round(alone / len(cases), 4),
        "cpu_ms_per_1k_tokens": round(took_s * 1e6 / before, 3),
    }


# --- level 0


def payloads(random: Random) -> list[str]:
    """What tools answer with: made up, as APIs write it: a third pretty, a third with blanks, a third without."""
    made: list[Any] = []
    for _ in range(10):
        made.append([_user(at, random) for at in range(random.randint(5, 60))])
        made.append({"data": [_order(at, random) for at in range(random.randint(5, 40))], "has_more": True})
        made.append({"user": _user(1, random), "orders": [_order(at, random) for at in range(3)], "notes": None})
        made.append(
            {"hits": {"total": 93, "hits": [{"_id": str(at), "_source": _user(at, random)} for at in range(20)]}}
        )
        made.append({f"metric_{at}": random.random() for at in range(30)})
    styles: tuple[dict[str, Any], ...] = ({"indent": 2}, {}, {"separators": (",", ":")})
    return [json.dumps(one, **style) for one in made for style in styles]


def _user(at: int, random: Random) -> dict[str, Any]:
    first, last = random.choice(("Ann", "Bob", "Cleo", "Dan", "Eve")), random.choice(("Moor", "Tide", "Weir", "Quay"))
    mail = f"{first}.{last}{at}@example.org".lower()
    return {"id": at, "name": f"{first} {last}", "email": mail, "active": random.random() < 0.8, "country": "DE"}


def _order(at: int, random: Random) -> dict[str, Any]:
    items = [
        {"sku": f"T-{random.randint(100, 999)}", "count": random.randint(1, 5)} for _ in range(random.randint(1, 4))
    ]
    return {"id": f"ord_{at:06}", "total": round(random.uniform(5, 500), 2), "currency": "EUR", "items": items}


def level0(random: Random) -> dict[str, float]:
    texts = payloads(random)
    short = [compact(text) for text in texts]
    saved = [1 - len(new.encode()) / len(text.encode()) for text, new in zip(texts, short, strict=True)]
    return {
        "all": 1 - sum(len(new.encode()) for new in short) / sum(len(text.encode()) for text in texts),
        **{name: fmean(saved[at::3]) for at, name in enumerate(("pretty", "blanks", "bare"))},
    }


# --- the figures


def _take_figures(found: Report, articles: Sequence[dict[str, Any]]) -> None:
    def of(prompts: str, percent: int, method: str, field: str) -> float:
        return next(
            float(row[field])
            for row in found.rows
            if (row["prompts"], row["percent"], row["method"]) == (prompts, percent, method)
        )

    for percent in TARGETS:
        found.figures[f"kept_at_{percent}"] = of("easy", percent, "ours", "kept")
        found.figures[f"hard_kept_at_{percent}"] = of("hard", percent, "ours", "kept")
        found.figures[f"saved_at_{percent}"] = min(of(kind, percent, "ours", "saved") for kind in ("easy", "hard"))
        for method in ("random", "head", "bm25"):
            found.figures[f"{method}_kept_at_{percent}"] = of("easy", percent, method, "kept")
    found.figures["left_alone"] = of("easy", 35, "ours", "left_alone")
    found.take("cpu_ms_per_1k_tokens", [row["cpu_ms_per_1k_tokens"] for row in found.rows if row["method"] == "ours"])
    for name, saved in level0(Random(0)).items():
        found.figures["level0_saved_json" if name == "all" else f"level0_saved_json_{name}"] = round(saved, 4)
    found.figures["questions"] = float(next(row["questions"] for row in found.rows))


def said(found: Report) -> str:
    shown = ("prompts", "percent", "method", "questions", "kept", "lost", "saved", "left_alone", "cpu_ms_per_1k_tokens")
    rows = [tuple(row[field] for field in shown) for row in found.rows]
    quick = " (quick: one draw of paragraphs)" if found.quick else ""
    return "\n".join((report.table(shown, rows), "", report.figures_table(found) + quick))
