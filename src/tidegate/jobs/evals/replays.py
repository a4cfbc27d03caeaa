"""What would another one have answered to yesterday's calls? Stored calls as a suite, and its answers beside theirs.

Each is asked once more by the gateway itself, byte for byte as it went out, whatever is in it: see api/admin/replay.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from tidegate.core.errors import ConfigError
from tidegate.core.experiments import Assigned
from tidegate.core.money import usd_text
from tidegate.core.ports import Head
from tidegate.core.scores import Case, Said
from tidegate.core.shadows import Compared, Estimate, Pair, compared
from tidegate.jobs.evals.door import Door, problem
from tidegate.jobs.evals.imports.stored import SAYS, case_of, reply_of
from tidegate.jobs.evals.imports.suites import as_text, text_of
from tidegate.jobs.evals.online import share_of
from tidegate.jobs.evals.results import Answer, Results
from tidegate.jobs.evals.subject import Messages
from tidegate.jobs.evals.suite import Plugins, Ready, Suite, ready, shared

CANDIDATE = "candidate"
NOTHING = "(no text)"  # for a judge, of a question that is all tools or pictures


class Original(NamedTuple):
    """A call as it was."""

    id: str
    unit: str  # who asked
    took_ms: float
    cost_nusd: int | None


class Candidate(msgspec.Struct, frozen=True):
    """Who is asked now, and with what in place of the client's parameters."""

    route: str
    parameters: dict[str, Any] = {}

    @property
    def name(self) -> str:
        said = msgspec.json.encode(self.parameters, order="deterministic").decode() if self.parameters else ""
        return f"replay:{self.route}{said}"


def original_of(row: Mapping[str, Any]) -> Original:
    """`row`: a line of the gateway's list."""
    return Original(row["id"], row["user"] or row["key_id"], row["duration_ms"], row["cost_nusd"])


def case_from(body: Mapping[str, Any]) -> Case:
    """`body`: what was said, as the gateway shows it. Of what is more than text a judge sees the texts."""
    try:
        return case_of(body, (), good=True)
    except ConfigError:
        return Case(id=as_text(body.get("id")), input=_last(body), reference=reply_of(as_text(body.get("reply"))))


def _last(body: Mapping[str, Any]) -> str:
    try:
        asked = msgspec.json.decode(body.get("request") or "")
        said = [text_of(one.get("content")) for one in asked["messages"]]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return NOTHING
    return next((text for text in reversed(said) if text and text.strip()), NOTHING)


def suite_of(name: str, cases: Sequence[Case], judges: Suite | None, most: int, plugins: Plugins) -> Ready:
    """`judges`: whose scorers look at the answers, each at those that it can look at. Raises ConfigError."""
    suite = judges or Suite()
    lookers = list(zip(suite.scorers, shared(suite, plugins), strict=True))
    seen = []
    for case in cases:
        case = case if case.input.strip() else replace(case, input=NOTHING)
        # Where there is nothing to compare with, it is asked all the same, and its price and time are compared.
        able = [{**given, "name": one.name} for given, one in lookers if one.scorer.lacks(case) is None]
        seen.append(replace(case, scorers=tuple(able or [SAYS])))
    bare = replace(
        suite, name=name, subject="", system="", prompt="", parameters={}, repeats=1, max_cost_usd=None,
        concurrency=most, scorers=(), cases=tuple(seen),
    )  # fmt: skip
    return ready(bare, plugins)


class Replayed:
    """The subject of a run: its cases are calls, by their ids."""

    def __init__(self, door: Door, candidate: Candidate) -> None:
        self._door = door
        self._body = msgspec.json.encode(candidate)

    async def answer(self, case: Case, repeat: int, messages: Messages, once: str) -> Said:
        return await self._door.asked(f"/admin/requests/{quote(case.id, safe='')}/replay", self._body, (), _said)


def _said(head: Head, body: bytes, latency_ms: float) -> Said:
    if head.status != 200:
        return problem(head, body, {"cost_nusd": 0})
    now = msgspec.json.decode(body)["now"]
    error = "" if now["outcome"] == "ok" else now["error"] or now["outcome"]
    return Said(
        text=now["text"] or "",
        error=error,
        why=now["why"] or "",
        request_id=now["id"],
        latency_ms=now["duration_ms"],
        cost_nusd=now["cost_nusd"],
    )


# --- what came of it -------------------------------------------------------------------------------------------------


def beside(results: Results, originals: Iterable[Original], found: Ready) -> Compared | None:
    """Its answers and those that were given, pair by pair. None: there is none."""
    there = {one.id: one for one in originals}
    bare = Case(id="", input=NOTHING)
    all_of_them = (one for lookers in found.lookers.values() for one in lookers)
    comparing = frozenset(one.name for one in all_of_them if one.scorer.lacks(bare) is not None)
    pairs = [_pair(answer, there[answer.case], comparing) for answer in results.answers if answer.case in there]
    return next(iter(compared(pairs)), None)


def _pair(answer: Answer, before: Original, comparing: frozenset[str]) -> Pair:
    scores = [share_of(one) for one in answer.scores if one.scorer in comparing]
    known = [one for one in scores if one is not None]
    return Pair(
        Assigned("replay", 0, CANDIDATE, before.unit),
        bool(answer.error),
        round(answer.latency_ms * 1000),
        round(before.took_ms * 1000),
        None if answer.unpriced else answer.cost_nusd,
        before.cost_nusd,
        sum(known) / len(known) if known else None,
    )


def lines(found: Compared) -> Iterator[str]:
    """For a terminal: how an answer that nobody saw compares with the one that was given."""
    yield f"{found.arm}: {found.pairs} calls of {found.units} users, each beside the one that was answered"
    yield f"  failed     {_percent(found.failed)}"
    yield f"  takes      {_times(found.latency)}"
    yield f"  costs      {_times(found.cost)}"
    if found.score.value is not None:
        judged = f"better {found.better}, as good {found.tied}, worse {found.worse}"
        yield f"  judged     {judged}; on the whole {_plain(found.score)}, where 0.5 is as good"


def section(found: Compared) -> str:
    """The same for a page."""
    rows = "".join(f"<li>{escape(line.strip())}</li>" for line in lines(found))
    return f"<h2>Beside what was answered</h2><ul>{rows}</ul>"


def _percent(of: Estimate) -> str:
    return "nothing is known" if of.value is None else f"{of.value:.1%}{_between(of, '.1%')}"


def _times(of: Estimate) -> str:
    return "nothing is known" if of.value is None else f"{of.value:.2f} times as much{_between(of, '.2f')}"


def _plain(of: Estimate) -> str:
    return f"{of.value:.2f}{_between(of, '.2f')}"


def _between(of: Estimate, form: str) -> str:
    return "" if of.low is None or of.high is None else f" ({of.low:{form}} to {of.high:{form}})"


def spent(results: Results) -> str:
    answers = results.answers
    asked, judged = sum(one.cost_nusd for one in answers), sum(one.judging_nusd for one in answers)
    return f"${usd_text(asked + judged)}, ${usd_text(judged)} of it for judging"
