"""What would the other arm have said? It is asked in the background, as calls of our own, and compared.

Each has a row of its own, charged to the route's owner under a key of the experiment, so that the ledger knows what its
shadows have cost, and budgets stop them before it is too much. What does not fit in is left out and counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.core.call import Call, Event, Principal, Wishes
from tidegate.core.errors import BudgetSpent, StoreDown, TidegateError
from tidegate.core.experiments import Assigned, Experiment, Known, name_of
from tidegate.core.own import own_call, payer
from tidegate.core.ports import Closed
from tidegate.core.scores import Said
from tidegate.core.search import CallsAsked
from tidegate.core.shadows import Compared, Pair, compared, key_of, purse
from tidegate.core.usage import HOUR_MS, Period, UsageAsked
from tidegate.core.world import World
from tidegate.jobs.evals.online import LIVE, Bench, case_of, keep
from tidegate.jobs.evals.run import scored
from tidegate.jobs.evals.suite import Looker, Plugins, load, shared
from tidegate.stages.shadows import SHADOW, Config

MOST = 1_000  # pairs that are compared, the newest
PAGE = 200
MAX_LABELS = 100  # experiments with a series of their own
# Headers that mean something to the provider: what is asked twice is asked the same way.
MEANT = (b"anthropic-", b"openai-")

Hear = Callable[[Call], Awaitable[list[Event]]]  # the front door, seen from inside. Raises TidegateError
Suites = Callable[[str], str | None]  # by a route's name: the file whose scorers compare


class Shadowing(Collector):
    """One for a process; what it knows outlasts a reload."""

    def __init__(self, world: World, hear: Hear, known: Callable[[], Sequence[Known]], plugins: Plugins) -> None:
        self._world = world
        self._hear = hear
        self._known = known
        self._plugins = plugins
        self._lookers: dict[str, Sequence[Looker]] = {}
        self._awaited: dict[str, str] = {}  # by the id of a shadow: what it has said
        self._counts: Counter[tuple[str, str]] = Counter()
        self._waiting = self._busy = 0
        self._free = asyncio.Event()

    def hand(self, suites: Suites) -> Callable[[Call, str, Config], None]:
        def hand(call: Call, said: str, config: Config) -> None:
            for one in call.shadows:
                if one.counted:
                    self._take(call, said, one, config, suites)

        return hand

    def hear(self, call: Call, said: str) -> None:
        """What a shadow says."""
        if call.id in self._awaited:
            self._awaited[call.id] = said

    def _take(self, call: Call, said: str, one: Assigned, config: Config, suites: Suites) -> None:
        full = self._busy >= config.at_once and self._waiting >= config.waiting
        if full or self._world.closing.is_set() or len(call.came) > config.max_bytes:
            self._tell(one, "dropped")
            return
        self._waiting += 1
        self._world.nursery.spawn(self._answer(call, said, one, config, suites), f"shadow of {call.id}")

    async def _answer(self, call: Call, said: str, one: Assigned, config: Config, suites: Suites) -> None:
        try:
            while self._busy >= config.at_once:
                self._free.clear()
                await self._free.wait()
        finally:
            self._waiting -= 1
        self._busy += 1
        try:
            own = await self._asked(call, one, config)
            heard = self._awaited.pop(own.id, "") if own is not None else ""
            if own is not None and said and heard:
                await self._judge(call, said, own, heard, suites)
        except StoreDown as down:
            self._tell(one, "failed", error=down.message)
        finally:
            self._busy -= 1
            self._free.set()

    async def _asked(self, call: Call, one: Assigned, config: Config) -> Call | None:
        """The shadow, answered; None when it was not. Raises StoreDown."""
        spec = next((known.spec for known in self._known() if known.experiment.id == one.experiment), None)
        assert call.route is not None and call.principal is not None
        if spec is None:
            return None  # it has ended meanwhile
        whose = await payer(self._world, call.route.owner, call.principal.organisation_id)
        level = purse(one.experiment, spec.max_usd, config.max_usd_per_day)
        whose = replace(whose, key_id=level.id, name=level.name, levels=(*whose.levels, level))
        own = shadow_of(call, one, whose, self._world)
        self._awaited[own.id] = ""
        try:
            await self._hear(own)
        except BudgetSpent as spent:
            self._tell(one, "over_budget", error=spent.message)
        except TidegateError as wrong:
            self._tell(one, "failed", error=wrong.message)
        else:
            self._tell(one, "answered")
            return own
        self._awaited.pop(own.id)
        return None

    async def _judge(self, call: Call, said: str, own: Call, heard: str, suites: Suites) -> None:
        """Which of the two is better; the judges are paid from the same purse."""
        assert call.route is not None and own.principal is not None
        file = suites(call.route.name)
        if file is None:
            return
        try:
            lookers = await self._comparing(file)
            if lookers:
                case = replace(case_of(call), reference=said)
                bench = Bench(self._world, self._hear, own, frozenset(), own.principal)
                scores = await scored(lookers, case, Said(text=heard, request_id=own.id), lambda name: bench)
                names = {looker.name for looker in lookers}
                await keep(self._world, own.id, [score for score in scores if score.scorer in names])
                for score in scores:
                    if score.outcome != "scored":  # never why: a reason may quote what was said
                        fields = {"request_id": own.id, "scorer": score.scorer, "error": score.outcome}
                        self._world.events.notice("shadow_not_judged", fields)
        except TidegateError as wrong:
            self._world.events.notice("shadow_not_judged", {"request_id": own.id, "error": wrong.message})

    async def _comparing(self, file: str) -> Sequence[Looker]:
        """The scorers of a suite that compare an answer with another one. Raises ConfigError."""
        known = self._lookers.get(file)
        if known is None:
            known = self._lookers[file] = await asyncio.to_thread(comparing, file, self._plugins)
        return known

    def _tell(self, one: Assigned, outcome: str, **fields: Any) -> None:
        name = name_of(one.experiment)
        known = (name, outcome) in self._counts or len(self._counts) < MAX_LABELS
        self._counts[(name, outcome) if known else ("other", outcome)] += 1
        if outcome != "answered":
            said = {"experiment": name, "arm": one.arm, "outcome": outcome, **fields}
            self._world.events.notice("shadow", said)

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "tidegate_shadows", "Answers in the background, that nobody sees", labels=["experiment", "outcome"]
        )
        for key, count in self._counts.items():
            calls.add_metric(key, count)
        yield calls


def comparing(file: str, plugins: Plugins) -> Sequence[Looker]:
    """Those that need another answer to look at this one: what the rest says of it, it says of every live call."""
    with_one = replace(LIVE, reference="another answer")
    found = shared(load(Path(file), plugins).suite, plugins)
    return [one for one in found if one.scorer.lacks(LIVE) is not None and one.scorer.lacks(with_one) is None]


def shadow_of(call: Call, one: Assigned, whose: Principal, world: World) -> Call:
    """The same question by the way of another arm; with those that its call got of other experiments."""
    own = own_call(
        world, whose, purpose=SHADOW, parent=call, dialect=call.dialect, operation=call.operation, path=call.path,
        body=call.came, kind="shadow",
    )  # fmt: skip
    others = [replace(other, counted=False) for other in call.arms if other.experiment != one.experiment]
    own.arms = (*others, one)
    own.wishes = Wishes(cache_control="no-store")
    own.user = call.user  # so that what is kept of it goes when theirs does
    own.query = call.query
    own.headers = [header for header in call.headers if header[0].startswith(MEANT)]
    own.named = dict(own.headers)
    return own


# --- what came of it -------------------------------------------------------------------------------------------------


class Report(NamedTuple):
    """Of one experiment."""

    arms: Sequence[Compared]
    pairs: int  # the newest
    spent_nusd: int  # on all, and on their judges


async def report(world: World, experiment: Experiment) -> Report:
    """Raises StoreDown."""
    now_ms = world.clock.wall_ns() // 1_000_000
    pairs: list[Pair] = []
    asked = CallsAsked(
        experiment.created_ms, now_ms + 1, only={"key": key_of(experiment.id), "kind": "shadow"}, most=PAGE
    )
    while len(pairs) < MOST:
        found = await world.ledger.calls(asked)
        for row in found.rows:
            pair = await _pair(world, experiment, row)
            if pair is not None:
                pairs.append(pair)
        if found.reached is None:
            break
        asked = replace(asked, after=found.reached)
    return Report(compared(pairs), len(pairs), await _spent(world, experiment, now_ms))


async def _pair(world: World, experiment: Experiment, row: Closed) -> Pair | None:
    one = next((one for one in row.arms if one.experiment == experiment.id), None)
    control = await world.ledger.find(row.parent) if row.parent else None
    if one is None or control is None or row.outcome not in ("ok", "failed", "cut_off"):
        return None
    scores = [said.score for said in await world.ledger.opinions(row.id) if said.source == "judge"]
    known = [score for score in scores if score is not None]
    return Pair(
        one,
        row.outcome != "ok",
        row.duration_us,
        control.duration_us,
        row.cost_nusd,
        control.cost_nusd,
        sum(known) / len(known) if known else None,
    )


async def _spent(world: World, experiment: Experiment, now_ms: int) -> int:
    hours = Period(experiment.created_ms // HOUR_MS * HOUR_MS, (now_ms // HOUR_MS + 1) * HOUR_MS)
    lines = await world.ledger.usage(UsageAsked((hours,), only={"key": key_of(experiment.id)}))
    return sum(line.sums["cost_nusd"] for line in lines)
