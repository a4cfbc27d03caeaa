"""How good are the answers that people get? A share of them is judged afterwards, by the scorers of a suite.

Each question to a judge is a call of our own, with a row of its own, on the account of the route's owner. What a judge
says is an opinion of the call, a metric and an event; nothing is done about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tidegate.core.call import Call, Event, Principal, Wishes
from tidegate.core.chat import Conversation, Message, Text
from tidegate.core.errors import ConfigError, StoreDown, TidegateError
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.opinions import Opinion
from tidegate.core.own import own_call, payer
from tidegate.core.ports import Vector
from tidegate.core.scores import Case, Said, Score, Turn
from tidegate.core.stats.drift import Falling
from tidegate.core.trace import PARENT, received, trace_of
from tidegate.core.world import World
from tidegate.jobs.evals import deck
from tidegate.jobs.evals.run import scored
from tidegate.jobs.evals.suite import Looker, Plugins, Suite, load, shared
from tidegate.stages.judging import Config, Ear, Heard

AT_ONCE = 2  # answers of this process that are judged at the same time
WAITING = 100  # answers that wait for that; more are not judged
DAY_MS = 86_400_000
LIVE = Case(id="live", input="what a user says")

Hear = Callable[[Call], Awaitable[list[Event]]]  # the front door, seen from inside. Raises TidegateError


class Panel(NamedTuple):
    """Who looks at the answers of a route."""

    config: Config
    lookers: Sequence[Looker]
    gates: frozenset[str]  # judges whose card was good when this was read


def panel(route: str, config: Config, plugins: Plugins) -> Panel:
    """Raises ConfigError. Scorers that need more of a case than a live call has are left out."""
    suite = load(Path(config.suite or ""), plugins).suite
    lookers = [one for one in shared(suite, plugins) if one.scorer.lacks(LIVE) is None]
    if not lookers:
        raise ConfigError(
            f"routes.{route}.judge.suite: {config.suite} has no scorer that can look at a live call: "
            "none that does without a reference, a context or expected elements"
        )
    return Panel(config, lookers, gates(lookers, config.cards, suite))


def gates(lookers: Sequence[Looker], cards: str, suite: Suite) -> frozenset[str]:
    """Judges whose card is good."""
    may = deck.may_gate(Path(cards), suite.gate)
    judges = {str(getattr(one.scorer, "judge", "")) for one in lookers} - {""}
    return frozenset(judge for judge in judges if may(judge))


class Spent:
    """By a route, on one day (UTC)."""

    def __init__(self) -> None:
        self.day = -1
        self.nusd = 0
        self.dearest_nusd = 0
        self.unpriced = False

    def room(self, most_usd: float, at_ms: int) -> bool:
        """Whether one more fits, were it as dear as the dearest so far."""
        if at_ms // DAY_MS != self.day:
            self.day, self.nusd, self.unpriced = at_ms // DAY_MS, 0, False
        return not self.unpriced and self.nusd + self.dearest_nusd <= most_usd * NUSD_PER_USD

    def add(self, nusd: int | None) -> None:
        """What has cost nobody knows what cannot be held to a limit: it was the last of its day."""
        self.unpriced = self.unpriced or nusd is None
        self.nusd += nusd or 0
        self.dearest_nusd = max(self.dearest_nusd, nusd or 0)


class Online:
    """One for a process; what it knows outlasts a reload."""

    def __init__(self, world: World, hear: Hear, plugins: Plugins, taught: Callable[..., object] | None = None) -> None:
        """`taught`: who learns what answers of routes with tiers were worth."""
        self._taught = taught
        self._world = world
        self._hear = hear
        self._plugins = plugins
        self._spent: dict[str, Spent] = {}
        self._falling: dict[tuple[str, str], Falling] = {}
        self._waiting = 0
        self._room = asyncio.Semaphore(AT_ONCE)

    def ears(self, routes: Mapping[str, Config], hear: Hear | None = None) -> dict[str, Ear]:
        """Of the routes that name a suite; `hear`: by another door than everybody's. Raises ConfigError."""
        found = {}
        for name, config in routes.items():
            if config.suite is not None and config.share > 0:
                found[name] = Ear(config, self._hand(panel(name, config, self._plugins), hear or self._hear))
        return found

    def _hand(self, panel: Panel, hear: Hear) -> Callable[[Heard], None]:
        def hand(heard: Heard) -> None:
            assert heard.call.route is not None
            route = heard.call.route.name
            spent = self._spent.setdefault(route, Spent())
            if self._waiting >= WAITING or self._world.closing.is_set():
                self._tell(heard.call, route, "", "dropped")
            elif not spent.room(panel.config.max_usd_per_day, self._world.clock.wall_ns() // 1_000_000):
                self._tell(heard.call, route, "", "over_budget")
            else:
                self._waiting += 1
                self._world.nursery.spawn(self._judge(heard, route, panel, spent, hear), f"judge {heard.call.id}")

        return hand

    async def _judge(self, heard: Heard, route: str, panel: Panel, spent: Spent, hear: Hear) -> None:
        call, bench = heard.call, Bench(self._world, hear, heard.call, panel.gates)
        try:
            async with self._room:
                said = Said(text=heard.text, request_id=call.id, cost_nusd=call.cost_nusd)
                scores = await scored(panel.lookers, case_of(call), said, lambda name: bench)
            spent.add(bench.cost_nusd)
            for score in scores:
                self._told(call, route, score)
            wholes = {one.name for one in panel.lookers}
            kept = [one for one in scores if one.scorer in wholes]
            await keep(self._world, call.id, kept)
            worth = worth_of(kept)
            if worth is not None and self._taught is not None:
                self._taught(call.id, worth, "judge", share=float(panel.config.share))
        except TidegateError as wrong:
            self._world.events.notice("answer_not_judged", {"request_id": call.id, "error": wrong.message})
        finally:
            self._waiting -= 1

    def _told(self, call: Call, route: str, score: Score) -> None:
        share = share_of(score)
        self._tell(call, route, score.scorer, score.outcome, share, score)
        if share is None:
            return
        falling = self._falling.setdefault((route, score.scorer), Falling())
        usual = falling.usual
        if falling.add(share):
            fields = {"route": route, "criterion": score.scorer, "usual": round(usual or 0.0, 3), "judge": score.judge}
            self._world.events.notice("judge_score_fell", fields)

    def _tell(
        self,
        call: Call,
        route: str,
        criterion: str,
        outcome: str,
        share: float | None = None,
        score: Score | None = None,
    ) -> None:
        """Never why: a reason may quote what was said."""
        parent = received(call.named.get(PARENT))
        fields: dict[str, Any] = {"request_id": call.id, "route": route, "criterion": criterion, "outcome": outcome}
        fields["trace_id"] = trace_of(call.id) if parent is None else parent.trace_id
        if score is not None:
            fields |= {"score": share, "value": score.value, "passed": score.passed}
            fields |= {"judge": score.judge or None, "advisory": score.advisory or None}
        self._world.events.notice("evaluation", {name: value for name, value in fields.items() if value is not None})


async def keep(world: World, id: str, scores: Sequence[Score]) -> None:
    """As opinions of a call; of one without a row, whose key is not known any more, there is none."""
    row = await world.ledger.find(id)
    for score in scores:
        share = share_of(score)
        if row is None or share is None:
            continue
        opinion = Opinion(
            id=f"{id}:judge:{score.scorer}",
            request_id=id,
            at_ms=world.clock.wall_ns() // 1_000_000,
            source="judge",
            score=share,
            label=score.scorer[:100],
            comment=score.why or None,
        )
        await world.ledger.opine(opinion, row)


class Bench:
    """At one live answer: what its scorers may reach, and what that has cost."""

    def __init__(
        self, world: World, hear: Hear, call: Call, gates: frozenset[str], whose: Principal | None = None
    ) -> None:
        """`whose`: who pays, if not the owner of the call's route."""
        self._whose = whose
        self._world = world
        self._hear = hear
        self._call = call
        self._gates = gates
        self.cost_nusd: int | None = 0  # None: of some of it nobody knows

    async def ask(self, model: str, messages: Sequence[Mapping[str, str]], step: str, **parameters: Any) -> Said:
        call, world = self._call, self._world
        body = msgspec.json.encode({**parameters, "model": model, "messages": messages, "stream": False})
        assert call.route is not None and call.principal is not None
        try:
            whose = self._whose or await payer(world, call.route.owner, call.principal.organisation_id)
        except StoreDown as down:
            return Said(error=down.code, why=down.message)
        own = own_call(
            world, whose, purpose="judge", parent=call, dialect="openai", operation="chat", path="/v1/chat/completions",
            body=body, kind="eval",
        )  # fmt: skip
        own.wishes = Wishes(cache_control="no-store")
        try:
            events = await self._hear(own)
        except TidegateError as wrong:
            return Said(error=wrong.code, why=wrong.message)
        finally:
            cost = own.cost_nusd
            self.cost_nusd = None if self.cost_nusd is None or cost is None else self.cost_nusd + cost
        texts = [said for event in events for said in event.texts()]
        refused = any(channel.kind == "refusal" for channel, _ in texts)
        kinds = ("text", "refusal")
        return Said(text="".join(text for channel, text in texts if channel.kind in kinds), refused=refused)

    async def embed(self, text: str) -> Vector:
        raise ConfigError("live answers are not compared by meaning; there is nothing to compare them with")

    def nonce(self, step: str) -> str:
        return self._world.chance.hex()

    def may_gate(self, judge: str) -> bool:
        return judge in self._gates


def case_of(call: Call) -> Case:
    """What was asked, as it went out. Tools and pictures are not in it."""
    assert call.asked is not None
    codec = call.asked.codec
    turns = turns_of(codec.conversation(codec.parse_request(call.outgoing)))
    if turns and turns[-1].role == "user":
        return Case(id=call.id, input=turns[-1].content, turns=tuple(turns[:-1]))
    return Case(id=call.id, turns=tuple(turns))


def turns_of(said: Conversation) -> list[Turn]:
    found = []
    for item in said.items:
        if isinstance(item, Message):
            text = "\n".join(part.text for part in item.parts if isinstance(part, Text))
            if text:
                found.append(Turn(text, "system" if item.role == "developer" else item.role))
    return found


def share_of(score: Score) -> float | None:
    """Of its scale, 0 to 1."""
    low, high = score.scale
    if score.outcome != "scored" or score.value is None or high <= low:
        return None
    return min(1.0, max(0.0, (score.value - low) / (high - low)))


def worth_of(scores: Sequence[Score]) -> float | None:
    """The mean of those that may decide."""
    known = [share for one in scores if not one.advisory and (share := share_of(one)) is not None]
    return sum(known) / len(known) if known else None
