"""What would another arm or tier have said? It is asked in the background, as a call of our own, and compared.

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
from tidegate.core.experiments import Assigned, Experiment, Known, Spec, name_of
from tidegate.core.limits import Level
from tidegate.core.own import own_call, payer
from tidegate.core.ports import Closed
from tidegate.core.scores import Case, Said, Score
from tidegate.core.search import CallsAsked
from tidegate.core.shadows import Compared, Pair, compared, key_of, purse
from tidegate.core.usage import HOUR_MS, Period, UsageAsked
from tidegate.core.world import World
from tidegate.jobs.evals.online import LIVE, Bench, case_of, gates, keep, worth_of
from tidegate.jobs.evals.run import scored
from tidegate.jobs.evals.suite import Looker, Plugins, load, shared
from tidegate.stages import judging
from tidegate.stages.shadows import SHADOW, Config

MOST = 1_000  # pairs that are compared, the newest
PAGE = 200
MAX_LABELS = 100  # experiments with a series of their own
# Headers that mean something to the provider: what is asked twice is asked the same way.
MEANT = (b"anthropic-", b"openai-")

Hear = Callable[[Call], Awaitable[list[Event]]]  # the front door, seen from inside. Raises TidegateError
Told = Callable[..., object]  # a pupil's door


class Compares(NamedTuple):
    """Of a route: who says which answer is better, and what its tiers may cost that nobody sees."""

    judge: judging.Config
    tiers_usd_per_day: float


Routes = Callable[[str], Compares | None]  # by name


class OfArm(NamedTuple):
    """What an experiment in shadow mode wants to know."""

    one: Assigned
    spec: Spec | None  # None: it has ended meanwhile

    @property
    def labels(self) -> tuple[str, str]:
        return name_of(self.one.experiment), self.one.arm

    def purse(self, house: Config, route: Compares | None) -> Level | None:
        if self.spec is None:
            return None
        return purse(self.one.experiment, self.spec.max_usd, house.max_usd_per_day)

    def made(self, call: Call, whose: Principal, world: World) -> Call:
        return shadow_of(call, self.one, whose, world)


class OfTier(NamedTuple):
    """What a route that learns wants to know: whether another tier's answer would have been better."""

    route: str
    tier: str
    share: float  # how likely it was that it is asked

    @property
    def labels(self) -> tuple[str, str]:
        return f"tiers of {self.route}", self.tier

    def purse(self, house: Config, route: Compares | None) -> Level | None:
        return purse(self.labels[0], None, route.tiers_usd_per_day) if route is not None else None

    def made(self, call: Call, whose: Principal, world: World) -> Call:
        own = shadow_of(call, None, whose, world)
        assert own.own is not None
        own.own = replace(own.own, tier=self.tier)
        return own


class Shadowing(Collector):
    """One for a process; what it knows outlasts a reload."""

    def __init__(
        self,
        world: World,
        hear: Hear,
        known: Callable[[], Sequence[Known]],
        plugins: Plugins,
        told: Told | None = None,
    ) -> None:
        """`told`: who learns which tier's answer was better."""
        self._told = told
        self._world = world
        self._hear = hear
        self._known = known
        self._plugins = plugins
        self._panels: dict[judging.Config, Panel] = {}
        self._awaited: dict[str, str] = {}  # by the id of a shadow: what it has said
        self._counts: Counter[tuple[str, str]] = Counter()
        self._waiting = self._busy = 0
        self._free = asyncio.Event()

    def hand(self, routes: Routes) -> Callable[[Call, str, Config], None]:
        self._panels.clear()  # the configuration was read again, and so are suites and cards

        def hand(call: Call, said: str, config: Config) -> None:
            for one in call.shadows:
                if one.counted:
                    self._take(call, said, OfArm(one, self._spec(one)), config, routes)
            chosen = call.chosen
            if chosen is not None and chosen.beside and call.route is not None:
                self._take(call, said, OfTier(call.route.name, chosen.beside, chosen.share), config, routes)

        return hand

    def hear(self, call: Call, said: str) -> None:
        """What a shadow says."""
        if call.id in self._awaited:
            self._awaited[call.id] = said

    def _spec(self, one: Assigned) -> Spec | None:
        return next((known.spec for known in self._known() if known.experiment.id == one.experiment), None)

    def _take(self, call: Call, said: str, of: OfArm | OfTier, config: Config, routes: Routes) -> None:
        full = self._busy >= config.at_once and self._waiting >= config.waiting
        if full or self._world.closing.is_set() or len(call.came) > config.max_bytes:
            self._tell(of, "dropped")
            return
        self._waiting += 1
        self._world.nursery.spawn(self._answer(call, said, of, config, routes), f"shadow of {call.id}")

    async def _answer(self, call: Call, said: str, of: OfArm | OfTier, config: Config, routes: Routes) -> None:
        assert call.route is not None
        try:
            while self._busy >= config.at_once:
                self._free.clear()
                await self._free.wait()
        finally:
            self._waiting -= 1
        self._busy += 1
        try:
            route = routes(call.route.name)
            own = await self._asked(call, of, of.purse(config, route))
            heard = self._awaited.pop(own.id, "") if own is not None else ""
            if own is not None and said and heard and route is not None and route.judge.suite is not None:
                await self._judge(call, said, own, heard, of, route.judge)
        except StoreDown as down:
            self._tell(of, "failed", error=down.message)
        finally:
            self._busy -= 1
            self._free.set()

    async def _asked(self, call: Call, of: OfArm | OfTier, level: Level | None) -> Call | None:
        """The shadow, answered; None when it was not. Raises StoreDown."""
        assert call.route is not None and call.principal is not None
        if level is None:
            return None
        whose = await payer(self._world, call.route.owner, call.principal.organisation_id)
        whose = replace(whose, key_id=level.id, name=level.name, levels=(*whose.levels, level))
        own = of.made(call, whose, self._world)
        self._awaited[own.id] = ""
        try:
            await self._hear(own)
        except BudgetSpent as spent:
            self._tell(of, "over_budget", error=spent.message)
        except TidegateError as wrong:
            self._tell(of, "failed", error=wrong.message)
        else:
            self._tell(of, "answered")
            return own
        self._awaited.pop(own.id)
        return None

    async def _judge(
        self, call: Call, said: str, own: Call, heard: str, of: OfArm | OfTier, judge: judging.Config
    ) -> None:
        """Which of the two is better; the judges are paid from the same purse."""
        assert own.principal is not None
        try:
            panel = await self._panel(judge)
            bench = Bench(self._world, self._hear, own, panel.gates, own.principal)
            scores = await self._compared(panel.comparing, case_of(call), bench, heard, own.id, said)
            await keep(self._world, own.id, scores)
            if isinstance(of, OfTier):
                if not panel.comparing:  # then each of the two is looked at by itself
                    case = case_of(call)
                    scores = await self._compared(panel.alone, case, bench, heard, own.id)
                    others = await self._compared(panel.alone, case, bench, said, call.id)
                    self._learn(call, of, worth_of(scores), worth_of(others))
                elif (better := worth_of(scores)) is not None:
                    self._learn(call, of, min(1.0, 2 * better), min(1.0, 2 * (1 - better)))
        except TidegateError as wrong:
            self._world.events.notice("shadow_not_judged", {"request_id": own.id, "error": wrong.message})

    async def _compared(
        self, lookers: Sequence[Looker], case: Case, bench: Bench, said: str, id: str, other: str | None = None
    ) -> list[Score]:
        """What they say of an answer, beside another one where they compare."""
        if not lookers:
            return []
        case = case if other is None else replace(case, reference=other)
        scores = await scored(lookers, case, Said(text=said, request_id=id), lambda name: bench)
        names = {looker.name for looker in lookers}
        for score in scores:
            if score.outcome != "scored" and score.scorer in names:  # never why: a reason may quote what was said
                fields = {"request_id": id, "scorer": score.scorer, "error": score.outcome}
                self._world.events.notice("shadow_not_judged", fields)
        return [score for score in scores if score.scorer in names]

    def _learn(self, call: Call, of: OfTier, beside: float | None, got: float | None) -> None:
        """Both answers are lessons, of the same draw."""
        if self._told is not None and beside is not None and got is not None:
            self._told(call.id, got, "shadow", share=of.share)
            self._told(call.id, beside, "shadow", tier=of.tier, share=of.share, served=False)

    async def _panel(self, judge: judging.Config) -> Panel:
        """The scorers of a suite. Raises ConfigError."""
        known = self._panels.get(judge)
        if known is None:
            known = self._panels[judge] = await asyncio.to_thread(panel, judge, self._plugins)
        return known

    def _tell(self, of: OfArm | OfTier, outcome: str, **fields: Any) -> None:
        name, arm = of.labels
        known = (name, outcome) in self._counts or len(self._counts) < MAX_LABELS
        self._counts[(name, outcome) if known else ("other", outcome)] += 1
        if outcome != "answered":
            said = {"experiment": name, "arm": arm, "outcome": outcome, **fields}
            self._world.events.notice("shadow", said)

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "tidegate_shadows", "Answers in the background, that nobody sees", labels=["experiment", "outcome"]
        )
        for key, count in self._counts.items():
            calls.add_metric(key, count)
        yield calls


class Panel(NamedTuple):
    comparing: Sequence[Looker]  # those that need another answer to look at one
    alone: Sequence[Looker]
    gates: frozenset[str]  # judges whose card was good when this was read


def panel(judge: judging.Config, plugins: Plugins) -> Panel:
    """What those that do not compare say of an answer, they say of every live call; of tiers they are asked of both."""
    with_one = replace(LIVE, reference="another answer")
    suite = load(Path(judge.suite or ""), plugins).suite
    found = shared(suite, plugins)
    alone = [one for one in found if one.scorer.lacks(LIVE) is None]
    comparing = [one for one in found if one not in alone and one.scorer.lacks(with_one) is None]
    return Panel(comparing, alone, gates(found, judge.cards, suite))


def shadow_of(call: Call, one: Assigned | None, whose: Principal, world: World) -> Call:
    """The same question by the way of another arm; with those that its call got of other experiments."""
    own = own_call(
        world, whose, purpose=SHADOW, parent=call, dialect=call.dialect, operation=call.operation, path=call.path,
        body=call.came, kind="shadow",
    )  # fmt: skip
    others = [replace(other, counted=False) for other in call.arms if one is None or other.experiment != one.experiment]
    own.arms = (*others, one) if one is not None else tuple(others)
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
