"""What would each lever have saved on calls that were made? Bounds, and what nobody can know.

Of texts a ledger has nothing, so most of it lies between nothing and an upper bound; a log with the messages says more.
Nothing here is a promise: what questions mean, and how hard they are, shows only when the lever is tried.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

import msgspec

from tidegate.core.money import NUSD_PER_USD, Price, Usage
from tidegate.core.ports.books import Closed

PLAIN_TOKENS = 300  # of a prompt that nobody shortens: what is shorter is left alone
DAY_MS = 86_400_000
LOOP, LOOP_MS = 8, 300_000  # so many calls of a session that only grow, so close together, look like a loop
CUT = (429, 500, 502, 503, 504, 529)  # what another try, or another provider, may have answered
ANSWERED = ("hit", "shared")  # by the cache: nothing was bought


class Seen(msgspec.Struct, frozen=True):
    """A call that was made, as far as it is known. `same`: equal for calls that ask the very same; None: not known."""

    at_ms: int
    key: str = ""
    session: str = ""
    model: str = ""  # provider/model that answered, or the name that was asked for
    route: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int | None = None
    input_nusd: int = 0  # the part of it for input
    duration_ms: float = 0.0
    status: int = 200
    stream: bool = False
    batch: bool = False
    cached: bool = False
    saved_nusd: int = 0
    same: str | None = None


class Asked(msgspec.Struct, frozen=True):
    """What is supposed.

    cheap: the price of a smaller model. ttl: how long an answer is kept. shrink: the share of long input that goes.
    discount: of providers' own batches. budget_usd: of each key and day.
    """

    cheap: Price | None = None
    ttl: timedelta = timedelta(hours=24)
    shrink: float = 0.35
    discount: float = 0.5
    budget_usd: float = 5.0


class Lever(msgspec.Struct, frozen=True):
    """At least and at most so much less would have been paid, taken alone; None: nobody can say from this log."""

    name: str
    saved_least_usd: float | None
    saved_most_usd: float | None
    calls: int  # that it is about
    why: str


class Step(msgspec.Struct, frozen=True):
    """What would still have been paid with this lever and those before it: at best, and at worst."""

    name: str
    least_usd: float
    most_usd: float


class WhatIf(msgspec.Struct, frozen=True):
    calls: int
    cost_usd: float
    saved_already_usd: float  # by the cache, as it is
    unpriced: int  # calls whose cost is not known, and that count as nothing
    failed: int
    success: float | None
    success_most: float | None  # had somebody else answered what providers failed
    p99_s: float | None
    p99_hedged_s: float | None  # had a second one been asked after the time that 95 of 100 take
    levers: tuple[Lever, ...]
    waterfall: tuple[Step, ...]
    over_budget: dict[str, float]  # by key: dollars beyond `budget_usd` a day
    complete: bool = True  # all calls that were asked for have been looked at


def supposed(seen: Iterable[Seen], asked: Asked, *, complete: bool = True) -> WhatIf:
    """All of it, for calls in any order."""
    calls = sorted(seen, key=lambda one: one.at_ms)
    bought = [one for one in calls if not one.cached and one.cost_nusd]
    levers = (
        _exact(bought, asked),
        _semantic(bought),
        _routing(bought, asked),
        _compression(bought, asked),
        _loops(bought),
        _batches(bought, asked),
    )
    cost = sum(one.cost_nusd or 0 for one in calls)
    failed = [one for one in calls if one.status >= 400]
    mended = sum(one.status in CUT for one in failed)
    times = sorted(one.duration_ms / 1000 for one in calls if one.status < 400)
    return WhatIf(
        calls=len(calls),
        cost_usd=cost / NUSD_PER_USD,
        saved_already_usd=sum(one.saved_nusd for one in calls) / NUSD_PER_USD,
        unpriced=sum(one.cost_nusd is None for one in calls),
        failed=len(failed),
        success=1 - len(failed) / len(calls) if calls else None,
        success_most=1 - (len(failed) - mended) / len(calls) if calls else None,
        p99_s=_at(times, 0.99),
        p99_hedged_s=_hedged(times),
        levers=levers,
        waterfall=_waterfall(cost / NUSD_PER_USD, levers),
        over_budget=_over_budget(calls, asked.budget_usd),
        complete=complete,
    )


# --- levers


def _lever(name: str, least: float | None, most: float | None, calls: int, why: str) -> Lever:
    return Lever(
        name, None if least is None else least / NUSD_PER_USD, None if most is None else most / NUSD_PER_USD, calls, why
    )


def _exact(bought: Sequence[Seen], asked: Asked) -> Lever:
    """Where texts are known, exactly; else the same route, model and number of tokens is what repeats at most."""
    with_texts = bool(bought) and all(one.same is not None for one in bought)
    again = _again(bought, asked, lambda one: one.same if with_texts else (one.route, one.model, one.input_tokens))
    saved = sum(one.cost_nusd or 0 for one in again)
    if with_texts:
        return _lever("exact cache", saved, saved, len(again), "the very same was asked before")
    why = "as many tokens were asked of the same route before; whether it was the same, this log does not say"
    return _lever("exact cache", 0, saved, len(again), why)


def _again(bought: Sequence[Seen], asked: Asked, key: Callable[[Seen], object]) -> list[Seen]:
    """Those that had been bought less than `ttl` before, by the same key."""
    last: dict[object, int] = {}
    found = []
    for one in bought:
        what = (one.key, key(one))
        if one.at_ms - last.get(what, -(10**15)) <= asked.ttl.total_seconds() * 1000:
            found.append(one)
        else:
            last[what] = one.at_ms
    return found


def _semantic(bought: Sequence[Seen]) -> Lever:
    why = "what questions mean is in no log; a route with cache.semantic keeps its promise while it learns"
    return Lever("semantic cache", None, None, len(bought), why)


def _routing(bought: Sequence[Seen], asked: Asked) -> Lever:
    if asked.cheap is None:
        return Lever("a smaller model", None, None, 0, "name one: cheap=openai/gpt-4o-mini")
    less = []
    for one in bought:
        cheap = asked.cheap.cost_nusd(Usage(input=one.input_tokens, output=one.output_tokens))
        if cheap is not None and cheap < (one.cost_nusd or 0):
            less.append((one.cost_nusd or 0) - cheap)
    why = f"if all of them are easy; each tenth that is saves ${sum(less) / 10 / NUSD_PER_USD:.4f} on average"
    return _lever("a smaller model", 0, sum(less), len(less), why)


def _compression(bought: Sequence[Seen], asked: Asked) -> Lever:
    long = [one for one in bought if one.input_tokens > PLAIN_TOKENS]
    saved = sum(
        one.input_nusd * asked.shrink * (one.input_tokens - PLAIN_TOKENS) / one.input_tokens for one in long
    )  # fmt: skip
    why = f"if all input beyond {PLAIN_TOKENS} tokens is retrieved context; system prompts never are"
    return _lever("compression", 0, saved, len(long), why)


def _batches(bought: Sequence[Seen], asked: Asked) -> Lever:
    nobody = [one for one in bought if not one.stream and not one.session and not one.batch]
    saved = sum((one.cost_nusd or 0) * asked.discount for one in nobody)
    why = "not streamed and of no session; whether somebody waits for them, you know"
    return _lever("providers' batches", 0, saved, len(nobody), why)


def _loops(bought: Sequence[Seen]) -> Lever:
    """Sessions whose calls only grow, one close after the other: all after the eighth."""
    sessions: defaultdict[tuple[str, str], list[Seen]] = defaultdict(list)
    for one in bought:
        if one.session:
            sessions[one.key, one.session].append(one)
    stopped = [one for each in sessions.values() for one in _beyond(each)]
    why = f"calls of a session after {LOOP} that only grew within five minutes; long chats look like that, too"
    return _lever("stopped loops", 0, sum(one.cost_nusd or 0 for one in stopped), len(stopped), why)


def _beyond(session: Sequence[Seen]) -> list[Seen]:
    run: list[Seen] = []
    found = []
    for one in session:
        if run and one.input_tokens < run[-1].input_tokens:
            run = []
        run = [*[before for before in run if one.at_ms - before.at_ms <= LOOP_MS], one]
        if len(run) > LOOP:
            found.append(one)
    return found


# --- together


def _waterfall(cost_usd: float, levers: Sequence[Lever]) -> tuple[Step, ...]:
    """Each takes its share of what those before it have left: shares of unlike calls, so no more than a guess."""
    least = most = cost_usd
    steps = [Step("as it was", least, most)]
    for lever in levers:
        if lever.saved_most_usd is None or lever.saved_least_usd is None or not cost_usd:
            continue
        least *= 1 - lever.saved_most_usd / cost_usd
        most *= 1 - lever.saved_least_usd / cost_usd
        steps.append(Step(lever.name, max(least, 0.0), max(most, 0.0)))
    return tuple(steps)


def _over_budget(calls: Iterable[Seen], budget_usd: float) -> dict[str, float]:
    days: defaultdict[tuple[str, int], int] = defaultdict(int)
    for one in calls:
        days[one.key, one.at_ms // DAY_MS] += one.cost_nusd or 0
    over: defaultdict[str, float] = defaultdict(float)
    for (key, _), nusd in days.items():
        if nusd > budget_usd * NUSD_PER_USD:
            over[key] += nusd / NUSD_PER_USD - budget_usd
    return dict(over)


def _at(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None


def _hedged(ordered: Sequence[float]) -> float | None:
    """The slowest twentieth, asked a second time when it became slow, of somebody who takes as long as half of all."""
    late, usual = _at(ordered, 0.95), _at(ordered, 0.5)
    if late is None or usual is None:
        return None
    return _at(sorted(min(one, late + usual) for one in ordered), 0.99)


# --- from the ledger


def of_row(row: Closed) -> Seen:
    usage = msgspec.convert(row.usage, Usage)
    input_nusd = sum(_for_input(attempt.usage, attempt.price) for attempt in row.attempts)
    return Seen(
        at_ms=row.at_ms,
        key=row.key_id,
        session=row.session or "",
        model=row.target or row.model or "",
        route=row.route or "",
        input_tokens=usage.input_total,
        output_tokens=usage.output_total,
        cost_nusd=row.cost_nusd,
        input_nusd=input_nusd,
        duration_ms=row.duration_us / 1000,
        status=row.status,
        stream=row.stream,
        batch=row.kind == "batch",
        cached=row.cache in ANSWERED,
        saved_nusd=row.saved_nusd,
    )


def _for_input(usage: dict[str, int], price: dict[str, object] | None) -> int:
    rates = (price or {}).get("rates")
    rate = rates.get("input", 0) if isinstance(rates, dict) else 0
    return int(usage.get("input", 0) * rate // 1_000_000)
