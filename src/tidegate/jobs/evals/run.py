"""How is a suite gone through? Each case as often as is wanted, several at a time, each answer written down at once.

The file of the results is the journal: who goes on after a crash asks for what has no line in it, and what was paid but
not yet written is paid once all the same, for every question has an Idempotency-Key of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from tidegate.core.money import NUSD_PER_USD, usd_text
from tidegate.core.ports import Bench, Scorer, Vector
from tidegate.core.scores import Case, Said, Score
from tidegate.jobs.evals.door import Full, Halt
from tidegate.jobs.evals.judge import MayGate, nobody_may
from tidegate.jobs.evals.results import Answer, Judgment, Results, Run
from tidegate.jobs.evals.subject import Asker, Messages, Subject, digest
from tidegate.jobs.evals.suite import Looker, Ready

BLOCKED = "guardrail_blocked"
Embed = Callable[[str], Awaitable[Vector]]
Tell = Callable[[Answer, int], None]  # the answer, and what the run has cost so far


class Means(NamedTuple):
    """What a run goes through its suite with."""

    subject: Subject
    judges: Asker  # who answers the questions of scorers
    embed: Embed
    may_gate: MayGate = nobody_may
    tell: Tell = lambda answer, cost_nusd: None


class Notes(Protocol):
    """Where answers are written down: see `journal`."""

    run: Run
    answers: list[Answer]

    @property
    def results(self) -> Results: ...

    def add(self, answer: Answer) -> None: ...


async def go(ready: Ready, journal: Notes, means: Means) -> str:
    """Ask for all that is missing. Returns why it ended before its end, "" when it did not."""
    return await _Going(ready, journal, means).go()


class _Going:
    def __init__(self, ready: Ready, journal: Notes, means: Means) -> None:
        cap = ready.suite.max_cost_usd
        self._ready = ready
        self._journal = journal
        self._means = means
        self._cap_nusd = None if cap is None else round(cap * NUSD_PER_USD)
        self._spent_nusd = sum(one.cost_nusd + one.judging_nusd for one in journal.answers)
        self._dearest_nusd = max((one.cost_nusd + one.judging_nusd for one in journal.answers), default=0)
        self._busy = 0
        self._halt = ""
        self._moved = asyncio.Event()
        cases = {case.id: case for case in ready.suite.cases}
        self._waiting = [(cases[case], repeat) for case, repeat in journal.results.missing]
        self._waiting.reverse()

    async def go(self) -> str:
        """Workers, each with one answer at a time. When nothing more may be asked, what was begun is ended."""
        workers = [asyncio.create_task(self._work()) for _ in range(self._ready.suite.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return self._halt

    async def _work(self) -> None:
        while self._waiting and not self._halt:
            if self._may_spend():
                await self._next()
            elif self._busy:
                await self._others()
            else:
                self._halt = self._spent()

    async def _next(self) -> None:
        case, repeat = self._waiting.pop()
        self._busy += 1
        try:
            answer = await self._answer(case, repeat)
            self._journal.add(answer)
            self._account(answer)
        except Full as full:
            self._waiting.append((case, repeat))
            if self._busy == 1:
                self._halt = self._halt or str(full)
        except Halt as halt:
            self._halt = self._halt or str(halt)
        finally:
            self._busy -= 1
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()
        if self._waiting and self._waiting[-1] == (case, repeat):
            await self._others()

    async def _others(self) -> None:
        """Until one of those that are under way has ended."""
        if self._busy:
            await self._moved.wait()

    def _may_spend(self) -> bool:
        """Whether one more fits, were it and all that are asked just now as dear as the dearest so far."""
        if self._cap_nusd is None:
            return True
        if not self._dearest_nusd and not self._spent_nusd:
            return not self._busy or bool(self._journal.answers)  # the first shows what they cost
        return self._spent_nusd + (self._busy + 1) * self._dearest_nusd <= self._cap_nusd

    def _account(self, answer: Answer) -> None:
        cost_nusd = answer.cost_nusd + answer.judging_nusd
        self._spent_nusd += cost_nusd
        self._dearest_nusd = max(self._dearest_nusd, cost_nusd)
        if self._cap_nusd is not None and answer.unpriced:
            self._halt = self._halt or "a price is not known, so that no cost can be capped; set the provider's price"
        self._means.tell(answer, self._spent_nusd)

    def _spent(self) -> str:
        assert self._cap_nusd is not None
        return (
            f"${usd_text(self._spent_nusd)} of at most ${usd_text(self._cap_nusd)} is spent, "
            f"and one more answer may cost ${usd_text(self._dearest_nusd)}"
        )

    async def _answer(self, case: Case, repeat: int) -> Answer:
        run, means = self._journal.run, self._means
        at, bill = f"{run.id}\0{case.id}\0{repeat}", Bill()
        once = Seat(at, "", bill, means).once("")
        messages = self._ready.asked[case.id]
        said = await means.subject.answer(case, repeat, messages, once)
        scores = await scored(self._ready.lookers[case.id], case, said, lambda name: Seat(at, name, bill, means))
        asked = digest(messages, self._ready.suite.parameters)
        return msgspec.structs.replace(
            told(case, repeat, said, bill, scores), asked=asked, judgments=tuple(bill.judgments)
        )


class Bill:
    """What the scorers of one answer have asked for."""

    def __init__(self) -> None:
        self.cost_nusd = 0
        self.unpriced = False
        self.judgments: list[Judgment] = []


def told(case: Case, repeat: int, said: Said, bill: Bill, scores: tuple[Score, ...]) -> Answer:
    """What was said, what is made of it and what both cost."""
    return Answer(
        case=case.id,
        repeat=repeat,
        text=said.text,
        error=said.error,
        request_id=said.request_id,
        latency_ms=said.latency_ms,
        cost_nusd=said.cost_nusd or 0,
        judging_nusd=bill.cost_nusd,
        unpriced=said.cost_nusd is None or bill.unpriced,
        guards=said.guards,
        tags=case.tags,
        scores=scores,
    )


class Seat:
    """At one answer, for one scorer: what it may reach. `at`: a word for that answer in that run."""

    def __init__(self, at: str, scorer: str, bill: Bill, means: Means) -> None:
        self._at = f"{at}\0{scorer}\0"
        self._bill = bill
        self._means = means

    async def ask(self, model: str, messages: Messages, step: str, **parameters: Any) -> Said:
        once = self.once(step)
        said = await self._means.judges.ask(model, messages, parameters, once=once, fresh=True)
        asked = digest(messages, {**parameters, "model": model})
        judgment = Judgment(
            once=once, asked=asked, text=said.text, error=said.error, why=said.why, refused=said.refused
        )
        self._bill.judgments.append(judgment)
        self._bill.cost_nusd += said.cost_nusd or 0
        self._bill.unpriced = self._bill.unpriced or said.cost_nusd is None
        return said

    async def embed(self, text: str) -> Vector:
        return await self._means.embed(text)

    def once(self, step: str) -> str:
        return f"eval-{self._word('once', step)}"

    def nonce(self, step: str) -> str:
        return self._word("nonce", step)

    def may_gate(self, judge: str) -> bool:
        return self._means.may_gate(judge)

    def _word(self, use: str, step: str) -> str:
        """Of the run's id, which is chance, so that nobody guesses it; and the same whenever it is asked."""
        return hashlib.sha256(f"{self._at}{use}\0{step}".encode()).hexdigest()[:32]


async def scored(lookers: Sequence[Looker], case: Case, said: Said, seat: Callable[[str], Bench]) -> tuple[Score, ...]:
    """What all scorers make of one answer; nothing of one that there is none of, but where a guard has blocked it those
    that look at just that. Raises Halt."""
    found: list[Score] = []
    for name, scorer in lookers:
        if said.error and not (said.error == BLOCKED and is_for_blocked(scorer)):
            continue
        try:
            scores = await scorer.score(case, said, seat(name))
        except Halt:
            raise
        except Exception as wrong:  # noqa: BLE001 a scorer is a plugin, and whatever it raises means the same
            scores = [Score(scorer="", outcome="failed", why=f"{type(wrong).__name__}: {wrong}"[:500])]
        found += [_named(one, name) for one in scores]
    return tuple(found)


def is_for_blocked(scorer: Scorer) -> bool:
    return bool(getattr(scorer, "looks_at_blocked", False))


def _named(score: Score, name: str) -> Score:
    return msgspec.structs.replace(score, scorer=f"{name}.{score.scorer}" if score.scorer else name)
