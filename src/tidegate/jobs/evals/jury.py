"""What do several judges say together? The middle of their scores, and what more than half of them hold."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.ports import Bench
from tidegate.core.scores import Score
from tidegate.jobs.evals.judge import Form, NoVerdict

Models = str | Annotated[tuple[str, ...], Meta(min_length=1, max_length=9)]


class Opinion(msgspec.Struct, frozen=True):
    """What one judge makes of an answer: by thing, "" for the whole, value and words; and whether the whole passes."""

    values: dict[str, tuple[float, str]]
    passed: bool
    scale: tuple[float, float] = (0.0, 1.0)
    orders: tuple[str, ...] = ()  # of two answers: as in Score


Judge = Callable[[str, str], Awaitable[Opinion]]  # a model, and a step of its own. Raises NoVerdict


def jurors(models: Models) -> tuple[str, ...]:
    """Raises ValueError."""
    each = (models,) if isinstance(models, str) else models
    if not all(each) or len({*each}) != len(each):
        raise ValueError("model: needs names, each once")
    return each


def named(models: Models, form: Form, config: msgspec.Struct) -> str:
    """A jury is a judge of its own, with a card of its own; and so is one that is asked with other parameters, or that
    weighs or passes otherwise. Raises ValueError."""
    said = msgspec.to_builtins((form.hash, msgspec.structs.replace(config, model=())), str_keys=True)
    hashed = hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()[:16]
    return f"{'+'.join(sorted(jurors(models)))}/{hashed}"


async def scores(asked: Models, judge: str, ask: Judge, bench: Bench) -> list[Score]:
    """One score for each thing and for the whole. Without a verdict of more than half of them there is none."""
    models, advisory = jurors(asked), not bench.may_gate(judge)
    opinions: list[Opinion] = []
    none: list[NoVerdict] = []
    for model in models:
        try:
            opinions.append(await ask(model, model))
        except NoVerdict as no:
            none.append(no)
    if len(opinions) * 2 <= len(models):
        outcome = Counter(one.outcome for one in none).most_common(1)[0][0]
        whys = "; ".join(dict.fromkeys(one.why for one in none))
        return [Score(scorer="", outcome=outcome, why=whys[:500], judge=judge, advisory=advisory)]
    passed = sum(one.passed for one in opinions) * 2 > len(models)
    orders = tuple(_most(said) for said in zip(*(one.orders for one in opinions), strict=True))
    found = []
    for thing in opinions[0].values:
        value = float(median(one.values[thing][0] for one in opinions))
        why = " | ".join(one.values[thing][1] for one in opinions)[:1000]
        scale = opinions[0].scale
        score = Score(scorer=thing, value=value, why=why, judge=judge, advisory=advisory, scale=scale, orders=orders)
        found.append(score if thing else msgspec.structs.replace(score, passed=passed))
    return found


def _most(said: Sequence[str]) -> str:
    """What more of them say than anything else; else a tie."""
    first, *others = Counter(said).most_common(2)
    return "tie" if others and others[0][1] == first[1] else first[0]
