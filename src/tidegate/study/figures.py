"""What does it come to? Costs, times and answers of one arm, beside those of nobody's gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import mean, median
from typing import Any

import msgspec

from tidegate.core.money import NUSD_PER_USD
from tidegate.providers.prices import PriceList
from tidegate.providers.scripted.script import Asked
from tidegate.study.books import Compared, compared
from tidegate.study.replay import Heard, Outcome, question, rates
from tidegate.study.texts import CANARY
from tidegate.study.vendors import DISCOUNT, MAIN, SMALL, SPARE, STRONG, Books, Vendor, usage
from tidegate.study.workload import KEPT, Law, Workload

DAYS = 30
AGENT = "agent-7"
PAIRS = (  # dear and cheap, in place of those of the case study
    ("openai", "gpt-4o", "gpt-4o-mini"), ("openai", "gpt-4.1", "gpt-4.1-mini"), ("openai", "gpt-5", "gpt-5-mini"),
    ("anthropic", "claude-sonnet-4-5", "claude-haiku-4-5"), ("openai", "gpt-4o", "gpt-4o"),
)  # fmt: skip


class Figures(msgspec.Struct, frozen=True):
    """Of one arm and seed. Seconds are those of the case study; the agent that ran away is told apart."""

    arm: str
    seed: int
    calls: int
    bought: int  # attempts that were paid for
    cost_nusd: int
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    first_s: float
    success: float
    wrong: float  # of what was answered
    leaks: int
    attacks_through: int
    runaway_nusd: int
    unavailable: dict[str, int]  # calls without an answer, by why
    layers: dict[str, int]  # calls that a cache has answered
    books: Compared | None
    took_s: float  # of ours
    others: float | None = None  # the share of the cores that other programs used
    semantic: str = ""  # why the semantic cache serves nothing; "" while it does, or is off

    @property
    def calls_saved(self) -> float:
        return 1 - self.bought / self.calls

    def month_usd(self, law: Law, days: int = DAYS) -> float:
        return self.cost_nusd / self.calls * law.users * law.a_day * days / NUSD_PER_USD


def figures(outcome: Outcome, work: Workload, seed: int) -> Figures:
    heard = [one for one in outcome.heard if one.ask.kind != "attack"]
    waited = [one for one in heard if one.ask.kind in KEPT]
    times = sorted(one.lasted_s for one in waited)
    answered = [one for one in heard if one.whole]
    cost, bought, runaway = _spent(outcome)
    return Figures(
        arm=outcome.arm.name,
        seed=seed,
        calls=len(outcome.heard),
        bought=bought,
        cost_nusd=cost,
        mean_s=mean(times),
        p50_s=median(times),
        p95_s=quantile(times, 0.95),
        p99_s=quantile(times, 0.99),
        first_s=mean(one.first_s for one in waited),
        success=len(answered) / len(heard),
        wrong=sum(one.ask.mark not in one.text for one in answered) / len(answered),
        leaks=_leaks(outcome, work),
        attacks_through=sum(CANARY in one.text for one in outcome.heard),
        runaway_nusd=runaway,
        unavailable=dict(Counter(_why(one) for one in heard if not one.whole)),
        layers=dict(Counter(row.cache_layer or "" for row in _of_now(outcome) if row.cache in ("hit", "shared"))),
        books=compared(outcome) if outcome.rows else None,
        took_s=outcome.lasted_s,
        others=outcome.others,
        semantic="; ".join(one["why"] for one in outcome.told.get("cache", {}).get("semantic", ()) if one["why"]),
    )


def quantile(ordered: Sequence[float], at: float) -> float:
    return ordered[min(int(len(ordered) * at), len(ordered) - 1)]


def _of_now(outcome: Outcome) -> list[Any]:
    """Rows of the stretch that is looked at."""
    return [row for row in outcome.rows if row.at_ms >= outcome.began_ms]


def _spent(outcome: Outcome) -> tuple[int, int, int]:
    """Nano-dollars, attempts that were paid for, and nano-dollars of the agent; from the ledger where there is one."""
    if outcome.arm.levers is None:
        lines = [line for vendor in outcome.vendors for line in vendor.books.lines]
        agent = sum(nusd for _, user, _, _, nusd in lines if user == AGENT)
        return sum(line[4] for line in lines) - agent, sum(line[1] != AGENT for line in lines), agent
    rows = _of_now(outcome)
    agent = sum(row.cost_nusd or 0 for row in rows if row.key_id == outcome.agent_key)
    mine = [row for row in rows if row.key_id != outcome.agent_key]
    return sum(row.cost_nusd or 0 for row in mine), sum(_paid(row) for row in mine), agent


def _paid(row: Any) -> int:
    return sum(bool(attempt.cost_nusd) for attempt in row.attempts)


def _leaks(outcome: Outcome, work: Workload) -> int:
    """Planted values that a provider has seen, or somebody who had not said them; and what the system prompt hides."""
    found = len(set().union(*(vendor.heard for vendor in outcome.vendors)))
    planted = work.planted
    for one in outcome.heard:
        words = {word.strip(".,;") for word in one.text.split()}
        found += len(words & planted - set(one.ask.planted)) + (CANARY in one.text)
    return found


def _why(one: Heard) -> str:
    """In a few words: what a client is told, or that nobody answered."""
    if one.status == 0:
        return f"no answer: {one.where}"
    try:
        error = msgspec.json.decode(one.text.encode())["error"]
        code = error.get("code") or error.get("type")
    except (msgspec.DecodeError, KeyError, TypeError):
        code = "cut off"
    return f"{one.status} {code}"


# --- what it rests on


def naive_nusd(work: Workload, seed: int) -> int:
    """What all of it would cost at the strong model, each call answered once: by arithmetic alone."""
    vendor = Vendor(MAIN, rates(PriceList.load(None)), work, 1.0, str(seed), lambda: 0.0)
    books = Books(vendor.books.rates)
    for ask in work.asks:
        asked = msgspec.convert(question(ask, MAIN[STRONG].name), type=Asked)
        used = usage(asked, vendor.says_to(asked))
        books.charge(asked.model, ask.user, used["prompt_tokens"], used["completion_tokens"])
    return books.nusd()


def at_other_prices(outcome: Outcome, naive: Outcome) -> dict[str, float]:
    """The same tokens at the prices of other models: our cost as a share of the naive one."""
    prices, found = PriceList.load(None), {}
    small = {models[SMALL].name for models in (MAIN, SPARE)}
    for vendor, dear, cheap in PAIRS:
        both = [prices.price(vendor, name) for name in (dear, cheap)]
        rate = [(one.rates["input"], one.rates["output"]) for one in both if one is not None]
        ours = 0.0
        for row in _of_now(outcome):
            for attempt in row.attempts if row.key_id != outcome.agent_key else ():
                into, out = rate[attempt.model in small]
                off = float(DISCOUNT) if "batch" in str((attempt.price or {}).get("source", "")) else 1.0
                used = attempt.usage
                ours += (used.get("input", 0) * into + used.get("output", 0) * out) * off
        theirs = sum(
            into * rate[0][0] + out * rate[0][1]
            for one in naive.vendors for _, user, into, out, _ in one.books.lines if user != AGENT
        )  # fmt: skip
        found[f"{dear} and {cheap}" if dear != cheap else f"{dear} alone"] = ours / theirs
    return found
